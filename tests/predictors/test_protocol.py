import json
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ppuda_like.errors import DataError, GraphError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors import (
    Comparison,
    FeatureMemory,
    GraphFeatures,
    LabelledGraphs,
    PredictorRun,
    evaluate_predictors,
    random_forest,
    ridge,
)
from tests.predictors.small_nets import small_net, small_nets

NETS = small_nets(40, noise=0.5)


class Convolutions(TransformerMixin, BaseEstimator):
    """Number of convolutions of each graph; the class counts what it was asked."""

    asked: ClassVar[list[int]] = []

    def fit(self, graphs: Sequence[ComputationalGraph], y: Any = None) -> "Convolutions":
        assert y is None
        return self

    def transform(self, graphs: Sequence[ComputationalGraph]) -> np.ndarray:
        self.asked.append(len(graphs))
        return np.array([[graph.ops.count("conv")] for graph in graphs], dtype=float)


class Recorder(RegressorMixin, BaseEstimator):
    """Predicts convolutions plus noise of its seed; the class records what it was fitted to, and can be stopped."""

    fits: ClassVar[list[tuple[list[int], list[float], int]]] = []
    stop_at: ClassVar[int | None] = None

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def fit(self, graphs: Sequence[ComputationalGraph], y: np.ndarray) -> "Recorder":
        if len(self.fits) == self.stop_at:
            Recorder.stop_at = None
            raise KeyboardInterrupt
        self.fits.append(([graph.ops.count("conv") for graph in graphs], y.tolist(), self.random_state))
        return self

    def predict(self, graphs: Sequence[ComputationalGraph]) -> np.ndarray:
        rng = np.random.default_rng(self.random_state)
        return np.array([graph.ops.count("conv") for graph in graphs]) + rng.normal(size=len(graphs))


class Broken(RegressorMixin, BaseEstimator):
    def fit(self, graphs: Sequence[ComputationalGraph], y: np.ndarray) -> "Broken":
        return self

    def predict(self, graphs: Sequence[ComputationalGraph]) -> np.ndarray:
        return np.full(len(graphs), np.nan)


class Reversed(Executor):
    """Makes six calls at a time, the last one first, each of a copy as other processes get it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future, Callable[[], Any]]] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future:
        future: Future = Future()
        self.calls.append((future, pickle.loads(pickle.dumps(call))))
        if len(self.calls) == 6:
            for waiting, made in reversed(self.calls):
                waiting.set_result(made())
            self.calls.clear()
        return future


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Convolutions.asked.clear()
    Recorder.fits.clear()
    Recorder.stop_at = None


def compare(*args: Any, baselines: Any = None, **options: Any) -> Comparison:
    """Without baselines unless asked for, and without a bar."""
    return evaluate_predictors(*args, baselines=baselines or {}, progress=False, **options)


def untimed(runs: Sequence[PredictorRun]) -> list[PredictorRun]:
    return [replace(run, fit_seconds=0, predict_seconds=0, feature_seconds=0) for run in runs]


def test_budgets_are_nested_and_nothing_is_scored_that_was_fitted_to() -> None:
    convs, quality = [graph.ops.count("conv") for graph in NETS.graphs], NETS.values("quality").tolist()
    found = compare({"recorder": Recorder()}, NETS, "quality", train_sizes=(5, 12, None), seeds=2, test_share=0.25)
    assert [(run.train_size, run.seed, run.test_size) for run in found.runs] == [
        (size, seed, 10) for size in (5, 12, 30) for seed in (0, 1)
    ]
    pairs = [list(zip(known, y, strict=True)) for known, y, _ in Recorder.fits]
    for small, middle, large in (pairs[::2], pairs[1::2]):
        assert large[:12] == middle
        assert middle[:5] == small
    assert pairs[4] != pairs[5]
    for fitted in pairs:
        assert set(fitted) <= set(zip(convs, quality, strict=True))
    assert len({seed for *_, seed in Recorder.fits}) == 6


def test_folds_score_on_every_network() -> None:
    found = compare({"recorder": Recorder()}, NETS, "quality", folds=3, seeds=[7])
    assert [(run.fold, run.test_size, run.train_size) for run in found.runs] == [(0, 14, 26), (1, 13, 26), (2, 13, 26)]
    assert found.protocol == "3 folds of 40 networks, 1 random split"


def test_the_published_protocol_fits_to_all_and_scores_on_the_test_set() -> None:
    test = small_nets(15, seed=1)
    found = compare({"recorder": Recorder()}, NETS, "quality", test=test, seeds=3)
    assert [(run.train_size, run.test_size) for run in found.runs] == [(40, 15)] * 3
    assert [sorted(y) for _, y, _ in Recorder.fits] == [sorted(NETS.values("quality"))] * 3
    assert len({tuple(y) for _, y, _ in Recorder.fits}) == 3


@pytest.mark.parametrize("kind", ["threads", "reversed"])
def test_executors_and_the_order_of_fits_change_nothing(kind: str) -> None:
    predictors = {"forest": random_forest(n_estimators=5), "bayes": make_pipeline(GraphFeatures(), BayesianRidge())}
    alone = compare(predictors, NETS, "quality", seeds=3)
    kinds: dict[str, Callable[[], Executor]] = {
        "threads": lambda: ThreadPoolExecutor(3),
        "reversed": Reversed,
    }
    with kinds[kind]() as executor:
        shared = compare(dict(reversed(predictors.items())), NETS, "quality", seeds=3, executor=executor)
    order = {name: [run for run in untimed(alone.runs) if run.predictor == name] for name in predictors}
    assert untimed(shared.runs) == order["bayes"] + order["forest"]


def test_seeds_that_estimators_came_with_are_of_no_effect() -> None:
    found = [
        compare({"forest": random_forest(n_estimators=3, random_state=seed)}, NETS, "quality", seeds=2)
        for seed in (None, 1)
    ]
    assert untimed(found[0].runs) == untimed(found[1].runs)


def test_features_are_computed_once_for_all_fits_and_equal_transformers() -> None:
    predictors = {"ridge": ridge(Convolutions()), "forest": random_forest(Convolutions(), n_estimators=3)}
    memory, test = FeatureMemory(), small_nets(15, seed=1)
    found = compare(predictors, NETS, "quality", seeds=3, train_sizes=(10, 20), memory=memory)
    assert Convolutions.asked == [40]
    assert all(run.feature_seconds is not None for run in found.runs)
    compare(predictors, NETS, "cost", test=test, memory=memory)
    assert Convolutions.asked == [40, 15]


def test_features_of_held_out_networks_are_right() -> None:
    exact = LabelledGraphs(
        graphs=NETS.graphs, labels={"convs": [graph.ops.count("conv") for graph in NETS.graphs]}, name="exact"
    )
    other = exact.select(slice(0, 25))
    for options in ({}, {"folds": 4}, {"test": exact.select(slice(25, 40))}):
        found = compare({"ridge": ridge(Convolutions())}, other, "convs", seeds=2, **options)
        assert min(run.scores.kendall for run in found.runs) == pytest.approx(1)
        assert max(run.scores.mae for run in found.runs) < 0.2


def test_baselines_columns_and_codes() -> None:
    codes = {"ridge on codes": make_pipeline(FunctionTransformer(), BayesianRidge())}
    found = evaluate_predictors(
        {"ridge": ridge()}, NETS, "cost", on_codes=codes, columns=["guess"], seeds=2, progress=False
    )
    assert found.predictors == ("ridge", "ridge on codes", "parameters", "FLOPs", "GRAF + random forest", "guess")
    assert found.baselines == ("parameters", "FLOPs", "GRAF + random forest", "guess")
    # The property is the number of parameters but for a factor.
    assert found.statistic("kendall", "parameters")[0] == pytest.approx(1)
    assert 0.5 < found.statistic("kendall", "ridge on codes")[0] < 1
    assert [run.scores.calibration is not None for run in found.runs[::2]] == [False, True, False, False, False, False]


def test_interrupted_comparisons_continue_also_with_more(tmp_path: Path) -> None:
    out, options = tmp_path / "quality.csv", {"seeds": 3, "train_sizes": (5, 10)}
    whole = compare({"recorder": Recorder()}, NETS, "quality", **options)
    Recorder.fits.clear()
    Recorder.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        compare({"recorder": Recorder()}, NETS, "quality", out=out, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["quality.csv.part"]
    with pytest.raises(DataError, match="results of other work"):
        compare({"recorder": Recorder()}, NETS, "cost", out=out, **options)
    with pytest.raises(DataError, match="results of other work"):
        compare({"recorder": Recorder()}, NETS.select(slice(39)), "quality", out=out, **options)
    found = compare({"ridge": ridge(), "recorder": Recorder()}, NETS, "quality", out=out, **options)
    assert len(Recorder.fits) == 6
    assert untimed(found.runs)[6:] == untimed(whole.runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.csv", "quality.json"]
    assert Comparison.load(tmp_path / "quality.json").runs == found.runs


def test_results_of_an_estimator_with_other_settings_are_not_taken(tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    Recorder.stop_at = 1
    predictors = {"ridge": ridge(), "recorder": Recorder()}
    with pytest.raises(KeyboardInterrupt):
        compare(predictors, NETS, "quality", out=out, seeds=2)
    kept = [json.loads(line)["key"] for line in (tmp_path / "x.csv.part").read_text().splitlines()[1:]]
    assert len(kept) == 3
    changed = compare({"ridge": ridge(Convolutions()), "recorder": Recorder()}, NETS, "quality", out=out, seeds=2)
    assert untimed(changed.runs[:2]) == untimed(
        compare({"ridge": ridge(Convolutions())}, NETS, "quality", seeds=2).runs
    )


def bad(**labels: Sequence[float]) -> LabelledGraphs:
    return LabelledGraphs(graphs=[small_net(i + 1, 2, 0) for i in range(8)], labels=labels)


CONSTANT = bad(y=[1.0] * 8)
RARE = bad(y=[1.0] * 7 + [2.0])
FINE = bad(y=range(8))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (bad(y=[np.nan, *range(7)]), {}, r"'y' is unknown \(NaN\) for 1 of 8 networks"),
        (bad(y=[np.inf, *range(7)]), {}, r"'y' must be finite \(got inf for network 0"),
        (bad(x=range(8)), {}, "no property 'y'; there are x"),
        (CONSTANT, {}, "'y' is 1.0 for all 4 networks to fit to with seed 0"),
        (RARE, {"seeds": 4}, r"'y' is 1.0 for all 4 networks to (fit to|score on) with seed"),
        (FINE, {"test": CONSTANT}, "'y' is 1.0 for all 8 networks to score on"),
        (FINE, {"folds": 9}, "got 9, of 8"),
        (FINE, {"train_sizes": (3, 5, 99)}, r"from 2 to 4, .*got 5, 99"),
        (FINE, {"train_sizes": ()}, "got none"),
        (FINE, {"predictors": {}}, "no predictor to compare"),
        (FINE, {"baselines": {"ridge": ridge()}}, "two predictors are called 'ridge'"),
        (FINE, {"columns": ["z"]}, "predictor 'z': there is no property 'z'"),
        (FINE, {"on_codes": {"c": BayesianRidge()}}, "predictor 'c': .* has none; move it"),
        (FINE, {"out": "x.json"}, "must end in .csv"),
        (
            FINE,
            {"predictors": {"b": Broken()}},
            "'b', fitted to 4 networks with seed 0, failed: predicted values must be",
        ),
        (
            FINE,
            {"predictors": {"l": make_pipeline(FunctionTransformer(lambda graphs: graphs), BayesianRidge())}},
            "predictor 'l': Pipeline cannot be sent to other processes.*lambdas",
        ),
        (
            FINE,
            {"predictors": {"f": make_pipeline(FunctionTransformer(np.ravel), BayesianRidge())}},
            "features of predictor 'f': .* one row per graph",
        ),
    ],
)
def test_what_cannot_be_compared_is_named(data: LabelledGraphs, options: dict[str, Any], message: str) -> None:
    arguments = {"predictors": {"ridge": ridge()}, **options}
    with pytest.raises(DataError, match=message):
        compare(arguments.pop("predictors"), data, "y", **arguments)


def test_graphs_that_features_cannot_read_are_graph_errors() -> None:
    strange = small_net(2, 2, 0)
    strange = ComputationalGraph(
        ops=("input", "magic"), edge_index=strange.edge_index[:, :1], inputs=(0,), outputs=(1,)
    )
    test = LabelledGraphs(graphs=[strange, *FINE.graphs[:3]], labels={"y": range(4)})
    with pytest.raises(GraphError, match=r"features of predictor 'ridge': .*'magic'"):
        compare({"ridge": ridge()}, FINE, "y", test=test)
