from dataclasses import dataclass, replace

import pytest
import torch

from ppuda_like.vision import (
    AUGMENTATIONS,
    Augmentation,
    ImageData,
    ImageStream,
    Variation,
    cutout,
    digits,
    normalise,
    random_crop,
    random_flip,
)

INDEX = torch.tensor([4, 0, 7])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colourful() -> ImageData:
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=generator())
    names = tuple(map(str, range(8)))
    return ImageData(
        images=images, labels=torch.arange(8), class_names=names, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("floats", [False, True])
def test_every_augmentation_is_a_function_of_the_generator(name: Augmentation, floats: bool) -> None:
    data = colourful()
    if floats:
        data = replace(data, images=data.images / 255)
    before = torch.get_rng_state()
    images, labels = AUGMENTATIONS[name].batch(data, INDEX, generator(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert labels.tolist() == [4, 0, 7]
    assert torch.equal(images, AUGMENTATIONS[name].batch(data, INDEX, generator(3))[0])
    varied = not torch.equal(images, AUGMENTATIONS[name].batch(data, INDEX, generator(4))[0])
    assert varied == (name != "none")


def test_stages_come_in_order() -> None:
    data = colourful()
    found = AUGMENTATIONS["crop-cutout"].batch(data, INDEX, generator(5))[0]
    draws = generator(5)
    pixels = random_flip(random_crop(data.images[INDEX], draws), draws)
    wanted = cutout(normalise(pixels, data.mean, data.std), draws)
    assert torch.equal(found, wanted)
    assert (found == 0).all(dim=1).any()  # the mean colour, which no byte of red is normalised to


@dataclass(frozen=True)
class Constant:
    """A frame that tells what it was given."""

    shapes: list[tuple[int, ...]]

    def __call__(self, originals, size, generator):  # type: ignore[no-untyped-def]
        self.shapes.extend(tuple(image.shape) for image in originals)
        return torch.zeros(len(self.shapes), 3, size, size)


def test_a_frame_gets_originals() -> None:
    frame = Constant([])
    vary = Variation(frame=frame)
    images, labels = vary.batch(colourful(), INDEX, generator())
    assert frame.shapes == [(3, 32, 32)] * 3
    assert labels.tolist() == INDEX.tolist()
    torch.testing.assert_close(images[0, :, 0, 0], -torch.tensor([0.5 / 0.2, 0.4 / 0.3, 0.3 / 0.25]))


def test_streams_take_variations_of_your_own() -> None:
    data = digits("val", 8)
    own = ImageStream(data, batch_size=8, augment=Variation(pixels=(random_crop, random_flip)))
    assert torch.equal(own[3][0], ImageStream(data, batch_size=8, augment="crop")[3][0])
