import torch

from ppuda_like.vision import cutout, random_affine, random_crop, random_flip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shapes_values_and_randomness() -> None:
    images = torch.rand(16, 3, 32, 32, generator=generator())
    found = random_affine(images, generator(1))
    assert found.shape == images.shape
    assert torch.equal(found, random_affine(images, generator(1)))
    assert not torch.equal(found, random_affine(images, generator(2)))
    assert found.min() >= 0
    assert found.max() <= 1


def test_images_vary_one_by_one() -> None:
    images = torch.rand(1, 3, 32, 32, generator=generator()).expand(4, -1, -1, -1)
    found = random_affine(images, generator())
    assert all(not torch.equal(found[0], other) for other in found[1:])


def test_shift_is_bounded_in_pixels() -> None:
    images = torch.zeros(64, 1, 32, 32)
    images[:, :, 16, 16] = 1
    found = random_affine(images, generator(), shift=2, degrees=0, scale=0)
    rows, columns = found.sum(dim=(1, 3)), found.sum(dim=(1, 2))
    for profile in (rows, columns):
        where = (profile * torch.arange(32)).sum(dim=1) / profile.sum(dim=1)
        assert (where - 16).abs().max() <= 2.001
        assert (where - 16).std() > 0.8


def test_no_flips() -> None:
    images = torch.zeros(256, 1, 32, 32)
    images[:, :, :, 16:] = 1
    assert (random_affine(images, generator()).mean(dim=(1, 2))[:, 28:] > 0.9).all()


def test_crops_are_windows_of_the_padded_image() -> None:
    images = torch.randint(0, 256, (32, 3, 6, 5), dtype=torch.uint8, generator=generator())
    found = random_crop(images, generator(1), padding=2)
    assert found.dtype == torch.uint8
    offsets = set()
    for image, crop in zip(images, found, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        windows = [(i, j) for i in range(5) for j in range(5) if torch.equal(padded[:, i : i + 6, j : j + 5], crop)]
        assert windows
        offsets.update(windows)
    assert len(offsets) > 10


def test_flips_mirror_about_half_of_the_images() -> None:
    images = torch.rand(400, 3, 2, 4, generator=generator())
    found = random_flip(images, generator(1))
    mirrored = (found == images.flip(3)).all(dim=(1, 2, 3))
    assert (mirrored | (found == images).all(dim=(1, 2, 3))).all()
    assert 150 < int(mirrored.sum()) < 250


def test_affine_of_bytes_is_that_of_floats() -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=generator())
    assert torch.equal(random_affine(images, generator(1)), random_affine(images / 255, generator(1)))


def test_cutout_blanks_one_square_cut_at_the_borders() -> None:
    images = torch.ones(500, 3, 12, 9)
    found = cutout(images, generator(), size=6, fill=-2)
    blank = (found == -2).all(dim=1)
    assert torch.equal(found, images.masked_fill(blank[:, None], -2))
    rows, columns = blank.any(dim=2), blank.any(dim=1)
    assert torch.equal(blank, rows[:, :, None] & columns[:, None, :])  # a rectangle
    for sides, length in ((rows, 12), (columns, 9)):
        starts = sides.int().argmax(dim=1)
        ends = length - 1 - sides.flip(1).int().argmax(dim=1)
        assert set((ends - starts + 1).tolist()) == {3, 4, 5, 6}  # half a side at least, for centres on the border
        assert torch.equal(sides.sum(dim=1), ends - starts + 1)
        inner = (starts > 0) & (ends < length - 1)
        assert ((ends - starts + 1)[inner] == 6).all()


def test_cutout_centres_are_uniform() -> None:
    share = 1 - cutout(torch.ones(4000, 1, 8, 8), generator(), size=2).mean(dim=0)[0]
    # a pixel is blank where the centre is one of 2 x 2, of 64; those at the far borders have fewer such centres
    torch.testing.assert_close(share[:-1, :-1], torch.full((7, 7), 4 / 64), atol=0.016, rtol=0)
    torch.testing.assert_close(share[-1, -1], torch.tensor(1 / 64), atol=0.008, rtol=0)
