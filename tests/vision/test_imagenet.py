from pathlib import Path

import pytest
import torch
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import FolderData, ImageStream, load_images

WNIDS = ("n01440764", "n01443537")


def make(root: Path, train: int = 53, val: int = 2) -> Path:
    for part, count in (("train", train), ("val", val)):
        for label, name in enumerate(WNIDS):
            folder = root / "imagenet" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (20, 30), (100 * label, 0, 200)).save(folder / "0000.JPEG")
            for i in range(1, count):
                (folder / f"{i:04}.JPEG").write_bytes((folder / "0000.JPEG").read_bytes())
    return root


def test_fifty_training_images_of_each_class_are_held_out(tmp_path: Path) -> None:
    make(tmp_path)
    train, val, test = (load_images("imagenet", split, root=tmp_path) for split in ("train", "val", "test"))
    assert all(isinstance(part, FolderData) for part in (train, val, test))
    assert [part.labels.bincount().tolist() for part in (train, val, test)] == [[3, 3], [50, 50], [2, 2]]
    assert isinstance(train, FolderData)
    assert isinstance(val, FolderData)
    assert isinstance(test, FolderData)
    assert len({*train.files, *val.files}) == 106
    assert max(train.files[:3]) < min(val.files[:50])
    assert all(file.startswith("val/") for file in test.files)
    assert train.class_names == val.class_names == test.class_names == WNIDS


def test_images_have_224_pixels_and_the_statistics_of_imagenet(tmp_path: Path) -> None:
    data = load_images("imagenet", "test", root=make(tmp_path))
    images, labels = data.batch(torch.tensor([0, 3]))
    assert images.shape == (2, 3, 224, 224)
    assert labels.tolist() == [0, 1]
    assert data.mean == (0.485, 0.456, 0.406)
    assert load_images("imagenet", "test", 32, root=tmp_path).mean == data.mean


def test_the_folder_itself_may_be_the_root(tmp_path: Path) -> None:
    assert len(load_images("imagenet", "test", root=make(tmp_path) / "imagenet")) == 4


def test_windows_of_the_files_are_trained_on(tmp_path: Path) -> None:
    data = load_images("imagenet", "val", 16, root=make(tmp_path))
    gradient = torch.linspace(0, 255, 60 * 40).reshape(60, 40).byte().numpy()
    assert isinstance(data, FolderData)
    for path in data.paths:
        Image.fromarray(gradient).save(path)
    batch = ImageStream(data, batch_size=8, augment="imagenet")[0][0]
    again = ImageStream(data, batch_size=8, augment="imagenet")
    assert torch.equal(next(again.batches(range(1), workers=1))[0], batch)
    assert len(batch.flatten(1).unique(dim=0)) == 8  # eight windows of one picture


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no imagenet in '.*imagenet'.* train, val should lie .*image-net.org"):
        load_images("imagenet", "train", root=tmp_path)
    with pytest.raises(DataError, match="cannot be downloaded"):
        load_images("imagenet", "train", root=tmp_path, download=True)


def test_too_few_to_hold_out(tmp_path: Path) -> None:
    make(tmp_path)
    for i in range(3):
        (tmp_path / "imagenet" / "train" / WNIDS[1] / f"{i:04}.JPEG").unlink()
    with pytest.raises(DataError, match=r"n01443537' has 50 images, too few to hold 50 out"):
        load_images("imagenet", "val", root=tmp_path)


def test_validation_images_that_were_not_sorted_into_classes(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "imagenet" / "val" / WNIDS[0]).rename(tmp_path / "imagenet" / "val" / "all")
    with pytest.raises(DataError, match="must hold the same classes"):
        load_images("imagenet", "test", root=tmp_path)
