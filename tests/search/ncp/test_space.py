"""Laws of both spaces."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import COST_NAMES, MULTI_RESOLUTION, NASBENCH201, CodeSpace, code_space

SPACES = [MULTI_RESOLUTION, NASBENCH201]
COUNTS = [2, 3, 5, 6, 7, 10, 11, 12, 13, 17, 18, 19, 20, 21]
CHANNELS = [0, 1, 4, 8, 9, 14, 15, 16, 22, 23, 24, 25, 26]

both = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
seeds = st.integers(0, 2**32 - 1)


def drawn(space: CodeSpace, num: int, seed: int) -> Any:
    return space.sample(num, np.random.default_rng(seed))


@both
@given(seed=seeds)
def test_a_code_survives_relaxing_and_rounding(space: CodeSpace, seed: int) -> None:
    codes = drawn(space, 5, seed)
    relaxed = space.relax(codes)
    assert relaxed.dtype == np.float64
    assert relaxed.shape == (5, len(space.low))
    assert ((space.low <= relaxed) & (relaxed <= space.high)).all()
    assert (space.round(relaxed) == codes).all()


@both
@given(seed=seeds)
def test_what_is_rounded_or_drawn_is_in_the_space(space: CodeSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    relaxed = rng.normal(scale=100, size=(5, len(space.low)))
    for codes in (space.round(relaxed), space.sample(5, rng)):
        assert codes.dtype == np.int64
        assert codes.shape == (5, len(space.names))
        assert (space.check(codes) == codes).all()


@both
@given(seed=seeds)
def test_neighbours_are_mutual_and_differ_in_one_number(space: CodeSpace, seed: int) -> None:
    (code,) = drawn(space, 1, seed)
    found = space.neighbours(code)
    assert (space.check(found) == found).all()
    assert ((found != code).sum(axis=1) == 1).all()
    assert len(np.unique(found, axis=0)) == len(found)
    for other in found[:: max(1, len(found) // 3)]:
        assert (space.neighbours(other) == code).all(axis=1).any()


@both
def test_drawing_follows_the_generator_alone(space: CodeSpace) -> None:
    assert (drawn(space, 7, 1) == drawn(space, 7, 1)).all()
    assert (drawn(space, 7, 1) != drawn(space, 7, 2)).any()


@both
def test_every_value_is_drawn(space: CodeSpace) -> None:
    codes = drawn(space, 2000, 0)
    for place, (low, high) in enumerate(zip(codes.min(axis=0), codes.max(axis=0), strict=True)):
        step = 8 if space is MULTI_RESOLUTION and place in CHANNELS else 1
        assert set(codes[:, place]) == set(range(low, high + 1, step))
        share = (codes[:, place] == low).mean() * (1 + (high - low) / step)
        assert 0.6 < share < 1.4  # of a uniform draw: 1, with a deviation of at most 0.09


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relaxed_costs_of_codes_are_their_costs(space: CodeSpace, dtype: torch.dtype) -> None:
    codes = drawn(space, 3000, 3)
    exact = space.costs(codes)
    assert exact.shape == (3000, len(COST_NAMES))
    relaxed = space.relaxed_costs(torch.tensor(space.relax(codes), dtype=dtype))
    assert relaxed.dtype == dtype
    torch.testing.assert_close(
        relaxed.double(), torch.from_numpy(exact), rtol=1e-5 if dtype == torch.float32 else 0, atol=0
    )


@both
@given(seed=seeds)
def test_costs_grow_with_every_number(space: CodeSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    less, more = np.sort(rng.uniform(space.low, space.high, size=(2, len(space.low))), axis=0)
    costs = space.relaxed_costs(torch.from_numpy(np.stack((less, more))))
    assert bool((costs[1] >= costs[0]).all())


@both
def test_costs_and_features_have_gradients(space: CodeSpace) -> None:
    rng = np.random.default_rng(0)
    scale = torch.from_numpy(space.high)
    shares = torch.from_numpy(rng.uniform(space.low, space.high, size=(2, len(space.low)))) / scale
    shares.requires_grad_()
    # logarithms, so that numbers from 1e4 to 1e10 are compared alike
    assert torch.autograd.gradcheck(lambda x: space.relaxed_costs(x * scale).log(), (shares,))
    assert torch.autograd.gradcheck(lambda x: space.features(x * scale), (shares,))


@both
def test_no_codes_are_codes(space: CodeSpace) -> None:
    none = np.zeros((0, len(space.names)), dtype=np.int64)
    assert space.check(none).shape == none.shape
    assert space.costs(none).shape == (0, 2)
    assert space.relax(none).shape == (0, len(space.low))


@both
def test_wrong_arrays_are_refused(space: CodeSpace) -> None:
    (code,) = drawn(space, 1, 0)
    assert (space.check(code) == code[None]).all()  # one code alone
    for wrong, text in [
        (code[:-1], f"shape \\(n, {len(code)}\\)"),
        (code[None, None], "shape"),
        (code.astype(float), "round relaxed codes"),
        (code > 0, "bool"),
        ([code.tolist(), code.tolist()[:-1]], "array"),
        ([str(number) for number in code], "integers"),
        ([2**70] * len(code), "object"),
        (7, "shape"),
    ]:
        with pytest.raises(CodeError, match=text):
            space.check(wrong)


@both
def test_the_wrong_number_is_named(space: CodeSpace) -> None:
    codes = drawn(space, 3, 0)
    for place, name in enumerate(space.names):
        for value in (-1, 1000, np.iinfo(np.int64).max):
            wrong = codes.copy()
            wrong[2, place] = value
            with pytest.raises(CodeError, match=rf"code 2 .* '{name}' \(place {place}\) must be .* \(got {value}\)"):
                space.check(wrong)
    with pytest.raises(CodeError, match="code 0"):
        space.check(np.full((1, len(space.names)), 2**64 - 1, dtype=np.uint64))


@both
def test_wrong_relaxed_codes_are_refused(space: CodeSpace) -> None:
    with pytest.raises(CodeError, match="shape"):
        space.round(np.zeros((2, len(space.low) + 1)))
    bad = np.zeros((2, len(space.low)))
    bad[1, 4] = np.nan
    with pytest.raises(CodeError, match=r"relaxed code 1 must be finite .*nan at place 4"):
        space.round(bad)


@both
def test_a_space_has_its_name(space: CodeSpace) -> None:
    assert code_space(space.name) is space


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(CodeError, match="did you mean \\['nas-bench-201'\\]"):
        code_space("nasbench-201")


def test_the_numbers_of_a_multi_resolution_code() -> None:
    assert sorted(COUNTS + CHANNELS) == list(range(27))
    assert all(MULTI_RESOLUTION.names[place][0] in "mn" for place in COUNTS)
    assert MULTI_RESOLUTION.low[COUNTS].tolist() == [1] * 14
    assert MULTI_RESOLUTION.high[COUNTS].tolist() == [4] * 14
    assert MULTI_RESOLUTION.low[CHANNELS].tolist() == [8] * 13
    assert MULTI_RESOLUTION.high[CHANNELS].tolist() == [128] * 13
    with pytest.raises(CodeError, match=r"'in1' .* 8\.\.128 in steps of 8 \(got 12"):
        MULTI_RESOLUTION.check([8, 12, *[1] * 25])


@given(value=st.floats(0, 200), place=st.integers(0, 26))
def test_rounding_is_the_published_one(value: float, place: int) -> None:
    relaxed = MULTI_RESOLUTION.low.copy()
    relaxed[place] = value
    step, high = (1, 4) if place in COUNTS else (8, 128)
    published = max(step, int(value + step / 2) // step * step)
    assert MULTI_RESOLUTION.round(relaxed)[0, place] == min(published, high)


def test_a_corner_has_a_neighbour_for_each_number_and_the_middle_two() -> None:
    assert len(MULTI_RESOLUTION.neighbours(MULTI_RESOLUTION.low.astype(int))) == 27
    assert len(MULTI_RESOLUTION.neighbours(MULTI_RESOLUTION.high.astype(int))) == 27
    middle = np.where(MULTI_RESOLUTION.high > 4, 64, 2)
    assert len(MULTI_RESOLUTION.neighbours(middle)) == 54
    assert len(NASBENCH201.neighbours([0, 1, 2, 3, 4, 0])) == 24


def test_a_relaxed_cell_is_one_hot_and_ties_go_to_the_first() -> None:
    relaxed = NASBENCH201.relax([[4, 0, 1, 2, 3, 4]]).reshape(6, 5)
    assert relaxed.argmax(axis=1).tolist() == [4, 0, 1, 2, 3, 4]
    assert relaxed.sum() == 6
    assert NASBENCH201.round(np.full(30, 0.2)).tolist() == [[0] * 6]


def test_the_costs_of_all_cells_are_28() -> None:
    costs = NASBENCH201.costs(list(product(range(5), repeat=6)))
    assert len(np.unique(costs, axis=0)) == 28
