import itertools
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData, ImageStream, digits, image_folder

DIGITS = digits("val", 8)


def numbered(count: int, classes: int = 4) -> ImageData:
    """Images whose first pixel is their position."""
    images = torch.zeros(count, 3, 2, 2)
    images[:, 0, 0, 0] = torch.arange(count)
    names = tuple(map(str, range(classes)))
    return ImageData(images=images, labels=torch.arange(count) % classes, class_names=names)


def positions(batch: tuple[Tensor, Tensor]) -> list[int]:
    return [int(value) for value in batch[0][:, 0, 0, 0]]


def equal(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**40))
def test_each_epoch_sees_no_image_twice(count: int, size: int, epoch: int, seed: int) -> None:
    if size > count:
        with pytest.raises(DataError, match=f"{count} images make no full batch of {size}"):
            ImageStream(numbered(count), batch_size=size)
        return
    stream = ImageStream(numbered(count), batch_size=size, seed=seed)
    batches = [stream[epoch * stream.per_epoch + i] for i in range(stream.per_epoch)]
    seen = [position for batch in batches for position in positions(batch)]
    assert len(seen) == len(set(seen)) == count - count % size
    assert all(labels.tolist() == [p % 4 for p in positions((images, labels))] for images, labels in batches)


@given(st.integers(1, 40), st.integers(1, 40))
def test_in_order_every_image_comes_once(count: int, size: int) -> None:
    stream = ImageStream(numbered(count), batch_size=size, shuffle=False)
    seen = [position for i in range(stream.per_epoch) for position in positions(stream[i])]
    assert seen == list(range(count))
    assert equal(stream[stream.per_epoch], stream[0])


def test_orders_differ_by_epoch_and_seed() -> None:
    orders = {
        tuple(positions(ImageStream(numbered(32), batch_size=32, seed=seed)[epoch]))
        for seed, epoch in itertools.product(range(3), range(3))
    }
    assert len(orders) == 9


def test_a_batch_is_a_function_of_its_number() -> None:
    def stream(seed: int = 5) -> ImageStream:
        return ImageStream(DIGITS, batch_size=64, augment="affine", seed=seed)

    once = list(stream().batches(range(8)))
    used = stream()
    for number in (7, 0, 3, 4, 0):
        assert equal(used[number], once[number])
    assert equal(pickle.loads(pickle.dumps(used))[6], once[6])
    assert not equal(stream(6)[0], once[0])


def test_augmentation_differs_by_number() -> None:
    stream = ImageStream(DIGITS, batch_size=250, augment="affine", shuffle=False)
    assert not torch.equal(stream[0][0], stream[1][0])
    plain = ImageStream(DIGITS, batch_size=250, shuffle=False)
    assert equal(plain[0], DIGITS.batch(torch.arange(250)))


def test_workers_make_the_same_batches_and_leave_the_random_state() -> None:
    stream = ImageStream(DIGITS, batch_size=32, augment="affine", seed=2)
    before = torch.get_rng_state()
    made = list(itertools.islice(stream.batches(itertools.count(3), workers=2), 12))
    assert all(equal(batch, stream[3 + i]) for i, batch in enumerate(made))
    assert torch.equal(torch.get_rng_state(), before)


def test_errors_of_workers_read_as_they_were_raised(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    stream = ImageStream(image_folder(tmp_path), batch_size=1)
    with pytest.raises(DataError) as expected:
        stream[0]
    with pytest.raises(DataError) as found:
        next(stream.batches(range(1), workers=1))
    assert str(found.value) == str(expected.value)


@given(st.integers(1, 6), st.integers(6, 20), st.integers(0, 50), st.integers(0, 100))
def test_batches_of_some_classes(count: int, size: int, number: int, seed: int) -> None:
    data = numbered(24, classes=7)
    stream = ImageStream(data, batch_size=size, classes_per_batch=count, seed=seed)
    images, labels = stream[number]
    shares = labels.unique(return_counts=True)[1]
    assert len(shares) == count
    assert int(shares.max() - shares.min()) <= 1
    for label in labels.unique():
        members = (data.labels == label).sum()
        repeats = images[labels == label][:, 0, 0, 0].unique(return_counts=True)[1]
        assert len(repeats) == min(int((labels == label).sum()), int(members))  # none again before all were there


def test_a_round_has_every_class_once() -> None:
    stream = ImageStream(numbered(60, classes=6), batch_size=8, classes_per_batch=2)
    for first in (0, 3, 6):
        assert sorted(torch.cat([stream[first + i][1].unique() for i in range(3)]).tolist()) == list(range(6))
    groups = {tuple(stream[i][1].unique().tolist()) for i in range(60)}
    assert len(groups) > 8


def test_classes_without_images_are_passed_over() -> None:
    data = replace(numbered(20, classes=2), class_names=("a", "b", "none"))
    assert sorted(ImageStream(data, batch_size=4, classes_per_batch=2)[0][1].tolist()) == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"must be in 1..2, .* 2 classes \(got 3\)"):
        ImageStream(data, batch_size=4, classes_per_batch=3)


def test_what_makes_no_sense_is_refused() -> None:
    data = numbered(8)
    with pytest.raises(DataError, match="unknown augmentation 'crops'; choose one of none, affine, crop"):
        ImageStream(data, batch_size=4, augment="crops")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'batch_size' must be at least 1"):
        ImageStream(data, batch_size=0)
    with pytest.raises(DataError, match="take shuffle=True"):
        ImageStream(data, batch_size=4, classes_per_batch=2, shuffle=False)
    with pytest.raises(DataError, match=r"must be in 1..2.*got 0"):
        ImageStream(data, batch_size=2, classes_per_batch=0)
    with pytest.raises(IndexError, match="from 0"):
        ImageStream(data, batch_size=4)[-1]
