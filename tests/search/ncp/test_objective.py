import math

import numpy as np
import pytest
import torch

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, Objective
from ppuda_like.search.ncp._bound import BoundObjective
from tests.search.ncp.toys import Toy

A, B = Toy(MULTI_RESOLUTION, "a", seed=1), Toy(MULTI_RESOLUTION, "b", ("acc", "mAcc"), seed=2)
CODES = MULTI_RESOLUTION.sample(5, np.random.default_rng(0))


def test_value_is_the_sum_of_its_terms_in_their_units() -> None:
    objective = Objective({"a.acc": 2.0, "mAcc": -0.5, "flops": -0.3, "params": 0.1}, uncertainty=1.5, cost_unit=0.7)
    found = BoundObjective(objective, [A, B]).score(CODES)
    (mean_a, std_a), (mean_b, std_b) = A.predict(CODES, return_std=True), B.predict(CODES, return_std=True)
    flops, params = MULTI_RESOLUTION.costs(CODES).T
    expected = (
        2.0 * (mean_a[:, 0] - 1.5 * std_a[:, 0]) / A.scale[0]
        - 0.5 * (mean_b[:, 1] + 1.5 * std_b[:, 1]) / B.scale[1]
        + (-0.3 * np.log(flops) + 0.1 * np.log(params)) / 0.7
    )
    np.testing.assert_allclose(found.objective, expected)
    np.testing.assert_array_equal(found.means, np.hstack((mean_a, mean_b)))


def test_a_weight_of_flops_may_be_that_of_a_doubling() -> None:
    bound = BoundObjective(Objective({"flops": -1.0}, cost_unit=math.log(2)), A)
    value, flops = bound.score(CODES).objective, MULTI_RESOLUTION.costs(CODES)[:, 0]
    np.testing.assert_allclose(value, -np.log2(flops))


@pytest.mark.parametrize("uncertainty", [0.0, 2.0])
def test_gradient_is_that_of_finite_differences(uncertainty: float) -> None:
    objective = Objective({"a.acc": 1.0, "b.acc": 0.5, "params": -0.2}, uncertainty=uncertainty)
    bound = BoundObjective(objective, [A, B])
    x = np.random.default_rng(3).uniform(MULTI_RESOLUTION.low, MULTI_RESOLUTION.high, (2, 27))
    found, means = bound.gradient(x)
    numeric = np.empty_like(x)
    for place in range(27):
        step = np.zeros(27)
        step[place] = 1e-4
        above, below = (bound._value(torch.from_numpy(x + sign * step))[0].numpy() for sign in (1, -1))
        numeric[:, place] = (above - below) / 2e-4
    np.testing.assert_allclose(found, numeric, atol=1e-6)
    np.testing.assert_allclose(means[:, :2], A.forward(torch.from_numpy(x))[0].numpy())


def test_rows_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = BoundObjective({"a.acc": 1.0}, A)
    whole = bound.score(CODES), bound.gradient(MULTI_RESOLUTION.relax(CODES))[0]
    monkeypatch.setattr("ppuda_like.search.ncp._bound._CHUNK", 2)
    parts = bound.score(CODES), bound.gradient(MULTI_RESOLUTION.relax(CODES))[0]
    np.testing.assert_allclose(whole[0].objective, parts[0].objective)
    np.testing.assert_allclose(whole[1], parts[1])


def test_published_objective_weighs_the_flops_predicted() -> None:
    predictor = Toy(MULTI_RESOLUTION, "seg", ("mIoU", "mAcc", "flops", "params"))
    assert Objective.published(predictor).terms == {"seg.mIoU": 1.0, "seg.flops": -0.5}
    assert Objective.published(predictor, 0).terms == {"seg.mIoU": 1.0}
    with pytest.raises(CodeError, match="predicts acc, top5; fit it to the costs too"):
        Objective.published(A)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, "needs terms"),
        ({"acc": 0.0}, "weight of 'acc' must be a finite number other than 0"),
        ({"acc": math.nan}, "weight of 'acc'"),
    ],
)
def test_bad_terms_are_named(terms: dict[str, float], message: str) -> None:
    with pytest.raises(CodeError, match=message):
        Objective(terms)


@pytest.mark.parametrize("setting", [{"uncertainty": -1.0}, {"uncertainty": math.inf}, {"cost_unit": 0.0}])
def test_bad_settings_are_named(setting: dict[str, float]) -> None:
    with pytest.raises(CodeError, match=f"'{next(iter(setting))}' must be"):
        Objective({"acc": 1.0}, **setting)


@pytest.mark.parametrize(
    ("terms", "predictors", "message"),
    [
        ({"acc": 1.0}, [A, B], "'acc' is a metric of several tables; write 'a.acc' or 'b.acc'"),
        ({"mAc": 1.0}, [A, B], r"'mAc' is no metric .* did you mean 'mAcc'"),
        ({"zzzz": 1.0}, [A], "there are a.acc, a.top5, flops, params"),
        ({"a.acc": 1.0, "acc": 1.0}, [A], "two terms of the objective are about 'a.acc'"),
        ({"acc": 1.0}, [A, A], "two predictors predict 'a.acc'"),
        ({"acc": 1.0}, [], "there is no predictor"),
        ({"acc": 1.0}, [A, Toy(NASBENCH201, "cells")], "of 'a' is of 'multi-resolution' and that of 'cells'"),
    ],
)
def test_terms_that_predictors_do_not_have_are_refused(terms, predictors, message) -> None:
    with pytest.raises(CodeError, match=message):
        BoundObjective(terms, predictors)


def test_uncertainty_is_not_asked_of_who_states_none() -> None:
    with pytest.raises(CodeError, match=r"predictor of 'sure\.acc' states none"):
        BoundObjective(Objective({"acc": 1.0}, uncertainty=1.0), Toy(MULTI_RESOLUTION, "sure", certain=True))


def test_a_metric_without_spread_is_refused() -> None:
    flat = Toy(MULTI_RESOLUTION, "flat")
    flat.scale = np.zeros(2)
    with pytest.raises(CodeError, match=r"'flat\.acc' was the same for all codes"):
        BoundObjective({"acc": 1.0}, flat)
