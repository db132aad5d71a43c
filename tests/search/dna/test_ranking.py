import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ppuda_like.errors import DataError
from ppuda_like.predictors import kendall_tau
from ppuda_like.search.dna import cost_table, rank_report, ranking_networks, ranking_space, regress_accuracy

COLUMN = st.lists(st.integers(0, 5), min_size=6, max_size=6)


def test_the_published_networks() -> None:
    networks, table = ranking_networks(), cost_table(ranking_space())
    costs = [table.costs(network.architecture) for network in networks]
    assert [network.place for network in networks][:3] == [0, 10, 20]
    assert len(networks) == 23
    assert (costs[0]["params"], costs[0]["flops_counter"]) == (5_656_456, 503_043_776)
    assert (costs[10]["params"], costs[10]["flops_counter"]) == (4_902_952, 396_541_568)
    assert (costs[-1]["params"], costs[-1]["flops_counter"]) == (4_608_856, 335_377_736)
    report = rank_report(
        [network.accuracy for network in networks],
        {name: [cost[name] for cost in costs] for name in ("flops_counter", "params")},
        losses={"place": [network.place for network in networks]},
    )
    macs, params, place = report["flops_counter"], report["params"], report["place"]
    assert (round(macs.kendall, 4), round(macs.spearman, 3), round(macs.pearson, 3)) == (0.7549, 0.903, 0.928)
    assert (round(params.kendall, 3), round(params.spearman, 3), round(params.pearson, 3)) == (0.708, 0.869, 0.859)
    assert (round(place.kendall, 3), round(place.spearman, 3), round(place.pearson, 3)) == (0.652, 0.825, 0.838)
    assert not report.beats_size("place")


@settings(max_examples=50, deadline=None)
@given(COLUMN, COLUMN, st.lists(st.integers(100, 130), min_size=6, max_size=6))
def test_pairs_of_similar_size(y: list[int], values: list[int], sizes: list[int]) -> None:
    assume(len(set(y)) > 1)
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(6), 2)
        if max(sizes[a], sizes[b]) <= min(sizes[a], sizes[b]) * 1.1
    ]
    report = rank_report(y, {"size": sizes}, scores={"score": values}, band=0.1)
    assert report.pairs == len(pairs)
    signs = [(np.sign(y[a] - y[b]), np.sign(values[a] - values[b])) for a, b in pairs]
    true, said = sum(abs(s) for s, _ in signs), sum(abs(s) for _, s in signs)
    found = report["score"].similar
    if not true:
        assert found is None
    else:
        expected = sum(s * t for s, t in signs) / np.sqrt(true * said) if said else 0.0
        assert found == pytest.approx(expected)


def test_all_pairs_are_similar_in_a_wide_band() -> None:
    y, values = [1, 2, 3, 4, 5], [2, 1, 3, 5, 4]
    report = rank_report(y, {"size": [1, 2, 3, 4, 9]}, scores={"score": values}, band=100)
    assert report["score"].similar == pytest.approx(kendall_tau(y, values))
    losses = rank_report(y, {"size": [1, 2, 3, 4, 9]}, losses={"score": [-value for value in values]}, band=100)
    assert losses["score"] == report["score"]


def test_the_table_has_all_rows() -> None:
    report = rank_report([1, 2, 3], {"macs": [10, 11, 20]}, losses={"rating": [3, 3, 3]})
    rows = report.table().splitlines()
    assert rows[0].startswith("| 3 networks |")
    assert "(0 pairs)" in rows[0]
    assert rows[2] == "| rating | 0.000 | 0.000 | 0.000 | - |"
    assert rows[3].startswith("| macs (size alone) | 1.000 |")
    with pytest.raises(DataError, match="no row 'x'"):
        report["x"]


def test_bad_reports() -> None:
    for arguments, match in (
        ({"sizes": {}}, "at least one size"),
        ({"losses": {"macs": [1, 2, 3]}}, "names must be different"),
        ({"losses": {"x": [1, 2]}}, "one number per network"),
        ({"sizes": {"macs": [0, 1, 2]}}, "must be positive"),
        ({"scores": {"x": [1, 2, np.nan]}}, "finite"),
        ({"accuracies": [1, 1, 1]}, "no order to predict"),
        ({"band": -1.0}, "'band'"),
    ):
        with pytest.raises(DataError, match=match):
            rank_report(**{"accuracies": [1, 2, 3], "sizes": {"macs": [1, 2, 3]}, **arguments})  # type: ignore[arg-type]


def test_regression_finds_what_each_stage_is_worth() -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack((rng.uniform(0.3, 0.5, size=(40, 3)), np.full(40, 0.6)))
    y = 90 - 20 * rows[:, 0] - 2 * rows[:, 1] + rng.normal(0, 0.05, size=40)
    found = regress_accuracy(rows, y)
    np.testing.assert_allclose(found.coefficients, [-20, -2, 0, 0], atol=0.5)
    assert found.coefficients[3] == 0
    np.testing.assert_allclose(found.predict(rows), y, atol=0.3)
    assert found.scores.kendall > 0.9
    assert found.weights[0] == -found.coefficients[0]


def test_networks_that_are_left_out_are_not_learnt_from() -> None:
    rng = np.random.default_rng(1)
    rows, y = rng.uniform(size=(12, 8)), rng.normal(size=12)
    before = regress_accuracy(rows, y).left_out
    changed = y.copy()
    changed[3] += 100
    after = regress_accuracy(rows, changed).left_out
    assert after[3] == pytest.approx(before[3])
    assert not np.allclose(np.delete(after, 3), np.delete(before, 3))


def test_bad_regressions() -> None:
    good = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    for rows, y in ((good[0][:2], good[1][:2]), (good[0], good[1][:3]), (good[0] * np.nan, good[1])):
        with pytest.raises(DataError):
            regress_accuracy(rows, y)
    with pytest.raises(DataError, match=r"shape \(n, 2\)"):
        regress_accuracy(*good).predict([[1.0]])
