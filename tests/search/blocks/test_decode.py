import logging
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import CutError, balanced_ends
from ppuda_like.search.blocks import Decoded, decode
from ppuda_like.search.blocks._decode import best_ends

PUBLISHED = Path(__file__).parent / "fixtures"

# Boundaries and depths of the auxiliary networks, as the published code decodes the published files.
TABLE = {
    ("vgg19", 2): ([5], [4]),
    ("vgg19", 3): ([5, 12], [4, 1]),
    ("vgg19", 4): ([5, 12, 13], [4, 1, 1]),
    ("vgg19", 8): ([5, 7, 10, 11, 12, 13, 14], [4, 1, 2, 1, 1, 1, 1]),
    ("vgg19", 0): ([5, 10, 11, 12, 13, 14], [4, 2, 1, 1, 1, 1]),
    ("resnet50", 2): ([9], [4]),
    ("resnet50", 3): ([9, 11], [4, 4]),
    ("resnet50", 4): ([9, 10, 11], [4, 4, 4]),
    ("resnet50", 8): ([8, 9, 10, 11, 12, 13, 14], [1, 4, 4, 4, 4, 1, 4]),
    ("resnet50", 0): ([9, 10, 11, 12, 14], [4] * 5),
    ("resnet101", 2): ([6], [4]),
    ("resnet101", 3): ([6, 10], [4, 4]),
    ("resnet101", 4): ([6, 10, 11], [4, 4, 4]),
    ("resnet101", 8): ([6, 10, 11, 21, 24, 26, 27], [4] * 7),
    ("resnet101", 0): ([6, 10, 11, 18, 21, 24, 26, 27, 28], [4] * 9),
    ("resnet152", 2): ([10], [4]),
    ("resnet152", 3): ([10, 12], [4, 4]),
    ("resnet152", 4): ([10, 12, 16], [4, 4, 4]),
    ("resnet152", 8): ([10, 12, 16, 18, 21, 22, 24], [4, 4, 4, 3, 2, 4, 2]),
    ("resnet152", 0): (
        [10, 12, 16, 18, 21, 22, 24, 25, 27, 28, 31, 32, 34, 38, 42, 47, 48],
        [4, 4, 4, 3, 2, 4, 2, 2, 4, 2, 4, 2, 4, 4, 4, 2, 2],
    ),
}


def published(name: str, num_blocks: int) -> Decoded:
    with np.load(PUBLISHED / f"{name}.npz", allow_pickle=False) as file:
        return decode(file["alpha"], file["beta"], num_blocks)


@pytest.mark.parametrize(("name", "num_blocks"), TABLE)
def test_the_published_searches(name: str, num_blocks: int) -> None:
    boundaries, depths = TABLE[name, num_blocks]
    found = published(name, num_blocks)
    assert list(found.boundaries) == boundaries
    assert found.auxiliaries == tuple(f"light-{depth}" for depth in depths)


@pytest.mark.parametrize(
    ("name", "num_blocks", "margin"),
    [
        ("vgg19", 3, 3.8e-4),
        ("vgg19", 4, 7.4e-3),
        ("resnet50", 4, 0.19),
        ("resnet152", 3, 0.46),
        ("resnet152", 4, 7.3e-5),
    ],
)
def test_published_margins(name: str, num_blocks: int, margin: float) -> None:
    assert published(name, num_blocks).margin == pytest.approx(margin, rel=0.04)


def test_choices_that_are_noise_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        published("resnet50", 4)
        assert not caplog.records
        published("resnet101", 5)
    assert "it is noise" in caplog.text


def test_files() -> None:
    for name, boundaries in (("vgg19", 15), ("resnet50", 15), ("resnet101", 32), ("resnet152", 49)):
        with np.load(PUBLISHED / f"{name}.npz", allow_pickle=False) as file:
            assert (file["alpha"].shape, file["beta"].shape) == ((boundaries, 2), (boundaries, 4))
            assert np.abs(file["alpha"].sum(1)).max() <= 8.5e-5


@pytest.mark.parametrize(
    ("name", "of_alpha", "of_beta"), [("resnet101", -0.865, -1.005), ("resnet152", -0.996, -1.008)]
)
def test_published_logits_halve_from_unit_to_unit(name: str, of_alpha: float, of_beta: float) -> None:
    with np.load(PUBLISHED / f"{name}.npz", allow_pickle=False) as file:
        alpha, beta = file["alpha"].astype(float)[15:], file["beta"].astype(float)[15:]
    size = np.abs(alpha[:, 0])
    spread = np.abs(beta - beta.mean(1, keepdims=True)).max(1)
    units = np.arange(len(alpha))
    assert np.polyfit(units[size > 0], np.log2(size[size > 0]), 1)[0] == pytest.approx(of_alpha, abs=0.02)
    assert np.polyfit(units[spread > 0], np.log2(spread[spread > 0]), 1)[0] == pytest.approx(of_beta, abs=0.02)


SCORES = st.lists(st.integers(-6, 6), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(SCORES, st.data())
def test_against_all_choices(scores: list[int], data: st.DataObject) -> None:
    units = len(scores) + 1
    costs = data.draw(st.lists(st.integers(0, 5), min_size=units, max_size=units))
    num_blocks = data.draw(st.integers(1, units))
    weight = data.draw(st.sampled_from([0.25, 0.5, 1, 2, 8]))

    def value(ends: tuple[int, ...]) -> tuple[float, float]:
        heaviest = max(map(sum, np.split(np.array(costs), [end + 1 for end in ends])))
        return sum(scores[i] for i in ends) - weight * heaviest, heaviest

    found = decode(scores, num_blocks=num_blocks, costs=costs, weight=weight)
    every = list(combinations(range(units - 1), num_blocks - 1))
    assert value(found.boundaries)[0] == max(value(ends)[0] for ends in every)
    assert found.heaviest == value(found.boundaries)[1]
    # Without a weight: the highest scores; with an infinite one: as balanced as can be.
    plain = decode(scores, num_blocks=num_blocks, tolerance=0)
    order = sorted(range(units - 1), key=lambda i: (-scores[i], i))
    assert plain.boundaries == tuple(sorted(order[: num_blocks - 1]))
    by_programming = best_ends(np.array(scores, dtype=float), num_blocks, np.array(costs, dtype=float), 0.0)
    assert sum(scores[i] for i in by_programming) == sum(scores[i] for i in plain.boundaries)
    even = decode(scores, num_blocks=num_blocks, costs=costs, weight=math.inf)
    assert even.heaviest == value(balanced_ends(costs, num_blocks))[1]


def test_ties_go_to_the_first() -> None:
    found = decode([1.0, 2.0, 2.0, 2.0, 0.0], num_blocks=3)
    assert (found.boundaries, found.ties, found.margin) == ((1, 2), (3,), 0.0)
    assert decode([1.0, -1.0], num_blocks=1).margin == math.inf
    assert decode([-1.0, -1.0]).num_blocks == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": [[1.0, 2.0, 3.0]]}, "shape \\(1, 3\\)"),
        ({"alpha": [math.nan]}, "finite"),
        ({"alpha": [0.0, 1.0], "beta": [[1.0] * 4]}, "'beta' must hold finite logits of shape \\(2, 4\\)"),
        ({"alpha": [0.0], "num_blocks": 2, "weight": 1.0}, "needs the 'costs'"),
        ({"alpha": [0.0], "num_blocks": 2, "costs": [1.0]}, "'costs' must be 2"),
        ({"alpha": [0.0], "num_blocks": -1}, "0 or more"),
    ],
)
def test_bad_input(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        decode(**arguments)  # type: ignore[arg-type]


def test_more_blocks_than_units() -> None:
    with pytest.raises(CutError, match="3 blocks were asked for, but 'alpha' is of 2 units"):
        decode([0.0], num_blocks=3)
