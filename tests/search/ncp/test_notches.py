import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, CodeSpace
from ppuda_like.search.ncp._notches import every_code, gains, nearest_shares, notches, opposite, spread

SPACES = pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=lambda space: space.name)
SEEDS = st.integers(0, 2**32 - 1)


@SPACES
@given(seed=SEEDS)
def test_notches_are_the_neighbours_of_each_code(space: CodeSpace, seed: int) -> None:
    codes = space.sample(3, np.random.default_rng(seed))
    near, legal = notches(space, codes)
    for code, around, kept in zip(codes, near, legal, strict=True):
        found = sorted(map(tuple, around[kept].tolist()))
        assert found == sorted(map(tuple, space.neighbours(code).tolist()))


@SPACES
@given(seed=SEEDS)
def test_gains_are_the_slope_along_each_notch(space: CodeSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = space.sample(2, rng)
    slope = rng.normal(size=(2, len(space.low)))
    near, legal = notches(space, codes)
    found = gains(space, slope, codes)
    for row in range(2):
        change = space.relax(near[row][legal[row]]) - space.relax(codes[row])
        np.testing.assert_allclose(found[row][legal[row]], change @ slope[row], atol=1e-9)


@SPACES
@given(seed=SEEDS)
def test_the_opposite_notch_leads_back(space: CodeSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = space.sample(4, rng)
    near, legal = notches(space, codes)
    taken = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
    rows = np.arange(4)
    there = near[rows, taken]
    back, _ = notches(space, there)
    np.testing.assert_array_equal(back[rows, opposite(space, codes, taken)], codes)


@SPACES
def test_spread_is_the_deviation_of_uniform_codes(space: CodeSpace) -> None:
    drawn = space.relax(space.sample(20_000, np.random.default_rng(0)))
    np.testing.assert_allclose(spread(space), drawn.std(axis=0), rtol=0.03)


def test_small_spaces_are_listed_and_large_ones_refused() -> None:
    every = every_code(NASBENCH201)
    assert len(np.unique(NASBENCH201.check(every), axis=0)) == 5**6
    with pytest.raises(CodeError, match="too many to list"):
        every_code(MULTI_RESOLUTION)


@given(seed=SEEDS, size=st.integers(1, 6))
def test_no_other_shares_are_nearer(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4, size)) * 3
    found = nearest_shares(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.min() >= 0
    others = rng.dirichlet(np.ones(size), 50)
    away = ((rows[:, None] - others) ** 2).sum(axis=2)
    assert (((rows - found) ** 2).sum(axis=1) <= away.min(axis=1) + 1e-9).all()
    np.testing.assert_allclose(nearest_shares(others), others, atol=1e-12)
