import math

import numpy as np
import pytest

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, Constraints


def test_excess_is_zero_exactly_where_constraints_are_met() -> None:
    limits = Constraints(max_flops=2e9, min_params=3e6, max_params=9e6)
    costs = MULTI_RESOLUTION.costs(MULTI_RESOLUTION.sample(500, np.random.default_rng(0)))
    met = limits.met(costs)
    assert 0 < met.sum() < 500
    np.testing.assert_array_equal(limits.excess(costs) == 0, met)
    expected = (costs[:, 0] <= 2e9) & (costs[:, 1] >= 3e6) & (costs[:, 1] <= 9e6)
    np.testing.assert_array_equal(met, expected)


def test_excess_is_in_logarithms() -> None:
    assert Constraints(max_flops=1e9, min_params=1e6).excess(np.array([[math.e * 1e9, 1e6 / math.e]])) == pytest.approx(
        2
    )


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_flops": 0.0}, "'max_flops' must be a finite number above 0"),
        ({"min_params": math.inf}, "'min_params' must be"),
        ({"min_flops": 2e9, "max_flops": 1e9}, "'min_flops' must not be above 'max_flops'"),
    ],
)
def test_bad_bounds_are_named(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(CodeError, match=message):
        Constraints(**bounds)


def test_bounds_at_the_ends_of_a_space_can_be_met_and_beyond_them_not() -> None:
    for space in (MULTI_RESOLUTION, NASBENCH201):
        ends = (
            np.array([space.low, space.high]).astype(int)
            if space is MULTI_RESOLUTION
            else np.diag([1, 4]) @ np.ones((2, 6), int)
        )  # no operation anywhere is cheapest, and a 3x3 convolution everywhere dearest
        (least, _), (most, _) = space.costs(ends)
        Constraints(max_flops=least).check(space)
        Constraints(min_flops=most).check(space)
        with pytest.raises(CodeError, match=f"at most {least - 1:,.0f} flops: the least is {least:,.0f}"):
            Constraints(max_flops=least - 1).check(space)
        with pytest.raises(CodeError, match=f"at least {most + 1:,.0f} flops: the most is {most:,.0f}"):
            Constraints(min_flops=most + 1).check(space)


def test_of_a_small_space_all_bounds_together_are_checked() -> None:
    costs = np.unique(NASBENCH201.costs(NASBENCH201.sample(500, np.random.default_rng(0)))[:, 0])
    with pytest.raises(CodeError, match="meets all of"):
        Constraints(min_flops=costs[0] + 1, max_flops=costs[1] - 1).check(NASBENCH201)
