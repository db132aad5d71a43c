"""Comparisons of predictors: splits, figures, files, resuming."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.predictors import kendall_tau
from ppuda_like.search.ncp import (
    CodeTable,
    PredictorComparison,
    compare_predictors,
    fit_predictor,
    load_table,
    reference_split,
)
from ppuda_like.search.ncp import _compare as module

KINDS = ["ridge", "ensemble"]


@pytest.fixture(scope="module")
def tables() -> list[CodeTable]:
    seg = load_table("seg")
    return [seg.take(range(80), name="a"), seg.take(range(100, 160), name="b")]


@pytest.fixture(scope="module")
def found(tables: list[CodeTable]) -> PredictorComparison:
    return compare_predictors(tables, KINDS, seeds=[0, 1])


def test_splits_are_those_of_numpy_s_global_generator() -> None:
    state = np.random.get_state()
    try:
        np.random.seed(233)
        wanted = np.random.permutation(50)  # scikit-learn takes the first rows of a permutation to score on
    finally:
        np.random.set_state(state)
    train, test = reference_split(50, 233)
    np.testing.assert_array_equal(test, wanted[:10])
    np.testing.assert_array_equal(train, wanted[10:])
    with pytest.raises(DataError, match="at least 10 rows"):
        reference_split(9, 0)


def test_figures_are_those_of_a_fit_by_hand(tables: list[CodeTable], found: PredictorComparison) -> None:
    assert (found.tables, found.kinds) == (("a", "b"), ("ridge", "ensemble"))
    assert len(found.runs) == 8
    train, test = reference_split(80, 1)
    said = fit_predictor(tables[0], "ridge", rows=train, seed=1).predict(tables[0].codes[test])[:, 0]
    run = next(run for run in found.runs if (run.table, run.kind, run.seed) == ("a", "ridge", 1))
    assert (run.train_size, run.test_size, run.metric) == (64, 16, "mIoU")
    assert run.l1 == pytest.approx(np.abs(said - tables[0]["mIoU"][test]).mean())
    assert run.kendall == pytest.approx(kendall_tau(tables[0]["mIoU"][test], said))
    assert np.isnan(run.coverage_95)
    assert run.cpu_seconds > 0
    both = [run.l1 for run in found.runs if (run.table, run.kind) == ("a", "ridge")]
    assert found.statistic("l1", "a", "ridge") == pytest.approx((np.mean(both), np.std(both, ddof=1)))
    assert 0.5 < found.statistic("coverage_95", "a", "ensemble")[0] <= 1


def test_the_table_has_the_best_in_bold(found: PredictorComparison) -> None:
    rows = [line.strip("| ").split(" | ") for line in str(found).splitlines()]
    assert rows[0][:4] == ["table", "predictor", "L1", "Kendall tau"]
    assert [row[0] for row in rows[2:]] == ["a", "a", "b", "b"]
    for first, second in (rows[2:4], rows[4:6]):
        assert first[2].startswith("**")  # sorted by L1
        assert not second[2].startswith("**")
        assert sum(row[3].startswith("**") for row in (first, second)) == 1


def test_files_hold_all_of_it(found: PredictorComparison, tmp_path: Path) -> None:
    found.save(tmp_path / "c.json")
    loaded = PredictorComparison.load(tmp_path / "c.json")
    assert repr(loaded.runs) == repr(found.runs)  # NaN is no equal of itself
    found.to_csv(tmp_path / "c.csv")
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["l1"]) for row in rows] == [run.l1 for run in found.runs]
    assert {row["coverage_95"] for row in rows if row["kind"] == "ridge"} == {""}
    json.loads((tmp_path / "c.json").read_text(), parse_constant=pytest.fail)  # no NaN, which is no JSON


def test_a_stopped_comparison_goes_on(
    tables: list[CodeTable], found: PredictorComparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "c.csv", []
    real = module.fit_predictor

    def fit(table: CodeTable, kind: str, **kwargs: object) -> object:
        calls.append((table.name, kind))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(table, kind, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fit_predictor", fit)
    with pytest.raises(KeyboardInterrupt):
        compare_predictors(tables, KINDS, seeds=[0, 1], out=out)
    assert not out.exists()
    again = compare_predictors(tables, KINDS, seeds=[0, 1], out=out)
    assert len(calls) == 4 + 5
    assert [run.l1 for run in again.runs] == [run.l1 for run in found.runs]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "c.json", "c.md"]
    compare_predictors(tables[:1], ["ridge"], seeds=[0, 1, 2], out=out)
    assert len(calls) == 4 + 5 + 1
    changed = tables[0].take(range(79))
    compare_predictors([changed], ["ridge"], seeds=[0], out=out)
    assert len(calls) == 4 + 5 + 1 + 1


def test_what_cannot_be_compared_is_told(tables: list[CodeTable], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name of its own"):
        compare_predictors([tables[0], tables[0]], ["ridge"])
    with pytest.raises(CodeError, match="no predictors of kind 'oracle'"):
        compare_predictors(tables, ["oracle"])
    with pytest.raises(DataError, match="at least one table"):
        compare_predictors(tables, [])
    with pytest.raises(DataError, match=r"must end in \.csv"):
        compare_predictors(tables, ["ridge"], out=tmp_path / "c.txt")
    (tmp_path / "c.json").write_text('{"format": 7}')
    with pytest.raises(DataError, match="of format 1"):
        compare_predictors(tables, ["ridge"], out=tmp_path / "c.csv")
    with pytest.raises(DataError, match="there is no file"):
        PredictorComparison.load(tmp_path / "none.json")


def test_figures_and_kinds_that_are_not_there_are_told(found: PredictorComparison) -> None:
    with pytest.raises(DataError, match="no figure 'tau'"):
        found.statistic("tau", "a", "ridge")
    with pytest.raises(DataError, match="no predictor of kind 'svr' was fitted to 'a'"):
        found.statistic("l1", "a", "svr")
