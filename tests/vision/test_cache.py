import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import FolderData, _folder_data, image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for label, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (50 * i, 100 * label, 0)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded, as they are."""
    found = []
    real = _folder_data.read_image

    def counted(path: Path, size: int | None = None) -> torch.Tensor:
        found.append(path)
        return real(path, size)

    monkeypatch.setattr(_folder_data, "read_image", counted)
    return found


def test_the_second_call_decodes_nothing_and_gives_the_same(folder: Path, tmp_path: Path, decoded: list[Path]) -> None:
    first = image_folder(folder, 8).load(cache=tmp_path / "kept" / "x.safetensors")
    assert len(decoded) == 6
    again = image_folder(folder, 8).load(cache=tmp_path / "kept" / "x.safetensors")
    assert len(decoded) == 6
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)
    assert torch.equal(again.images, image_folder(folder, 8).load().images)


def change_content(folder: Path) -> FolderData:
    before = (folder / "a" / "1.png").stat()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "a" / "1.png")
    os.utime(folder / "a" / "1.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    return image_folder(folder, 8)


def remove(folder: Path) -> FolderData:
    (folder / "b" / "2.png").unlink()
    return image_folder(folder, 8)


def rename(folder: Path) -> FolderData:
    (folder / "b" / "0.png").rename(folder / "b" / "3.png")
    return image_folder(folder, 8)


def size(folder: Path) -> FolderData:
    return image_folder(folder, 4)


def split(folder: Path) -> FolderData:
    return image_folder(folder, 8, "train")


@pytest.mark.parametrize("change", [change_content, remove, rename, size, split])
def test_what_changed_is_decoded_again(folder: Path, tmp_path: Path, change: object) -> None:
    image_folder(folder, 8).load(cache=tmp_path / "x.safetensors")
    data = change(folder)  # type: ignore[operator]
    found = data.load(cache=tmp_path / "x.safetensors")
    assert torch.equal(found.images, data.load().images)
    assert torch.equal(found.labels, data.labels)


def test_a_damaged_file_is_replaced(
    folder: Path, tmp_path: Path, decoded: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "x.safetensors"
    whole = image_folder(folder, 8).load(cache=cache).images
    cache.write_bytes(cache.read_bytes()[:-10])
    assert torch.equal(image_folder(folder, 8).load(cache=cache).images, whole)
    assert "is damaged" in caplog.text
    assert len(decoded) == 12
    image_folder(folder, 8).load(cache=cache)
    assert len(decoded) == 12


def test_skipped_images_stay_skipped_and_stay_errors(folder: Path, tmp_path: Path, decoded: list[Path]) -> None:
    cache = tmp_path / "x.safetensors"
    (folder / "a" / "1.png").write_bytes(b"no image")
    first = image_folder(folder, 8).load(unreadable="skip", cache=cache)
    assert len(decoded) == 6
    again = image_folder(folder, 8).load(unreadable="skip", cache=cache)
    assert len(decoded) == 6
    assert first.num_skipped == again.num_skipped == 1
    assert first.labels.tolist() == again.labels.tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(DataError, match=r"a/1.png"):
        image_folder(folder, 8).load(cache=cache)


def test_a_place_that_cannot_be_written_is_warned_of(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert len(image_folder(folder, 8).load(cache=tmp_path / "file" / "x.safetensors")) == 6
    assert "could not be kept" in caplog.text
