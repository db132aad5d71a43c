import itertools
import json
import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ppuda_like.errors import DataError
from ppuda_like.predictors import (
    PredictionScores,
    calibration,
    kendall_tau,
    precision_at_top,
    score_predictions,
    spearman_rho,
)

SMALL = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=7)


def columns(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    y, mean = map(list, zip(*pairs, strict=True))
    assume(len(set(y)) > 1)
    return y, mean


@given(SMALL)
def test_tau_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    y, mean = columns(pairs)
    products = [np.sign(a - c) * np.sign(b - d) for (a, b), (c, d) in itertools.combinations(pairs, 2)]
    untied = [sum(p != q for p, q in itertools.combinations(values, 2)) for values in (y, mean)]
    expected = sum(products) / math.sqrt(untied[0] * untied[1]) if untied[1] else 0.0
    assert kendall_tau(y, mean) == pytest.approx(expected, abs=1e-12)


@given(SMALL)
def test_spearman_is_the_correlation_of_ranks(pairs: list[tuple[int, int]]) -> None:
    y, mean = columns(pairs)
    assume(len(set(mean)) > 1)
    ranks = [[sum(v < w for v in values) + sum(v == w for v in values) / 2 for w in values] for values in (y, mean)]
    assert spearman_rho(y, mean) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)


@given(SMALL, st.data())
def test_precision_is_the_mean_over_all_ways_of_breaking_ties_of_predictions(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    y, mean = columns(pairs[:5])
    top = data.draw(st.integers(1, len(y)))
    best = {net for net in range(len(y)) if sum(other > y[net] for other in y) < top}
    ways = itertools.permutations(range(len(y)))
    shares = [len(best & set(sorted(way, key=lambda net: -mean[net])[:top])) / top for way in ways]
    assert precision_at_top(y, mean, top) == pytest.approx(np.mean(shares))


@given(SMALL, st.data())
def test_the_order_of_networks_does_not_matter(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    y, mean = columns(pairs)
    order = data.draw(st.permutations(range(len(y))))
    moved = score_predictions(np.take(y, order), np.take(mean, order), top=2)
    assert asdict(moved) == pytest.approx(asdict(score_predictions(y, mean, top=2)))


def test_low_values_may_be_the_best() -> None:
    y, mean = [1.0, 2.0, 3.0, 4.0], [1.0, 5.0, 2.0, 3.0]
    assert precision_at_top(y, mean, 1) == 0
    assert precision_at_top(y, mean, 1, higher_is_better=False) == 1
    assert precision_at_top(y, mean, 2, higher_is_better=False) == precision_at_top(
        np.negative(y), np.negative(mean), 2
    )


@pytest.mark.parametrize(("top", "count", "expected"), [(0.1, 30, 3), (0.1, 31, 4), (1, 5, 1), (5, 5, 5), (0.01, 5, 1)])
def test_top_is_a_number_or_a_share(top: float, count: int, expected: int) -> None:
    assert score_predictions(np.arange(count), np.arange(count), top=top).top == expected


@given(SMALL, st.floats(0.1, 10), st.floats(-5, 5))
def test_order_scores_ignore_the_scale_and_values_do_not(
    pairs: list[tuple[int, int]], slope: float, offset: float
) -> None:
    y, mean = columns(pairs)
    plain, moved = score_predictions(y, mean, top=1), score_predictions(y, slope * np.array(mean) + offset, top=1)
    assert (plain.kendall, plain.spearman, plain.precision) == pytest.approx(
        (moved.kendall, moved.spearman, moved.precision)
    )
    perfect = score_predictions(y, y, top=1)
    assert (perfect.kendall, perfect.spearman, perfect.r2, perfect.mae, perfect.precision) == pytest.approx(
        (1, 1, 1, 0, 1)
    )
    assert score_predictions(y, np.full(len(y), np.mean(y)), top=1).r2 == pytest.approx(0, abs=1e-12)


def test_constant_predictions_order_nothing_and_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score_predictions(np.arange(20), np.full(20, 3.0), top=5)
    assert (found.kendall, found.spearman, found.precision) == (0, 0, 5 / 20)


def test_uncertainty_that_is_right_is_calibrated_and_the_likelihood_prefers_it() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, 20_000)
    mean = rng.normal(size=20_000)
    y = rng.normal(mean, std)
    right, narrow, wide = (calibration(y, mean, factor * std) for factor in (1, 0.5, 2))
    for level, share in right.coverage.items():
        assert share == pytest.approx(level, abs=0.01)
        assert narrow.coverage[level] < share - 0.05
        assert wide.coverage[level] > share + 0.03
    assert right.error < 0.01 < 0.1 < min(narrow.error, wide.error)
    assert right.nll == pytest.approx(-stats.norm.logpdf(y, mean, std).mean())
    assert right.nll < min(narrow.nll, wide.nll)


def test_scores_survive_json() -> None:
    found = score_predictions([1, 2, 4], [1, 3, 3], [1, 1, 2], top=1)
    assert PredictionScores.from_dict(json.loads(json.dumps(asdict(found)))) == found
    plain = score_predictions([1, 2, 4], [1, 3, 3], top=1)
    assert PredictionScores.from_dict(json.loads(json.dumps(asdict(plain)))) == plain


@pytest.mark.parametrize(
    ("y", "mean", "std", "top", "message"),
    [
        ([1, 2], [1, 2, 3], None, 1, r"shapes \(2,\) and \(3,\)"),
        ([1], [1], None, 1, "two networks or more"),
        ([1, math.nan], [1, 2], None, 1, "measured values must be finite .*network 1"),
        ([1, 2], [math.inf, 2], None, 1, "predicted values must be finite .*inf for network 0"),
        ([2, 2], [1, 2], None, 1, "all 2 measured values are 2.0"),
        ([1, 2], [1, 2], [1], 1, "one standard deviation per network"),
        ([1, 2], [1, 2], [1, 0], 1, r"positive and finite \(got 0.0 for network 1"),
        ([1, 2], [1, 2], None, 3, "from 1 to 2"),
        ([1, 2], [1, 2], None, 0, "from 1 to 2"),
        ([1, 2], [1, 2], None, 1.5, "from 1 to 2"),
    ],
)
def test_what_cannot_be_scored_is_named(y: list, mean: list, std: list | None, top: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_predictions(y, mean, std, top=top)
