import hashlib

import pytest
import torch
from sklearn.datasets import load_digits

from ppuda_like.errors import DataError
from ppuda_like.vision import digits
from ppuda_like.vision._digits import digits_index


def test_splits_are_disjoint_balanced_and_complete() -> None:
    labels = load_digits().target.tolist()
    parts = {split: digits_index(labels, split) for split in ("train", "val", "test")}
    assert {split: len(index) for split, index in parts.items()} == {"train": 1297, "val": 250, "test": 250}
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(1797))
    for split in ("val", "test"):
        assert torch.tensor(labels)[parts[split]].bincount().tolist() == [25] * 10


def test_split_never_moves() -> None:
    labels = load_digits().target.tolist()
    text = str([digits_index(labels, split).tolist() for split in ("train", "val", "test")])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "629bb3d619d9b1a9"


@pytest.mark.parametrize("size", [8, 16, 32])
def test_images_are_normalised_rgb(size: int) -> None:
    data = digits("train", size)
    images, _ = data.batch(torch.arange(len(data)))
    assert images.shape == (1297, 3, size, size)
    assert images.dtype == torch.float32
    assert torch.equal(images[:, 0], images[:, 2])
    torch.testing.assert_close(images.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_images_of_the_original_size_are_the_originals() -> None:
    data = digits("test", 8)
    bunch = load_digits()
    chosen = digits_index(bunch.target.tolist(), "test")
    pixels = data.images[:, 0] * 16
    torch.testing.assert_close(pixels, torch.from_numpy(bunch.images).float()[chosen], atol=1e-4, rtol=0)
    assert data.labels.tolist() == bunch.target[chosen.numpy()].tolist()
    assert data.class_names == tuple("0123456789")


def test_all_splits_share_the_statistics_of_train() -> None:
    assert digits("train").mean == digits("val").mean == digits("test").mean


def test_unknown_split_and_small_size_are_refused() -> None:
    with pytest.raises(DataError, match="unknown split 'dev' of digits; choose one of train, val, test"):
        digits("dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"at least 8.*got 4"):
        digits("train", 4)
