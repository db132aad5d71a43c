import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    Constraints,
    Objective,
    edit,
    edit_published,
)
from ppuda_like.search.ncp._notches import every_code
from tests.search.ncp.toys import Toy

START = np.array([2 if low == 1 else 64 for low in MULTI_RESOLUTION.low])
SPACES = pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=lambda space: space.name)


class Standardised:
    """A network between standardised codes and standardised metrics, as the published predictor is."""

    space, table, metrics = MULTI_RESOLUTION, "seg", ("mIoU", "mAcc", "flops", "params")

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(nn.Linear(27, 32), nn.SiLU(), nn.Linear(32, 4)).double().requires_grad_(False)
        rng = np.random.default_rng(seed)
        self.mean, self.std = rng.uniform(30, 60, 27), rng.uniform(1, 40, 27)
        self.centre, self.scale = rng.uniform(40, 70, 4), rng.uniform(1, 5, 4)

    def forward(self, relaxed: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        p = self.network((relaxed - torch.from_numpy(self.mean)) / torch.from_numpy(self.std))
        mean = p * torch.from_numpy(self.scale) + torch.from_numpy(self.centre)
        return mean, torch.zeros_like(mean)

    def predict(self, codes: NDArray[np.int64], return_std: bool = False):
        mean = self.forward(torch.from_numpy(codes.astype(np.float64)))[0].numpy()
        return (mean, np.zeros_like(mean)) if return_std else mean


def published_loop(model: Standardised, alpha: float) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Section by section as the tool goes about it: a loss with moving targets, an optimiser, one code."""
    mean, std = torch.from_numpy(model.mean), torch.from_numpy(model.std)
    least = torch.from_numpy(MULTI_RESOLUTION.low)
    most = torch.where(least == 8, 32.0, 1.0) * 4
    z = (torch.from_numpy(START.astype(np.float64)) - mean) / std
    records = []
    for _ in range(70):
        raw = (mean + std * z).numpy()
        quanta = least.numpy()
        rounded = np.maximum(quanta, np.trunc(raw + quanta / 2) // quanta * quanta)
        records.append((rounded.astype(np.int64), raw))
        z = z.clone().requires_grad_()
        optimiser = torch.optim.SGD([z], lr=3.0)
        p = model.network(z)
        loss = (p[0] - (p[0].detach() + 0.1)).abs() + alpha * (p[2] - (p[2].detach() - 0.1)).abs()
        loss.backward()
        optimiser.step()
        z = torch.minimum(torch.maximum(z.detach(), (least - mean) / std), (most - mean) / std)
    return records


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.5, 0.0])
def test_published_edits_are_those_of_the_published_loop(seed: int, alpha: float) -> None:
    model = Standardised(seed)
    found = edit_published(START, model, alpha=alpha, scale=model.std)
    records = published_loop(model, alpha)
    assert found.steps == len(records) == 70
    np.testing.assert_array_equal(found.codes[:, 0], np.array([code for code, _ in records]))
    np.testing.assert_allclose(found.relaxed[:, 0], np.array([raw for _, raw in records]), atol=1e-9)
    np.testing.assert_allclose(
        found.relaxed_predictions[:, 0], model.forward(torch.from_numpy(found.relaxed[:, 0]))[0].numpy()
    )
    assert len(np.unique(found.codes[:, 0], axis=0)) > 3  # it did move


def test_published_edits_need_to_know_the_scale() -> None:
    with pytest.raises(CodeError, match="does not state what it standardises codes by; give 'scale'"):
        edit_published(START, Standardised(0))


@SPACES
@pytest.mark.parametrize("rule", ["continuous", "winner"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_every_code_meets_the_constraints_and_is_scored_as_it_is(space, rule, seed) -> None:
    rng = np.random.default_rng(seed)
    predictor = Toy(space, seed=seed % 1000)
    flops, params = space.costs(space.sample(1, rng))[0]
    limits = Constraints(max_flops=1.1 * flops, min_params=0.9 * params)
    objective = Objective({"acc": 1.0, "top5": -0.5, "flops": -0.2}, uncertainty=0.3)
    found = edit(space.sample(3, rng), predictor, objective, limits, steps=6, rule=rule)
    flat = found.codes.reshape(-1, found.codes.shape[2])
    assert limits.met(space.costs(flat)).all()
    np.testing.assert_array_equal(space.round(found.relaxed.reshape(len(flat), -1)), flat)
    mean, std = predictor.predict(flat, return_std=True)
    np.testing.assert_allclose(found.predictions.reshape(len(flat), -1), mean)
    np.testing.assert_allclose(found.stds.reshape(len(flat), -1), std)
    np.testing.assert_array_equal(found.costs.reshape(len(flat), -1), space.costs(flat))
    value = (mean - 0.3 * std)[:, 0] / predictor.scale[0] - 0.5 * (mean + 0.3 * std)[:, 1] / predictor.scale[1]
    np.testing.assert_allclose(found.objective.ravel(), value - 0.2 * np.log(found.costs[..., 0]).ravel())


@SPACES
@pytest.mark.parametrize("settings_", [{}, {"rule": "winner"}, {"rule": "winner", "lookahead": 4, "winners": 2}])
def test_starts_do_not_depend_on_each_other(space, settings_) -> None:
    starts = space.sample(4, np.random.default_rng(0))
    limits = Constraints(max_flops=float(np.median(space.costs(starts)[:, 0])))
    together = edit(starts, Toy(space), {"acc": 1.0}, limits, steps=8, **settings_)
    for row, start in enumerate(starts):
        alone = edit(start, Toy(space), {"acc": 1.0}, limits, steps=8, **settings_)
        np.testing.assert_array_equal(together.codes[:, row], alone.codes[:, 0])
        np.testing.assert_allclose(together.relaxed[:, row], alone.relaxed[:, 0], atol=1e-6)


@SPACES
def test_a_small_step_goes_along_the_gradient(space) -> None:
    x = space.relax(space.sample(1, np.random.default_rng(0)))
    predictor = Toy(space)
    unit = np.linspace(1, 2, x.shape[1])
    found = edit(space.round(x), predictor, {"acc": 1.0}, steps=2, lr=1e-3, scale=unit, shares=False)
    leaf = torch.from_numpy(x).requires_grad_()
    (slope,) = torch.autograd.grad(predictor.forward(leaf)[0][:, 0].sum() / predictor.scale[0], leaf)
    expected = np.clip(x + 1e-3 * unit**2 * slope.numpy(), space.low, space.high)
    np.testing.assert_allclose(found.relaxed[1], expected, rtol=1e-6)


@pytest.mark.parametrize("limits", [None, Constraints(max_flops=5e7)])
def test_operations_of_an_edge_have_shares_unless_told_otherwise(limits) -> None:
    starts = NASBENCH201.sample(4, np.random.default_rng(0))
    found = edit(starts, Toy(NASBENCH201), {"acc": 1.0}, limits, steps=6)
    np.testing.assert_allclose(found.relaxed.reshape(-1, 5).sum(axis=1), 1)
    free = edit(starts, Toy(NASBENCH201), {"acc": 1.0}, limits, steps=6, shares=False)
    assert np.abs(free.relaxed.reshape(-1, 5).sum(axis=1) - 1).max() > 0.1


@SPACES
def test_winner_takes_one_notch_at_a_time_and_takes_none_back_at_once(space) -> None:
    starts = space.sample(5, np.random.default_rng(1))
    tabu = 4
    found = edit(starts, Toy(space), {"acc": 1.0}, steps=25, rule="winner", tabu=tabu).codes
    assert (found[1] != starts).any(axis=1).all()
    for row in range(5):
        for step in range(24):
            before, after = found[step, row], found[step + 1, row]
            around = space.neighbours(before).tolist()
            assert after.tolist() in [*around, before.tolist()]
        way = [tuple(code) for code in found[:, row].tolist()]
        moves = sum(here != there for here, there in itertools.pairwise(way))
        for step in range(moves - 1):
            assert way[step] not in way[step + 1 : min(step + 1 + tabu, moves + 1)]


@SPACES
def test_several_winners_are_different_numbers(space) -> None:
    starts = space.sample(5, np.random.default_rng(2))
    found = edit(starts, Toy(space), {"acc": 1.0}, steps=2, rule="winner", winners=3).codes
    changed = (found[0] != found[1]).sum(axis=1)
    assert changed.max() == 3
    if space is MULTI_RESOLUTION:
        notch = MULTI_RESOLUTION.low
        assert (np.abs(found[1] - found[0]) <= notch).all()


@SPACES
def test_winner_that_looks_ahead_climbs_to_an_optimum(space) -> None:
    starts = space.sample(4, np.random.default_rng(3))
    predictor = Toy(space)
    found = edit(starts, predictor, {"acc": 1.0}, steps=200, rule="winner", lookahead=60)
    assert (np.diff(found.objective, axis=0) >= -1e-12).all()
    for row in range(4):
        around = predictor.predict(space.neighbours(found.codes[-1, row]))[:, 0] / predictor.scale[0]
        assert around.max() <= found.objective[-1, row] + 1e-12


def test_tasks_are_edited_for_jointly() -> None:
    one, two = Toy(NASBENCH201, "one", seed=1), Toy(NASBENCH201, "two", seed=2)
    starts = NASBENCH201.sample(10, np.random.default_rng(0))
    both = edit(starts, [one, two], {"one.acc": 1.0, "two.acc": 1.0}, rule="winner", lookahead=24, steps=30).best()
    value = (every_code(NASBENCH201), one, two)
    total = value[1].predict(value[0])[:, 0] / one.scale[0] + value[2].predict(value[0])[:, 0] / two.scale[0]
    assert both.objective > np.quantile(total, 0.999)
    assert set(both.predictions) == {"one.acc", "one.top5", "two.acc", "two.top5"}


def test_predictors_work_in_single_precision_unless_told_otherwise() -> None:
    class Single(Toy):
        def forward(self, relaxed: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
            assert relaxed.dtype == torch.float32
            mean, std = super().forward(relaxed)
            return mean.float(), std.float()

    starts = MULTI_RESOLUTION.sample(2, np.random.default_rng(0))
    single = edit(starts, Single(MULTI_RESOLUTION), {"acc": 1.0, "flops": -1.0}, steps=3)
    objective, precision = {"acc": 1.0, "flops": -1.0}, torch.float64
    double = edit(starts, Toy(MULTI_RESOLUTION), objective, steps=3, precision=precision)
    np.testing.assert_allclose(single.relaxed, double.relaxed, atol=1e-2)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    edit(START, Toy(MULTI_RESOLUTION), {"acc": 1.0}, Constraints(max_flops=1e9), steps=3)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"steps": 0}, "'steps' must be 1 or more"),
        ({"lr": 0.0}, "'lr' must be a finite number above 0"),
        ({"rule": "loser"}, "'rule' must be one of 'continuous', 'winner' .*'loser'"),
        ({"winners": 0}, "'winners'"),
        ({"lookahead": 0}, "'lookahead'"),
        ({"tabu": -1}, "'tabu' must be 0 or more"),
        ({"scale": np.ones(3)}, "'scale' must be 27 finite numbers"),
        ({"scale": np.zeros(27)}, "'scale' must be 27 finite numbers"),
    ],
)
def test_bad_settings_are_named(settings_, message) -> None:
    with pytest.raises(CodeError, match=message):
        edit(START, Toy(MULTI_RESOLUTION), {"acc": 1.0}, **settings_)


@pytest.mark.parametrize("codes", [START[:26], START + 1, np.empty((0, 27), int)])
def test_bad_codes_are_refused(codes) -> None:
    with pytest.raises(CodeError):
        edit(codes, Toy(MULTI_RESOLUTION), {"acc": 1.0})
