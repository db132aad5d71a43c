import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import (
    AUGMENTATIONS,
    IMAGE_SETS,
    FolderData,
    ImageData,
    _datasets,
    default_augmentation,
    digits,
    image_folder,
    load_images,
)


def make_tree(root: Path, count: int = 10) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 16), (10 * i, 100 * label, 0)).save(root / name / f"{i:03}.png")
    return root


def test_digits() -> None:
    found = load_images("digits", "val", 8)
    assert isinstance(found, ImageData)
    assert torch.equal(found.images, digits("val", 8).images)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_small_images_of_a_folder_are_in_memory(tmp_path: Path, split: _datasets.ImageSplit) -> None:
    tree = make_tree(tmp_path / "tree")
    found = load_images(tree, split, root=tmp_path / "data")
    assert isinstance(found, ImageData)
    assert torch.equal(found.images, image_folder(tree, 32, split).load().images)
    assert isinstance(load_images(str(tree), split, 64, root=tmp_path / "data"), FolderData)
    assert not (tmp_path / "data").exists()


def test_decoded_images_of_large_folders_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_datasets, "_KEPT_FROM", 10)
    trees = [make_tree(tmp_path / where / "tree", count) for where, count in (("x", 13), ("y", 15))]
    for _ in range(2):
        sizes = [len(load_images(tree, "train", 8, root=tmp_path / "data")) for tree in trees]
        assert sizes == [20, 24]
    kept = list((tmp_path / "data" / "decoded").iterdir())
    assert len(kept) == 2  # folders of one name keep apart
    assert all(file.name.startswith("tree-train-8-") for file in kept)


def test_what_memory_does_not_hold_is_read_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_datasets, "_MOST_BYTES", 16 * 3 * 32 * 32)
    make_tree(tmp_path / "tree")
    assert isinstance(load_images(tmp_path / "tree", "train", 32), ImageData)
    assert isinstance(load_images(tmp_path / "tree", "train", 33), FolderData)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
def test_archives(tmp_path: Path, kind: str) -> None:
    tree = make_tree(tmp_path / "tree")
    archive = Path(shutil.make_archive(str(tmp_path / "tree"), kind, tmp_path, "tree"))
    found = load_images(archive, "train", 16, root=tmp_path / "data")
    assert isinstance(found, ImageData)
    assert torch.equal(found.images, image_folder(tree, 16, "train").load().images)
    assert found.class_names == ("cat", "dog")


@pytest.mark.parametrize("size", [16, 100])
def test_unreadable_images_can_be_skipped(tmp_path: Path, size: int) -> None:
    tree = make_tree(tmp_path)
    (tree / "cat" / "003.png").write_bytes(b"no image")
    found = load_images(tree, "train", size, unreadable="skip")
    assert isinstance(found, ImageData | FolderData)
    assert (len(found), found.num_skipped) == (15, 1)
    with pytest.raises(DataError, match=r"cat/003\.png"):
        load_images(tree, "train", size).batch(torch.arange(16))


def test_names_come_before_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tree(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(load_images("digits", "val", 8).class_names) == 10
    assert load_images("./digits", "val").class_names == ("cat", "dog")
    assert load_images(Path("digits"), "val").class_names == ("cat", "dog")


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set 'cifra10'; did you mean 'cifar10'\? Choose one of digits, "):
        load_images("cifra10", "train")
    with pytest.raises(DataError, match=r"no data set '.*nowhere'. Choose one of .*, or give the path"):
        load_images(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match="unknown split 'dev' of digits; choose one of train, val, test"):
        load_images("digits", "dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'size' must be at least 1"):
        load_images("digits", "val", 0)
    (tmp_path / "images.rar").touch()
    with pytest.raises(DataError, match=r"neither a folder of images nor an archive \(.zip, .tar, "):
        load_images(tmp_path / "images.rar", "train")


def test_defaults_of_each_data_set() -> None:
    assert {entry.augment for entry in IMAGE_SETS.values()} <= set(AUGMENTATIONS)
    found = {name: default_augmentation(name) for name in IMAGE_SETS}
    assert found == {
        "digits": "affine",
        "cifar10": "crop",
        "cifar100": "crop",
        "imagenet": "imagenet",
        "tiny-imagenet": "crop",
    }
    assert default_augmentation("digits", 224) == "affine"
    assert default_augmentation("imagenet", 32) == "imagenet"
    assert default_augmentation("tiny-imagenet", 64) == "crop"
    assert default_augmentation("some/folder", 64) == "imagenet"
    assert (IMAGE_SETS["cifar10"].noise_std, IMAGE_SETS["imagenet"].noise_std) == (0.08, 0.18)
