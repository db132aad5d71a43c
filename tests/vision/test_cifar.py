import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData, _cifar, load_images

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def write(path: Path, content: object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def fake_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Numbers, list[int]]:
    """Files of the published layout with four images each, and what the training ones hold."""
    rng = np.random.default_rng(0)
    folder = root / CIFAR10.base_folder
    everything, labels, sums = [], [], []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        found = rng.integers(0, 10, 4).tolist()
        sums.append([name, write(folder / name, {"data": rows, "labels": found})])
        everything.append(rows)
        labels += found
    names = {"label_names": [f"class{i}" for i in range(10)]}
    meta = {**CIFAR10.meta, "md5": write(folder / "batches.meta", names)}
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(_cifar, "_HELD_OUT", 6)
    return np.concatenate(everything), labels


def fake_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / CIFAR100.base_folder
    rows = np.zeros((8, 3072), dtype=np.uint8)
    content = {"data": rows, "fine_labels": list(range(92, 100)), "coarse_labels": [0] * 8}
    for part in ("train", "test"):
        monkeypatch.setattr(CIFAR100, f"{part}_list", [[part, write(folder / part, content)]])
    names = {"fine_label_names": [f"class{i}" for i in range(100)]}
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": write(folder / "meta", names)})
    monkeypatch.setattr(_cifar, "_HELD_OUT", 3)


def test_pixels_labels_and_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = fake_cifar10(tmp_path, monkeypatch)
    parts = [load_images("cifar10", split, root=tmp_path) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [14, 6, 4]
    assert torch.cat([part.labels for part in parts]).tolist() == labels
    pixels = torch.cat([part.pixels(torch.arange(len(part)))[0] for part in parts])
    assert torch.equal(pixels, torch.from_numpy(rows).reshape(-1, 3, 32, 32))  # planes of red, green, blue
    assert parts[0].class_names == tuple(f"class{i}" for i in range(10))
    assert all(isinstance(part, ImageData) for part in parts)


def test_cifar100_has_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar100(tmp_path, monkeypatch)
    assert load_images("cifar100", "val", root=tmp_path).labels.tolist() == [97, 98, 99]
    data = load_images("cifar100", "test", root=tmp_path)
    assert (len(data), len(data.class_names)) == (8, 100)
    assert data.mean == pytest.approx((0.507, 0.487, 0.441), abs=1e-3)


def test_another_size_is_resized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar10(tmp_path, monkeypatch)
    assert load_images("cifar10", "test", 48, root=tmp_path).pixels(torch.arange(4))[0].shape == (4, 3, 48, 48)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"files of cifar10 in '.*cifar-10-batches-py' are missing .*download=True.*https"
    ):
        load_images("cifar10", "train", root=tmp_path)


def test_nothing_is_unpickled_from_a_file_that_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar10(tmp_path, monkeypatch)
    (tmp_path / CIFAR10.base_folder / "data_batch_3").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(DataError, match="missing or not those published"):
        load_images("cifar10", "train", root=tmp_path)
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("File not found or corrupted."), r"what https.* sends is not cifar10 as it was published"),
        (OSError("no route to host"), r"could not download https.*: no route to host"),
    ],
)
def test_downloads_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(self: CIFAR10) -> None:
        raise error

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(DataError, match=message):
        load_images("cifar10", "train", root=tmp_path / "new", download=True)


def test_nothing_is_downloaded_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(CIFAR10, "download", lambda self: calls.append(self) or fake_cifar10(tmp_path, monkeypatch))
    with pytest.raises(DataError, match="missing"):
        load_images("cifar10", "test", root=tmp_path)
    assert not calls
    assert len(load_images("cifar10", "test", root=tmp_path, download=True)) == 4
    assert len(calls) == 1
