from pathlib import Path

import pytest
import torch
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import FolderData, ImageData, load_images

WNIDS = ("n2", "n1")  # as wnids.txt has them, not sorted


def make(root: Path) -> Path:
    top = root / "tiny-imagenet-200"
    (top / "val" / "images").mkdir(parents=True)
    (top / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    lines = []
    for label, name in enumerate(WNIDS):
        folder = top / "train" / name / "images"
        folder.mkdir(parents=True)
        (folder.parent / f"{name}_boxes.txt").touch()
        for i in range(20):
            Image.new("L", (64, 64), 10 * i + 5 * label).save(folder / f"{name}_{i:02}.JPEG")
    for i in range(6):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(top / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 2]}\t0\t32\t44\t62")
    (top / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return root


def test_labels_follow_wnids(tmp_path: Path) -> None:
    make(tmp_path)
    train, val, test = (load_images("tiny-imagenet", split, root=tmp_path) for split in ("train", "val", "test"))
    assert train.class_names == val.class_names == test.class_names == WNIDS
    assert [part.labels.tolist() for part in (train, val, test)] == [
        [0] * 18 + [1] * 18,
        [0, 0, 1, 1],
        [0] * 3 + [1] * 3,
    ]
    assert isinstance(test, ImageData)
    assert test.images.shape == (6, 3, 64, 64)
    grey = [int(value) for value in val.pixels(torch.arange(4))[0].float().mean(dim=(1, 2, 3)).round()]
    assert grey == [180, 190, 185, 195]


def test_other_sizes(tmp_path: Path) -> None:
    make(tmp_path)
    assert isinstance(load_images("tiny-imagenet", "val", 32, root=tmp_path), ImageData)
    large = load_images("tiny-imagenet", "val", 224, root=tmp_path)
    assert isinstance(large, FolderData)
    assert large[0][0].shape == (3, 224, 224)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tiny-imagenet in .*tiny-imagenet-200.*get it from http"):
        load_images("tiny-imagenet", "train", root=tmp_path)


@pytest.mark.parametrize("line", ["val_9.JPEG\tn1\t0", "val_1.JPEG\tn3", "val_1.JPEG", "../val_1.JPEG\tn1"])
def test_annotations_that_name_what_is_not_there(tmp_path: Path, line: str) -> None:
    path = make(tmp_path) / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"line 7 of .*val_annotations.txt' must name an image"):
        load_images("tiny-imagenet", "test", root=tmp_path)


def test_lists_and_images_that_are_missing(tmp_path: Path) -> None:
    top = make(tmp_path) / "tiny-imagenet-200"
    for file in (top / "train" / "n1" / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"n1/images' has 0 images"):
        load_images("tiny-imagenet", "train", root=tmp_path)
    (top / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match="no readable list"):
        load_images("tiny-imagenet", "test", root=tmp_path)
    (top / "wnids.txt").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        load_images("tiny-imagenet", "test", root=tmp_path)
