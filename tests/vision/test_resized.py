import pytest
import torch
from torch.nn import functional as F

from ppuda_like.errors import DataError
from ppuda_like.vision import AUGMENTATIONS, ImageData, digits, resized

DATA = digits("val", 8)


def test_images_are_resized_bilinearly() -> None:
    index = torch.tensor([3, 1])
    found = resized(DATA, 20).pixels(index)[0]
    wanted = F.interpolate(DATA.images[index], size=(20, 20), mode="bilinear", antialias=True)
    torch.testing.assert_close(found, wanted)


def test_one_colour_stays_in_bytes() -> None:
    images = torch.full((2, 3, 9, 9), 77, dtype=torch.uint8)
    data = ImageData(images=images, labels=torch.zeros(2, dtype=torch.long), class_names=("a",))
    found = resized(data, 4).pixels(torch.arange(2))[0]
    assert torch.equal(found, torch.full((2, 3, 4, 4), 77, dtype=torch.uint8))


def test_the_size_it_has_is_itself() -> None:
    assert resized(DATA, 8) is DATA


def test_windows_are_cut_from_what_was_there_before() -> None:
    large = resized(DATA, 16)
    images, _ = AUGMENTATIONS["imagenet"].batch(large, torch.arange(3), torch.Generator())
    assert images.shape == (3, 3, 16, 16)
    assert next(large.originals(torch.tensor([0]))).shape == (3, 8, 8)


def test_no_size() -> None:
    with pytest.raises(DataError, match=r"at least 1 pixel \(got 0\)"):
        resized(DATA, 0)
