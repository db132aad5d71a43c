import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.predictors import Calibration, Comparison, PredictionScores, PredictorRun


def run(predictor: str, seed: int, kendall: float, *, size: int = 20, fold: int = 0, error: float | None = None):
    calibration = (
        None
        if error is None
        else Calibration(coverage={0.5: 0.4, 0.8: 0.8, 0.9: 0.9, 0.95: 1.0}, error=error, nll=-1.5)
    )
    return PredictorRun(
        predictor=predictor,
        train_size=size,
        seed=seed,
        fold=fold,
        test_size=10,
        scores=PredictionScores(
            kendall=kendall,
            spearman=0.5,
            r2=0.25,
            mae=0.0123456 * kendall,
            precision=0.5,
            top=2,
            calibration=calibration,
        ),
        fit_seconds=1.5,
        predict_seconds=0.25,
        feature_seconds=3.0 if predictor == "forest" else None,
    )


def comparison(*runs: PredictorRun) -> Comparison:
    return Comparison(property_name="accuracy", data="digits", protocol="halves", runs=runs, baselines=("forest",))


FOUND = comparison(
    run("forest", 0, 0.5), run("forest", 1, 0.7), run("graph", 0, 0.8, error=0.05), run("graph", 1, 0.6, error=0.07)
)


def test_means_and_deviations_are_over_seeds_after_folds() -> None:
    taus = np.random.default_rng(0).uniform(size=(4, 3))
    found = comparison(*(run("a", seed, taus[seed, fold], fold=fold) for seed in range(4) for fold in range(3)))
    mean, deviation = found.statistic("kendall", "a")
    assert mean == pytest.approx(taus.mean())
    assert deviation == pytest.approx(taus.mean(axis=1).std(ddof=1))
    alone = comparison(run("a", 0, 0.5)).statistic("kendall", "a")
    assert alone[0] == 0.5
    assert math.isnan(alone[1])


def test_the_table_is_in_order_with_the_best_of_each_column_bold() -> None:
    assert FOUND.table().splitlines() == [
        "| predictor | Kendall tau | Spearman | R2 | MAE | precision at top 2 "
        "| calibration error | fit, s | features, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| graph | **0.700 ± 0.141** | **0.500 ± 0.000** | **0.250 ± 0.000** | 0.00864 ± 0.00175 | **0.500 ± 0.000** "
        "| **0.060 ± 0.014** | 1.5 |  |",
        "| forest (baseline) | 0.600 ± 0.141 | **0.500 ± 0.000** | **0.250 ± 0.000** | **0.00741 ± 0.00175** "
        "| **0.500 ± 0.000** |  | 1.5 | 3 |",
    ]
    assert str(FOUND).startswith("accuracy, digits: halves\n\n| predictor |")


def test_sizes_have_rows_and_winners_of_their_own() -> None:
    found = comparison(run("a", 0, 0.1, size=5), run("b", 0, 0.2, size=5), run("a", 0, 0.4), run("b", 0, 0.3))
    assert found.train_sizes == (5, 20)
    assert [found.best("kendall", size) for size in (5, 20, None)] == ["b", "a", "a"]
    assert found.table(["kendall"]).splitlines()[2:] == [
        "| b | 5 | **0.200** |",
        "| a | 5 | 0.100 |",
        "| a | 20 | **0.400** |",
        "| b | 20 | 0.300 |",
    ]


def test_small_errors_and_calibration_errors_win() -> None:
    assert FOUND.best("mae") == "forest"
    assert FOUND.best("calibration_error") == FOUND.best("nll") == "graph"


def test_files(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "x.json")
    loaded = Comparison.load(tmp_path / "x.json")
    assert (loaded.runs, loaded.baselines, str(loaded)) == (FOUND.runs, FOUND.baselines, str(FOUND))
    FOUND.to_csv(tmp_path / "x.csv")
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["predictor"], row["seed"], float(row["kendall"])) for row in rows] == [
        ("forest", "0", 0.5),
        ("forest", "1", 0.7),
        ("graph", "0", 0.8),
        ("graph", "1", 0.6),
    ]
    assert [row["coverage_50"] for row in rows] == ["", "", "0.4", "0.4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no comparison of predictors"),
        ("[]", "of format 1 .got format None"),
        ('{"format": 9}', "of format 1 .got format 9"),
        ('{"format": 1, "runs": []}', "damaged"),
        ('{"format": 1, "runs": [3]}', "damaged"),
        ('{"format": 1, "runs": [{"scores": {}}]}', "damaged"),
    ],
)
def test_foreign_and_damaged_files(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Comparison.load(tmp_path / "x.json")


def test_a_file_with_an_unknown_entry_is_damaged(tmp_path: Path) -> None:
    FOUND.save(tmp_path / "x.json")
    values = json.loads((tmp_path / "x.json").read_text())
    values["runs"][0]["colour"] = "red"
    (tmp_path / "x.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"damaged .*colour"):
        Comparison.load(tmp_path / "x.json")
    with pytest.raises(DataError, match="there is no file"):
        Comparison.load(tmp_path / "y.json")


def test_unknown_figures_are_named() -> None:
    with pytest.raises(DataError, match="no figure 'tau'; there are kendall"):
        FOUND.statistic("tau", "graph")
    with pytest.raises(DataError, match="no predictor 'svr' fitted to 20 networks; there are forest, graph"):
        FOUND.statistic("kendall", "svr")
    with pytest.raises(DataError, match="no value of 'fit_seconds' is the best"):
        FOUND.best("fit_seconds")
    with pytest.raises(DataError, match="none states an uncertainty"):
        comparison(run("a", 0, 0.5)).best("nll")
