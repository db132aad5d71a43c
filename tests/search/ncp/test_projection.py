import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, CodeSpace, Constraints
from ppuda_like.search.ncp._notches import every_code
from ppuda_like.search.ncp._projection import Projection

SPACES = st.sampled_from([MULTI_RESOLUTION, NASBENCH201])
SIDES = st.sampled_from(["max_flops", "max_params", "min_flops", "min_params", "flops", "mixed"])
SEEDS = st.integers(0, 2**32 - 1)


def bounds_of(space: CodeSpace, side: str, rng: np.random.Generator) -> Constraints:
    """Constraints that some drawn code meets, however tight."""
    flops, params = space.costs(space.sample(1, rng))[0]
    if side == "flops":
        return Constraints(min_flops=0.9 * flops, max_flops=1.1 * flops)
    if side == "mixed":
        return Constraints(max_flops=1.05 * flops, min_params=0.95 * params)
    return Constraints(**{side: flops if side.endswith("flops") else params})


@given(space=SPACES, side=SIDES, seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_whatever_comes_rounds_to_what_meets_the_constraints(space: CodeSpace, side: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits = bounds_of(space, side, rng)
    before = rng.uniform(space.low, space.high, (20, len(space.low)))
    x, codes = Projection(space, limits).relaxed(before)
    assert limits.met(space.costs(codes)).all()
    np.testing.assert_array_equal(space.round(x), codes)
    assert (x >= space.low).all()
    assert (x <= space.high).all()
    fine = limits.met(space.costs(space.round(before)))
    np.testing.assert_array_equal(x[fine], before[fine])


@pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=lambda space: space.name)
def test_without_bounds_nothing_moves(space: CodeSpace) -> None:
    x = np.random.default_rng(0).uniform(space.low, space.high, (5, len(space.low)))
    for projection in (Projection(space), Projection(space, Constraints())):
        found, codes = projection.relaxed(x)
        np.testing.assert_array_equal(found, x)
        np.testing.assert_array_equal(codes, space.round(x))


def test_no_more_is_given_up_than_the_bound_asks_for() -> None:
    rng = np.random.default_rng(0)
    limits = Constraints(max_flops=1e9)
    codes = MULTI_RESOLUTION.sample(200, rng)
    found = MULTI_RESOLUTION.costs(Projection(MULTI_RESOLUTION, limits).codes(codes))[:, 0]
    assert found.min() > 0.5e9  # the least notch of a count may take a third
    assert np.median(found) > 0.9e9


def test_cells_go_to_the_nearest_that_is_allowed() -> None:
    limits = Constraints(max_params=200_000)
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(20, 30))
    _, codes = Projection(NASBENCH201, limits).relaxed(x)
    every = every_code(NASBENCH201)
    allowed = every[limits.met(NASBENCH201.costs(every))]
    shares = NASBENCH201.relax(allowed)
    away = ((x[:, None] - shares) ** 2).sum(axis=2)
    found = ((x - NASBENCH201.relax(codes)) ** 2).sum(axis=1)
    moved = ~limits.met(NASBENCH201.costs(NASBENCH201.round(x)))
    assert 0 < moved.sum() < 20
    np.testing.assert_allclose(found, away.min(axis=1))


def test_bounds_that_contradict_each_other_are_refused() -> None:
    # 27 million parameters are next to all there are, which take many operations.
    with pytest.raises(CodeError, match=r"no code of 'multi-resolution' was found that meets .*max_flops=1000000000"):
        Projection(MULTI_RESOLUTION, Constraints(max_flops=1e9, min_params=27e6))
