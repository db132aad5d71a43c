"""Values as normal scores."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, rankdata

from ppuda_like.predictors import CodeEnsemble
from ppuda_like.predictors._normal_scores import NormalScores
from tests.predictors.test_code_ensemble import surface

VALUES = arrays(np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=st.integers(-5, 5))


@settings(max_examples=50, deadline=None)
@given(values=VALUES)
def test_values_have_the_quantiles_of_their_ranks_and_come_back(values: np.ndarray) -> None:
    scores = NormalScores.fit(values)
    of = scores.of(values)
    for column in range(2):
        np.testing.assert_allclose(of[:, column], norm.ppf((rankdata(values[:, column]) - 0.5) / len(values)))
    back, zero = scores.to_values(torch.from_numpy(of), torch.zeros(values.shape, dtype=torch.float64))
    np.testing.assert_allclose(back.numpy(), values, atol=1e-12)
    assert not zero.any()


@settings(max_examples=50, deadline=None)
@given(values=VALUES, std=st.floats(0, 2))
def test_higher_scores_are_higher_values_beyond_the_known_too(values: np.ndarray, std: float) -> None:
    score = torch.linspace(-6, 6, 301, dtype=torch.float64)[:, None].expand(-1, 2)
    value, deviation = NormalScores.fit(values).to_values(score, torch.full_like(score, std))
    assert (value.diff(dim=0) >= -1e-12).all()
    assert (deviation >= 0).all()


def test_an_ensemble_of_ranks_learns_order_alone() -> None:
    x, y = surface(60)
    make = CodeEnsemble(n_estimators=1, iterations=5, ranks=True)
    new = surface(200, seed=1)[0]
    plain = make.fit(x, y[:, 0]).predict(new)
    warped = make.fit(x, np.exp(3 * y[:, 0])).predict(new)
    np.testing.assert_array_equal(plain.argsort(), warped.argsort())
    inside = (plain >= y[:, 0].min()) & (plain <= y[:, 0].max())
    assert inside.mean() > 0.9
    known = np.sort(y[:, 0])
    np.testing.assert_array_equal(
        np.searchsorted(known, plain[inside]), np.searchsorted(np.exp(3 * known), warped[inside])
    )


def test_an_ensemble_of_ranks_has_the_right_derivative() -> None:
    x, y = surface(40)
    fitted = CodeEnsemble(n_estimators=2, iterations=5, ranks=True).fit(x, y)
    rows = torch.from_numpy(surface(3, seed=4)[0]).requires_grad_()
    assert torch.autograd.gradcheck(fitted.forward, rows)
    mean, std = fitted.predict(rows.detach().numpy(), return_std=True)
    assert mean.shape == std.shape == (3, 2)
    assert (std > 0).all()
