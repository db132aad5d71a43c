import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData, evaluate, n_shot, subset


def numbered(labels: list[int], classes: int = 3) -> ImageData:
    images = torch.arange(len(labels)).float()[:, None, None, None].expand(-1, 3, 1, 1)
    return ImageData(images=images, labels=torch.tensor(labels), class_names=tuple("abcdefgh"[:classes]))


@given(st.data(), st.lists(st.integers(0, 2), min_size=1, max_size=20))
def test_subsets_compose_as_indexing_does(data: st.DataObject, labels: list[int]) -> None:
    source = numbered(labels)
    first = data.draw(st.lists(st.integers(0, len(labels) - 1), min_size=1, max_size=20))
    second = data.draw(st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=20))
    twice = subset(subset(source, torch.tensor(first)), second)
    once = subset(source, [first[i] for i in second])
    everything = torch.arange(len(second))
    assert torch.equal(twice.pixels(everything)[0], once.pixels(everything)[0])
    assert twice.labels.tolist() == [labels[first[i]] for i in second]
    assert twice.class_names == source.class_names


@given(st.lists(st.integers(0, 2), min_size=12, max_size=40), st.integers(1, 5), st.integers(0, 10))
def test_shots_are_n_of_each_class(labels: list[int], n: int, seed: int) -> None:
    counts = [labels.count(label) for label in range(3)]
    if min(counts) < n:
        name = next("abc"[label] for label, count in enumerate(counts) if count < n)
        with pytest.raises(DataError, match=f"class '{name}' has .* fewer than the {n} asked for"):
            n_shot(numbered(labels), n, seed)
        return
    found = n_shot(numbered(labels), n, seed)
    assert found.labels.bincount().tolist() == [n] * 3
    positions = found.index.tolist()
    assert positions == sorted(set(positions))
    if n > 1:
        assert set(n_shot(numbered(labels), n - 1, seed).index.tolist()) < set(positions)


def test_seeds_choose_other_shots() -> None:
    source = numbered([0, 1, 2] * 30)
    chosen = {tuple(n_shot(source, 5, seed).index.tolist()) for seed in (0, 0, 1, 2)}
    assert len(chosen) == 3


def test_a_subset_is_evaluated_like_any_source() -> None:
    class Right(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(images[:, 0, 0, 0].long() % 3, 3).float()

    source = numbered([0, 1, 2, 0, 1, 0])
    assert evaluate(Right(), source).top1 == pytest.approx(5 / 6)
    assert evaluate(Right(), subset(source, [5])).top1 == 0


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "one position at least"),
        (torch.zeros(2, 2, dtype=torch.long), r"got shape \(2, 2\)"),
        ([0.5], "whole numbers.*float"),
        ([True, False], r"of a mask take nonzero"),
        ([0, 3], r"positions must be in 0..2.*got 0..3"),
        ([-1], "got -1..-1"),
    ],
)
def test_positions_that_are_none(index: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        subset(numbered([0, 1, 2]), index)


def test_no_shots() -> None:
    with pytest.raises(DataError, match="'n' must be at least 1"):
        n_shot(numbered([0, 1, 2]), 0)
