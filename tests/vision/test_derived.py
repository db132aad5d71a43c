"""Laws of every source made of another, and of the sources themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from ppuda_like.vision import ImageSource, digits, image_folder, n_shot, noisy, normalise, resized, subset


def in_memory(folder: Path) -> ImageSource:
    return digits("val", 8)


def on_disk(folder: Path) -> ImageSource:
    for label, name in enumerate("ab"):
        (folder / name).mkdir()
        for i in range(12):
            Image.new("RGB", (10 + i, 9), (20 * i, 100 * label, 7)).save(folder / name / f"{i:02}.png")
    return image_folder(folder, 8)


SOURCES = [in_memory, on_disk]
DERIVED: dict[str, Callable[[ImageSource], ImageSource]] = {
    "itself": lambda source: source,
    "subset": lambda source: subset(source, [5, 0, 9, 9, 7, 2]),
    "n_shot": lambda source: n_shot(source, 3),
    "noisy": lambda source: noisy(source, 0.1),
    "resized": lambda source: resized(source, 12),
    "all": lambda source: noisy(resized(subset(source, list(range(9))), 5), 0.1),
}


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
def test_views_of_a_source_agree(
    make: Callable[[Path], ImageSource], derive: Callable[[ImageSource], ImageSource], tmp_path: Path
) -> None:
    data = derive(make(tmp_path))
    index = torch.tensor([2, 0, 5])
    pixels, labels = data.pixels(index)
    assert pixels.shape == (3, 3, data.image_size, data.image_size)
    assert torch.equal(labels, data.labels[index])
    assert data.labels.shape == (len(data),)
    images, again = data.batch(index)
    assert torch.equal(again, labels)
    assert torch.equal(images, normalise(pixels, data.mean, data.std))
    for row, position in enumerate(index.tolist()):
        image, label = data[position]  # type: ignore[index]
        torch.testing.assert_close(image, images[row])
        assert label == labels[row]
    originals = list(data.originals(index))
    assert [image.size(0) for image in originals] == [3, 3, 3]
    assert torch.equal(data.pixels(index[1:2])[0], pixels[1:2])  # an image does not depend on the batch it is in


def test_originals_of_files_have_their_size(tmp_path: Path) -> None:
    found = subset(on_disk(tmp_path), [3, 15]).originals(torch.tensor([1, 0]))
    assert [tuple(image.shape) for image in found] == [(3, 9, 13), (3, 9, 13)]
    assert [tuple(image.shape) for image in image_folder(tmp_path).originals(torch.tensor([11]))] == [(3, 9, 21)]


@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
def test_torch_can_walk_over_a_source(derive: Callable[[ImageSource], ImageSource]) -> None:
    data = derive(digits("val", 8))
    assert len(list(data)) == len(data)  # type: ignore[call-overload]
