from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.graph import CutError, balanced_ends, uniform_ends

# Boundaries of SEDONA's uniform baseline (OpenReview XLfdzwNKzch) for VGG-19 and ResNet-50, -101 and -152.
PUBLISHED = {
    (16, 2): (7,),
    (16, 3): (4, 9),
    (16, 4): (3, 7, 11),
    (16, 8): (1, 3, 5, 7, 9, 11, 13),
    (33, 2): (15,),
    (33, 3): (10, 21),
    (33, 4): (7, 15, 23),
    (33, 8): (3, 7, 11, 15, 19, 23, 27),
    (50, 2): (24,),
    (50, 3): (15, 32),
    (50, 4): (11, 24, 36),
    (50, 8): (5, 11, 17, 24, 30, 36, 42),
}


@pytest.mark.parametrize(("num_units", "num_blocks"), PUBLISHED)
def test_published_uniform_boundaries(num_units: int, num_blocks: int) -> None:
    assert uniform_ends(num_units, num_blocks) == PUBLISHED[num_units, num_blocks]


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_uniform_is_the_truncated_linspace(case: tuple[int, int]) -> None:
    num_units, num_blocks = case
    # A hair more, since a whole number may come out a hair below itself.
    exact = np.linspace(-1, num_units - 1, num_blocks + 1)[1:-1] + 1e-9
    ends = uniform_ends(num_units, num_blocks)
    assert ends == tuple(np.trunc(exact).astype(int).tolist())
    assert np.ptp(np.diff([-1, *ends, num_units - 1])) <= 1


def blocks_of(costs: list[int], ends: tuple[int, ...]) -> list[int]:
    places = [0, *(end + 1 for end in ends), len(costs)]
    return [sum(costs[a:b]) for a, b in pairwise(places)]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=9).flatmap(
        lambda c: st.tuples(st.just(c), st.integers(1, len(c)))
    )
)
def test_balanced_against_all_choices(case: tuple[list[int], int]) -> None:
    costs, num_blocks = case

    def weight(ends: tuple[int, ...]) -> tuple[int, int]:
        blocks = blocks_of(costs, ends)
        return max(blocks), sum(block**2 for block in blocks)

    found = balanced_ends(costs, num_blocks)
    every = combinations(range(len(costs) - 1), num_blocks - 1)
    assert weight(found) == min(map(weight, every))
    assert list(found) == sorted(set(found))
    assert all(0 <= end < len(costs) - 1 for end in found)


@settings(deadline=None)
@given(st.data())
def test_what_ending_a_block_costs(data: st.DataObject) -> None:
    costs = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=8))
    num_blocks = data.draw(st.integers(1, len(costs)))
    ending = data.draw(st.lists(st.integers(0, 20), min_size=len(costs) - 1, max_size=len(costs) - 1))

    def heaviest(ends: tuple[int, ...]) -> int:
        added = [*(ending[end] for end in ends), 0]
        return max(block + more for block, more in zip(blocks_of(costs, ends), added, strict=True))

    found = balanced_ends(costs, num_blocks, ending)
    assert heaviest(found) == min(map(heaviest, combinations(range(len(costs) - 1), num_blocks - 1)))


def test_the_rest_is_evened_out() -> None:
    # One unit outweighs all others: wherever these are cut, the heaviest block is the same.
    assert blocks_of([100, *[1] * 9], balanced_ends([100, *[1] * 9], 4)) == [100, 3, 3, 3]


def test_bad_arguments() -> None:
    with pytest.raises(
        CutError, match="5 blocks were asked for, but the network has 4 units, which are not cut"
    ) as told:
        uniform_ends(4, 5)
    assert told.value.rule == "units"
    with pytest.raises(CutError, match=r"1 block at least \(got 0\)"):
        balanced_ends([1.0, 2.0], 0)
    with pytest.raises(CutError, match="5 blocks were asked for"):
        balanced_ends([1.0] * 4, 5)
    with pytest.raises(CutError, match="'ending' must have 2 numbers"):
        balanced_ends([1.0] * 3, 2, [1.0])
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(CutError, match="must be finite and not negative"):
            balanced_ends([1.0, bad, 1.0], 2)
        with pytest.raises(CutError, match="must be finite and not negative"):
            balanced_ends([1.0, 1.0, 1.0], 2, [bad, 1.0])
