"""A Gaussian process on rows of numbers: its length scales from a part of the rows, its weights from all."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ppuda_like.predictors._process_answers import covariance_of

__all__ = ["Process", "fit_process"]

_NOISE = 0.1  # share of the variance that is noise, to begin with
_NOISE_BOUNDS = (-9.0, 2.0)  # of its logarithm
_LENGTHS_BELOW, _LENGTHS_ABOVE = 5.0, 6.0  # how far logarithms of length scales may go from the middle
_PRIOR_STD = 3.0  # of these logarithms
_JITTER = 1e-6
_LEAST = 1e-12  # amplitude, of a target that does not vary


class Process(NamedTuple):
    """A Gaussian process that knows its rows.

    Its covariance is ``1 / (1 + d ** 2 / 2)``, a rational quadratic, where ``d`` is the distance of two rows after each
    column was multiplied by its rate.

    Attributes:
        rates: (f,) reciprocals of the length scales.
        rows: (n, f) rows learnt from, multiplied by the rates.
        weights: (n, m) of the rows in the mean.
        basis: (p, p) turns covariances with the first p rows into parts of the variance that they explain.
        amplitude: (m,) variance before anything is known, of each target.
        noise: () variance of the noise, as a share of the amplitude.
    """

    rates: Tensor
    rows: Tensor
    weights: Tensor
    basis: Tensor
    amplitude: Tensor
    noise: Tensor


def fit_process(x: Tensor, y: Tensor, times: Tensor, *, subset: int, inducing: int, iterations: int) -> Process:
    """Find the hyper-parameters of the highest marginal likelihood on the first rows, then learn from all.

    Targets share length scales and noise; their amplitudes have a closed form.  The mean is exact.  The variance is
    approximated by way of the first ``inducing`` rows (Titsias, "Variational Learning of Inducing Variables in Sparse
    Gaussian Processes", 2009, eq. 6), which is quick, and greater on average the fewer they are.

    Args:
        x: (n, f) rows, standardised, in random order, no two the same.
        y: (n, m) targets, standardised.
        times: (n,) how often each was measured; of so many, ``y`` is the mean.
        subset: rows for the hyper-parameters.
        inducing: rows for the variance.
        iterations: of the optimiser, at most.
    """
    rates, noise = _hyper_parameters(x[:subset], y[:subset], times[:subset], iterations)
    rows = x * rates
    covariance = covariance_of(rows[None], rows[None])[0]
    first = covariance[:inducing].clone()
    covariance.diagonal().add_(noise / times)
    weights = torch.cholesky_solve(y, torch.linalg.cholesky(covariance))
    among = first[:, : len(first)] + _JITTER * torch.eye(len(first), dtype=x.dtype)
    informed = among + (first * (times / noise)) @ first.T
    # Inverse of the one less that of the other: positive semi-definite but for rounding.
    values, vectors = torch.linalg.eigh(
        torch.cholesky_inverse(torch.linalg.cholesky(among)) - torch.cholesky_inverse(torch.linalg.cholesky(informed))
    )
    return Process(
        rates=rates,
        rows=rows,
        weights=weights.contiguous(),
        basis=(vectors * values.clamp_min(0).sqrt()).contiguous(),
        amplitude=(y * weights).mean(0).clamp_min(_LEAST),
        noise=noise,
    )


def _hyper_parameters(x: Tensor, y: Tensor, times: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Rates of the columns and the share of noise."""
    num_rows, num_columns = x.shape
    num_targets = y.size(1)
    middle = math.log(max(1, num_columns)) / 2  # rows as far apart as standardised ones are have covariance 1 / 2

    def loss(logs: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        rates, noise = torch.from_numpy(logs[:-1]).neg().exp(), math.exp(logs[-1])
        rows = x * rates
        correlation = covariance_of(rows[None], rows[None])[0]
        noisy = correlation.clone()
        noisy.diagonal().add_(noise / times)
        factor = torch.linalg.cholesky(noisy)
        inverse = torch.cholesky_inverse(factor)
        weights = inverse @ y
        amplitude = (y * weights).mean(0).clamp_min(_LEAST)
        value = (num_rows / 2 * amplitude.log().sum() / num_targets + factor.diagonal().log().sum()).item()
        # Derivative by the entries of the matrix, then along the derivatives of these.
        slope = (inverse - (weights / amplitude) @ weights.T / num_targets) / 2
        by_noise = float((slope.diagonal() / times).sum()) * noise
        slope *= correlation.square_()
        by_length = 2 * (rows.square().T @ slope.sum(1) - (rows * (slope @ rows)).sum(0))
        away = (logs[:-1] - middle) / _PRIOR_STD
        gradient = np.append(by_length.numpy() + away / _PRIOR_STD, by_noise)
        return (value + float(away @ away) / 2) / num_rows, gradient / num_rows

    start = np.append(np.full(num_columns, middle), math.log(_NOISE))
    bounds = [(middle - _LENGTHS_BELOW, middle + _LENGTHS_ABOVE)] * num_columns + [_NOISE_BOUNDS]
    logs = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations}).x
    return torch.from_numpy(logs[:-1]).neg().exp(), torch.tensor(math.exp(logs[-1]), dtype=torch.float64)
