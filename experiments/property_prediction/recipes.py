"""What is predicted, by which predictors, and stand-ins for a trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline

from ppuda_like.deepnets import network_graph, sample_network
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA, levels
from ppuda_like.predictors import (
    GHNEmbedding,
    GraphFeatures,
    GraphRegressor,
    LabelledGraphs,
    TrainingFreeScores,
    baseline_predictors,
    embedding_svr,
    gaussian_process,
    gradient_boosting,
    random_forest,
    ridge,
)


@dataclass(frozen=True, kw_only=True)
class Property:
    """A property to predict.

    Attributes:
        label: what pictures call it.
        logarithm: whether it is learnt, and scored, as its logarithm to base 10.
        higher_is_better: whether the best networks have high values.
    """

    label: str
    logarithm: bool = False
    higher_is_better: bool = True


PROPERTIES = {
    "val_acc": Property(label="accuracy"),
    "val_acc_noise": Property(label="accuracy under noise"),
    "time": Property(label="log10 seconds of inference", logarithm=True, higher_is_better=False),
    "converge_time": Property(label="convergence time", higher_is_better=False),
}
COLUMN = "ghn_test_acc"
"""Accuracy with predicted parameters, which is known without training."""

SEEDS = 5
CURVE_SEEDS = 3
CURVE_SIZES = (25, 50, 100, None)
CURVE_PROPERTIES = ("val_acc", "time")
CURVES = (
    "SVR on GHN embeddings",
    "ridge on GRAF",
    "gradient boosting on GRAF",
    "Gaussian process on GRAF + GHN embeddings",
    "graph network + GRAF",
)


def features() -> GraphFeatures:
    """Hand-made features that know every primitive, also where few networks are learnt from."""
    return GraphFeatures(ops=PPUDA.primitives)


def embedding(out: Path) -> GHNEmbedding:
    """Embeddings of the bundled hypernetwork, kept beside the results."""
    return GHNEmbedding("ghn2-digits", cache=out / "embeddings.h5")


def predictors(out: Path, scores: Path | None = None, smoke: bool = False) -> dict[str, Any]:
    """The predictors of the tables, by name.

    Args:
        out: folder of the results.
        scores: file of training-free scores; None to leave out what reads them.
        smoke: with next to no training.
    """
    union = FeatureUnion([("graf", features()), ("embedding", embedding(out))])
    network = {"ops": PPUDA.primitives, **({"hidden": 8, "n_estimators": 2, "folds": 2, "steps": 20} if smoke else {})}
    found: dict[str, Any] = {
        "SVR on GHN embeddings": embedding_svr(embedding(out), folds=2 if smoke else 5),
        "SVR on GRAF": embedding_svr(features(), folds=2 if smoke else 5),
        "ridge on GRAF": ridge(features()),
        "ridge on GRAF + GHN embeddings": ridge(union),
        "gradient boosting on GRAF": gradient_boosting(features()),
        "gradient boosting on GRAF + GHN embeddings": gradient_boosting(union),
        "Gaussian process on GRAF": gaussian_process(features()),
        "Gaussian process on GRAF + GHN embeddings": gaussian_process(union),
        "graph network": GraphRegressor(**network),
        "graph network + GRAF": GraphRegressor(features=features(), **network),
    }
    if smoke:
        for name in ("SVR on GHN embeddings", "SVR on GRAF"):
            found[name].set_params(svr__regressor__param_grid={"C": [1, 10]})
        for name in ("gradient boosting on GRAF", "gradient boosting on GRAF + GHN embeddings"):
            found[name].set_params(boosting__n_estimators=50)
    if scores is not None:
        free = make_pipeline(TrainingFreeScores(scores, non_finite="nan"), SimpleImputer())
        both = FeatureUnion([("graf", features()), ("scores", free)])
        found["random forest on training-free scores"] = random_forest(free)
        found["gradient boosting on GRAF + training-free scores"] = gradient_boosting(both)
        found["Gaussian process on GRAF + training-free scores"] = gaussian_process(both)
    return found


def small_baselines() -> dict[str, Any]:
    """The baselines with a small forest, for a trial."""
    found = baseline_predictors()
    found["GRAF + random forest"].set_params(forest__n_estimators=20)
    return dict(found)


def learnt(data: LabelledGraphs, name: str) -> LabelledGraphs:
    """The networks that have a property, on the scale it is learnt on.

    Raises:
        DataError: if its logarithm is asked for and a value is not positive.
    """
    known = data.known(name)
    values = known.values(name)
    if PROPERTIES[name].logarithm:
        if not (values > 0).all():
            raise DataError(f"'{name}' must be positive to be learnt on a logarithmic scale (got {values.min()})")
        values = np.log10(values)
    return LabelledGraphs(graphs=known.graphs, labels={**known.labels, name: values}, name=known.name)


def stand_in(num: int) -> LabelledGraphs:
    """Generated networks with figures of their graphs in place of measured properties, for a trial."""
    graphs = [network_graph(sample_network("val", number).replace(C=8)) for number in range(num)]
    rng = np.random.default_rng(0)

    def property_of(values: Any) -> np.ndarray:
        scaled = np.asarray(values, dtype=np.float64)
        return (scaled - scaled.mean()) / scaled.std() + 0.2 * rng.normal(size=num)

    def share(values: Any) -> np.ndarray:
        return 1 / (1 + np.exp(-property_of(values)))

    accuracy = share([np.log(graph.num_params) for graph in graphs])
    return LabelledGraphs(
        graphs=graphs,
        labels={
            "val_acc": accuracy,
            "val_acc_noise": share([graph.ops.count("bn") for graph in graphs]),
            "time": 1e-3 * np.exp(property_of([graph.num_nodes for graph in graphs])),
            "converge_time": share([int(levels(graph).max()) for graph in graphs]),
            COLUMN: np.clip(accuracy + 0.2 * rng.normal(size=num), 0, 1),
        },
        name="stand-ins",
    )
