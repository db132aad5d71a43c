"""CodeEnsemble against the textbook formulas, and as an estimator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone

from ppuda_like.errors import DataError
from ppuda_like.predictors import CodeEnsemble, calibration, kendall_tau

Floats = NDArray[np.float64]


def surface(num: int, seed: int = 0, noise: float = 0.1) -> tuple[Floats, Floats]:
    """Rows of five columns, one of which matters to no target and one of which is constant."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(num, 5))
    x[:, 4] = 7.0
    clean = np.stack((np.sin(2 * x[:, 0]) + x[:, 1] ** 2, 50 + 10 * x[:, 1] * x[:, 2]), axis=1)
    return x, clean + noise * clean.std(axis=0) * rng.normal(size=clean.shape)


@pytest.fixture(scope="module")
def fitted() -> CodeEnsemble:
    return CodeEnsemble(subset=100).fit(*surface(200))


@pytest.mark.parametrize("repeated", [0, 25])
def test_the_mean_and_the_variance_are_those_of_the_textbook(repeated: int) -> None:
    x, y = surface(60)
    x, y = np.vstack((x, x[:repeated])), np.vstack((y, y[:repeated] + 0.2))
    one = CodeEnsemble(n_estimators=1, inducing=60).fit(x, y)
    process = one.processes_[0]
    assert len(process.rows) == 60  # a row measured twice is one
    spread = np.where(x.std(0) > 1e-9, x.std(0), np.inf)

    def rows_of(z: Floats) -> Floats:
        return np.asarray((z - x.mean(0)) / spread * process.rates.numpy())

    def covariance(a: Floats, b: Floats) -> Floats:
        return np.asarray(1 / (1 + ((a[:, None] - b[None]) ** 2).sum(2) / 2))

    # Of the rows as they came: the repeated ones are rows of their own here.
    rows, new = rows_of(x), surface(7, seed=1)[0]
    noise = float(process.noise)
    inverse = np.linalg.inv(covariance(rows, rows) + noise * np.eye(len(x)))
    target = (y - y.mean(0)) / y.std(0)
    across = covariance(rows_of(new), rows)
    mean, std = one.predict(new, return_std=True)
    np.testing.assert_allclose(mean, across @ inverse @ target * y.std(0) + y.mean(0), rtol=1e-5)
    left = 1 - np.einsum("ij,jk,ik->i", across, inverse, across) + noise
    # All rows explain the variance, so it is the exact one.
    np.testing.assert_allclose(std, np.sqrt(left[:, None] * process.amplitude.numpy()) * y.std(0), rtol=1e-3)
    if not repeated:
        np.testing.assert_allclose(process.amplitude, np.mean(target * (inverse @ target), axis=0), rtol=1e-6)


def test_fewer_rows_to_explain_the_variance_explain_less_of_it() -> None:
    x, y = surface(80)
    new = surface(30, seed=1)[0]
    few, some, all_ = (
        CodeEnsemble(n_estimators=1, inducing=num).fit(x, y).predict(new, return_std=True)[1].mean()
        for num in (5, 20, 80)
    )
    assert few > some > all_
    assert few > 1.1 * all_


def test_with_too_many_rows_those_measured_most_are_kept() -> None:
    x, y = surface(50)
    x, y = np.vstack((x, x[[7] * 9], x[[31] * 9])), np.vstack((y, y[[7] * 9], y[[31] * 9]))
    rest = CodeEnsemble(n_estimators=4, max_rows=10, iterations=5).fit(x, y)
    rows = [process.rows / process.rates for process in rest.processes_]
    assert [len(found) for found in rows] == [10] * 4
    wanted = torch.from_numpy(((x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), np.inf))[[7, 31]])
    for found in rows:
        assert (torch.cdist(wanted, found).amin(1) < 1e-6).all()
    assert not torch.allclose(rows[0].sort(0).values, rows[1].sort(0).values)  # the others by chance


def test_columns_that_tell_nothing_are_found(fitted: CodeEnsemble) -> None:
    rates = torch.stack([process.rates for process in fitted.processes_]).mean(0)
    assert rates[3] < 0.3 * rates[:3].min()  # of no use
    x = surface(10, seed=2)[0]
    moved = x.copy()
    moved[:, 4] = -100.0  # constant in what was learnt from
    np.testing.assert_array_equal(fitted.predict(x), fitted.predict(moved))


def test_new_rows_are_ordered_and_their_uncertainty_is_calibrated(fitted: CodeEnsemble) -> None:
    x, y = surface(400, seed=3)
    mean, std = fitted.predict(x, return_std=True)
    for column in range(2):
        assert kendall_tau(y[:, column], mean[:, column]) > 0.8
        assert calibration(y[:, column], mean[:, column], std[:, column]).coverage[0.9] == pytest.approx(0.9, abs=0.07)
    far = np.array([[40.0, -40, 40, 0, 7]])
    assert (fitted.predict(far, return_std=True)[1] > 3 * std.max(0)).all()


def test_forward_agrees_with_predict_and_has_the_right_derivative(fitted: CodeEnsemble) -> None:
    x = torch.from_numpy(surface(3, seed=4)[0]).requires_grad_()
    mean, std = fitted.forward(x)
    for found, wanted in zip((mean, std), fitted.predict(x.detach().numpy(), return_std=True), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12)
    assert torch.autograd.gradcheck(fitted.forward, x)
    quick, zeros = fitted.forward(x, with_std=False)
    torch.testing.assert_close(quick, mean)
    assert not zeros.any()
    torch.testing.assert_close(fitted.forward(x.float())[0], mean.float(), rtol=1e-3, atol=1e-3)
    assert fitted.forward(x.float())[1].dtype == torch.float32


def test_a_fit_depends_on_its_seed_alone() -> None:
    x, y = surface(60)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    make = CodeEnsemble(subset=30, random_state=1)
    first, second = (clone(make).fit(x, y).predict(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (clone(make).set_params(random_state=2).fit(x, y).predict(x) != first).any()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3), column=st.floats(1e-2, 1e2))
def test_units_do_not_matter(scale: float, shift: float, column: float) -> None:
    x, y = surface(30)
    make = CodeEnsemble(n_estimators=1, iterations=5)
    mean, std = clone(make).fit(x, y[:, 0]).predict(x[:5], return_std=True)
    other_mean, other_std = (
        clone(make).fit(x * column, scale * y[:, 0] + shift).predict(x[:5] * column, return_std=True)
    )
    np.testing.assert_allclose(other_mean, scale * mean + shift, rtol=1e-4, atol=1e-5 * scale)
    np.testing.assert_allclose(other_std, scale * std, rtol=1e-3)


def test_a_target_that_does_not_vary_is_predicted() -> None:
    x, y = surface(20)
    mean, std = CodeEnsemble().fit(x, np.stack((y[:, 0], np.full(20, 3.0)), axis=1)).predict(x, return_std=True)
    np.testing.assert_allclose(mean[:, 1], 3.0)
    assert std[:, 1].max() < 1e-3


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(5), np.zeros(5), r"rows must have shape \(n, r\)"),
        (np.zeros((5, 2)), np.arange(4.0), r"targets must have shape \(5, m\)"),
        (np.array([[1.0], [np.nan]]), np.arange(2.0), "row 1, column 0"),
        (np.array([[1.0], [2.0]]), np.array([1.0, np.inf]), "targets must be finite"),
        (np.ones((5, 2)), np.arange(5.0), "all 5 rows are the same"),
        (np.ones((1, 2)), np.ones(1), "at least 2 rows"),
    ],
)
def test_what_cannot_be_learnt_is_told(x: Floats, y: Floats, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CodeEnsemble().fit(x, y)


def test_settings_out_of_range_and_other_columns_are_told(fitted: CodeEnsemble) -> None:
    with pytest.raises(DataError, match=r"'subset' must be a whole number, at least 2 \(got 1\)"):
        CodeEnsemble(subset=1).fit(*surface(10))
    with pytest.raises(DataError, match=r"shape \(n, 5\) \(got \(2, 4\)\)"):
        fitted.predict(np.zeros((2, 4)))
