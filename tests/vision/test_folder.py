from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import image_folder
from ppuda_like.vision._statistics import CIFAR10_MEAN, IMAGENET_MEAN


def make_tree(
    root: Path, count: int, side: tuple[int, int] = (32, 32), classes: tuple[str, ...] = ("cat", "dog")
) -> Path:
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", side, (10 * i, 100 * label, 0)).save(root / name / f"{i:03}.png")
    return root


def test_plain_tree(tmp_path: Path) -> None:
    data = image_folder(make_tree(tmp_path, 10))
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0] * 10 + [1] * 10
    images, labels = data.batch(torch.tensor([13, 2]))
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [1, 0]
    pixels = images * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
    torch.testing.assert_close(pixels[0, :, 5, 7] * 255, torch.tensor([30.0, 100.0, 0.0]), atol=1e-3, rtol=0)
    assert torch.equal(data.load().batch(torch.tensor([13, 2]))[0], images)


def test_splits_of_a_plain_tree_partition_each_class(tmp_path: Path) -> None:
    make_tree(tmp_path, 20)
    parts = [image_folder(tmp_path, split=split) for split in ("train", "val", "test")]
    assert [part.labels.bincount().tolist() for part in parts] == [[16, 16], [2, 2], [2, 2]]
    assert sorted(path for part in parts for path in part.paths) == sorted(image_folder(tmp_path).paths)


def test_val_is_the_last_tenth_of_train_where_there_is_no_folder_of_it(tmp_path: Path) -> None:
    make_tree(tmp_path / "train", 10)
    make_tree(tmp_path / "test", 3)
    assert [path.name for path in image_folder(tmp_path, split="val").paths] == ["009.png"] * 2
    assert len(image_folder(tmp_path, split="train")) == 18
    assert len(image_folder(tmp_path, split="test")) == 6
    make_tree(tmp_path / "val", 2)
    assert len(image_folder(tmp_path, split="val")) == 4
    assert len(image_folder(tmp_path, split="train")) == 20


def test_images_are_resized_and_their_centre_cut(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    Image.fromarray(pixels).save(tmp_path / "a" / "wide.png")
    small = image_folder(tmp_path, 32, mean=(0, 0, 0), std=(1, 1, 1))
    assert small[0][0].shape == (3, 32, 32)
    assert small[0][0][:, :, 2:-2].min() > 0.99
    large = image_folder(tmp_path, 224, mean=(0, 0, 0), std=(1, 1, 1))
    assert large[0][0].shape == (3, 224, 224)
    assert large[0][0].min() > 0.99


def test_default_statistics_follow_the_size(tmp_path: Path) -> None:
    make_tree(tmp_path, 1)
    assert image_folder(tmp_path, 32).mean == CIFAR10_MEAN
    assert image_folder(tmp_path, 224).mean == IMAGENET_MEAN


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("L", (32, 32), 255).save(tmp_path / "a" / "grey.png")
    Image.new("RGBA", (32, 32), (255, 255, 255, 0)).save(tmp_path / "a" / "alpha.PNG")
    data = image_folder(tmp_path, mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(data.load().images, torch.full((2, 3, 32, 32), 255, dtype=torch.uint8))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image folder at '.*nowhere'; give a folder"):
        image_folder(tmp_path / "nowhere")


def test_folder_without_classes(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match="holds no class folders; put the images of each class"):
        image_folder(tmp_path)


def test_empty_class_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, 2)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"class folder '.*emu' holds no images .*; add some or delete"):
        image_folder(tmp_path)


def test_too_few_images_for_a_split(tmp_path: Path) -> None:
    make_tree(tmp_path, 1)
    with pytest.raises(DataError, match=r"class folder 'cat' of .* has too few images for the split 'train'"):
        image_folder(tmp_path, split="train")


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    make_tree(tmp_path / "train", 10)
    with pytest.raises(DataError, match="none named 'test'"):
        image_folder(tmp_path, split="test")
    with pytest.raises(DataError, match="divided into subfolders"):
        image_folder(tmp_path)
    with pytest.raises(DataError, match="unknown split 'dev'"):
        image_folder(tmp_path, split="dev")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    make_tree(tmp_path, 1)
    broken = tmp_path / "dog" / "broken.png"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    noise.save(broken)
    broken.write_bytes(broken.read_bytes()[:500] if content is None else content)
    data = image_folder(tmp_path)
    with pytest.raises(DataError, match=r"unreadable image '.*broken.png' .*; replace or delete the file"):
        data.load()


def test_unreadable_images_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_tree(tmp_path, 5)
    (tmp_path / "cat" / "001.png").write_bytes(b"no image")
    (tmp_path / "dog" / "000.png").write_bytes((tmp_path / "dog" / "003.png").read_bytes()[:50])
    lazy = image_folder(tmp_path, unreadable="skip")
    assert "left out 2 unreadable images of 10" in caplog.text
    assert lazy.num_skipped == 2
    assert [path.stem for path in lazy.paths] == ["000", "002", "003", "004", "001", "002", "003", "004"]
    assert lazy.labels.tolist() == [0] * 4 + [1] * 4
    loaded = image_folder(tmp_path).load(unreadable="skip")
    assert (loaded.num_skipped, loaded.labels.tolist()) == (2, lazy.labels.tolist())
    assert torch.equal(loaded.images, lazy.load().images)
    assert lazy.load().num_skipped == 2
    with pytest.raises(DataError, match=r"cat/001.png"):
        image_folder(tmp_path).load()


def test_nothing_skipped_where_all_is_readable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert image_folder(make_tree(tmp_path, 2), unreadable="skip").num_skipped == 0
    assert not caplog.records


def test_no_readable_image_at_all(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").touch()
    with pytest.raises(DataError, match="none of the 1 images"):
        image_folder(tmp_path, unreadable="skip")
    with pytest.raises(DataError, match="none of the 1 images"):
        image_folder(tmp_path).load(unreadable="skip")


def test_a_file_that_goes_missing_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    data = image_folder(make_tree(tmp_path, 2))
    data.paths[1].unlink()
    with pytest.raises(DataError, match="cannot open image"):
        data.readable()
    with pytest.raises(DataError, match="cannot open image"):
        data.load(unreadable="skip")


def test_images_lie_at_any_depth_and_hidden_files_are_none(tmp_path: Path) -> None:
    make_tree(tmp_path, 1)
    (tmp_path / "cat" / "deep" / "er").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "cat" / "deep" / "er" / "z.JPG")
    (tmp_path / "cat" / "._000.png").write_bytes(b"what macOS leaves")
    assert image_folder(tmp_path).files == ("cat/000.png", "cat/deep/er/z.JPG", "dog/000.png")
