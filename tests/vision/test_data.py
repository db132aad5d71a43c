import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData

IMAGES, LABELS = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])


def test_items_and_batches_agree() -> None:
    images = torch.arange(3 * 3 * 2 * 2).reshape(3, 3, 2, 2).float()
    data = ImageData(images=images, labels=torch.tensor([2, 0, 1]), class_names=("a", "b", "c"))
    batch, labels = data.batch(torch.tensor([2, 0]))
    assert labels.tolist() == [1, 2] == [data[2][1], data[0][1]]
    assert torch.equal(batch, torch.stack([data[2][0], data[0][0]]))
    assert (len(data), data.image_size, data.num_classes) == (3, 2, 3)


def test_bytes_are_normalised_as_torchvision_does() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    data = ImageData(images=images, labels=torch.zeros(4, dtype=torch.long), class_names=("a",), mean=mean, std=std)
    index = torch.tensor([3, 1])
    wanted = v2.normalize(v2.to_dtype(images, torch.float32, scale=True), list(mean), list(std))
    torch.testing.assert_close(data.batch(index)[0], wanted[index])
    assert torch.equal(data.pixels(index)[0], images[index])


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (torch.zeros(2, 1, 4, 4), LABELS, ("a", "b"), r"shape \(N, 3, H, W\) \(got torch.float32, \(2, 1, 4, 4\)\)"),
        (IMAGES.short(), LABELS, ("a", "b"), "bytes, or floats in 0..1"),
        (IMAGES, torch.tensor([0]), ("a", "b"), r"shape \(2,\)"),
        (IMAGES, LABELS.float(), ("a", "b"), "long tensor"),
        (IMAGES, LABELS, ("a",), r"labels must be in 0..0.*got 0..1"),
        (IMAGES, LABELS - 1, ("a", "b"), "got -1..0"),
        (IMAGES[:0], LABELS[:0], ("a", "b"), "at least one image"),
    ],
)
def test_invalid_data_is_refused(
    images: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ImageData(images=images, labels=labels, class_names=names)
