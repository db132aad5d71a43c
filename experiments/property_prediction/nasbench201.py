"""Predictors on NAS-Bench-201: ``python experiments/property_prediction/nasbench201.py TABLE.npz``.

What is fixed here was chosen on the seeds 100..102, of which none is among those that are reported.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._partial import PartialResults
from ppuda_like.graph import ComputationalGraph, GraphBuilder
from ppuda_like.predictors import (
    NASBENCH201_EDGES,
    NASBENCH201_OPS,
    GraphFeatures,
    GraphRegressor,
    LabelledGraphs,
    calibration,
    kendall_tau,
    nasbench201,
)

FEW = 1000  # training cells, below which training is shorter and more is tried
OPS = ("input", "sum", "output", *NASBENCH201_OPS)


class Regressor(Protocol):
    def fit(self, X: Any, y: Any) -> Any: ...

    def predict(self, X: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A predictor of the table.

    Attributes:
        make: a new one, from the number of training cells and a seed.
        reads: ``"graphs"``, ``"codes"``, or ``"plain"``: graphs with every operation as it is written in the code.
        most: training cells up to which it is tried.
    """

    make: Callable[[int, int], Regressor]
    reads: str = "graphs"
    most: int = 100_000


def gnn(cells: int, seed: int, **changes: Any) -> GraphRegressor:
    """The graph network of this experiment: larger than the defaults, since these graphs are so small."""
    settings: dict[str, Any] = {
        "num_layers": 4,
        "n_estimators": 8,
        "ops": OPS,
        "batch_size": 64 if cells < FEW else 128,
        "steps": 400 if cells < FEW else 800,
        "random_state": seed,
    }
    return GraphRegressor(**{**settings, **changes})


def one_hot(regressor: Any) -> Any:
    """A regressor on one-hot codes."""
    return make_pipeline(OneHotEncoder(categories=[range(5)] * 6, sparse_output=False), regressor)


def boosting(seed: int) -> GradientBoostingRegressor:
    """Trees of depth 4, each on a part of the training cells."""
    return GradientBoostingRegressor(
        n_estimators=500, max_depth=4, learning_rate=0.05, subsample=0.7, random_state=seed
    )


def support_vectors() -> TransformedTargetRegressor:
    """RBF-SVR, its settings chosen by cross-validation on the training cells."""
    grid = {"C": [1, 10, 100], "gamma": [0.03, 0.1, 0.3]}
    return TransformedTargetRegressor(GridSearchCV(SVR(), grid, cv=5), transformer=StandardScaler())


ENTRIES: dict[str, Entry] = {
    "one-hot, forest": Entry(
        make=lambda n, seed: one_hot(RandomForestRegressor(300, random_state=seed)), reads="codes"
    ),
    "one-hot, boosting": Entry(make=lambda n, seed: one_hot(boosting(seed)), reads="codes"),
    "one-hot, SVR": Entry(make=lambda n, seed: one_hot(support_vectors()), reads="codes"),
    "graph features, forest": Entry(
        make=lambda n, seed: make_pipeline(GraphFeatures(ops=OPS), RandomForestRegressor(300, random_state=seed))
    ),
    "GNN": Entry(make=gnn),
    "GNN, squared error only": Entry(make=lambda n, seed: gnn(n, seed, loss="mse"), most=FEW),
    "GNN, ranking only": Entry(make=lambda n, seed: gnn(n, seed, loss="rank"), most=FEW),
    "GNN, one member": Entry(make=lambda n, seed: gnn(n, seed, n_estimators=1)),
    "GNN, cells as written": Entry(make=gnn, reads="plain"),
    "GNN, gated": Entry(make=lambda n, seed: gnn(n, seed, backbone="gated"), most=FEW),
    "GNN, attention": Entry(make=lambda n, seed: gnn(n, seed, backbone="gps"), most=FEW),
    "GNN, virtual edges": Entry(make=lambda n, seed: gnn(n, seed, virtual_cutoff=5), most=FEW),
    "GNN and graph features": Entry(make=lambda n, seed: gnn(n, seed, features=GraphFeatures(ops=OPS))),
}


def plain_graph(code: Sequence[int]) -> ComputationalGraph:
    """A cell with every operation of its code as a node, 'none' and skip connections too."""
    nodes = GraphBuilder()
    channels, size = 16, 32
    shape = (1, channels, size, size)
    states = [nodes.add("input", "input", shape)]
    for target in (1, 2, 3):
        read = []
        for place, ((source, to), op) in enumerate(zip(NASBENCH201_EDGES, code, strict=True)):
            if to == target:
                kernel = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}.get(NASBENCH201_OPS[op], 0)
                parameters = [(f"{place}.weight", (channels, channels, kernel, kernel))] if kernel else []
                read.append(
                    nodes.add(
                        NASBENCH201_OPS[op],
                        str(place),
                        shape,
                        sources=[states[source]],
                        parameters=parameters,
                        flops=2 * (channels * kernel * size) ** 2,
                    )
                )
        states.append(nodes.add("sum", "", shape, sources=read))
    return nodes.build((nodes.add("output", "", shape, sources=[states[3]]),), name="NAS-Bench-201 cell, as written")


def inputs(data: LabelledGraphs, reads: str) -> Any:
    """What a predictor reads of all cells."""
    assert data.codes is not None
    if reads == "codes":
        return data.codes.astype(np.int64)
    if reads == "plain":
        return [plain_graph(code) for code in data.codes.tolist()]
    return data.graphs


def chosen(X: Any, index: NDArray[np.int64]) -> Any:
    return X[index] if isinstance(X, np.ndarray) else [X[i] for i in index]


def measure(entry: Entry, X: Any, y: NDArray[np.float64], cells: int, seed: int, smoke: bool) -> dict[str, Any]:
    """Fit on some cells drawn at random, score on all others."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:cells], order[cells:]
    regressor = entry.make(cells, seed)
    if smoke:
        test = test[:500]
        if isinstance(regressor, GraphRegressor):
            regressor.set_params(steps=30)
    before = time.perf_counter(), time.process_time()
    regressor.fit(chosen(X, train), y[train])
    after = time.perf_counter(), time.process_time()
    found = {"tau": 0.0, "fit_seconds": after[0] - before[0], "fit_cpu_seconds": after[1] - before[1]}
    if isinstance(regressor, GraphRegressor):
        mean, std = regressor.predict(chosen(X, test), return_std=True)
        scores = calibration(y[test], mean, std)
        found |= {"calibration_error": scores.error, "coverage_90": scores.coverage[0.9]}
    else:
        mean = regressor.predict(chosen(X, test))
    return {**found, "tau": kendall_tau(y[test], mean)}


def table(found: dict[tuple[str, int], list[dict[str, Any]]]) -> str:
    """Tau as mean and deviation over seeds, and the seconds of a fit."""
    lines = ["| predictor | training cells | tau | fit, s (CPU s) | in 90 % intervals |", "|---|---|---|---|---|"]
    for (name, cells), rows in found.items():
        tau = np.array([row["tau"] for row in rows])
        seconds, cpu = (np.mean([row[key] for row in rows]) for key in ("fit_seconds", "fit_cpu_seconds"))
        deviation = f" ± {tau.std(ddof=1):.4f}" if len(tau) > 1 else ""
        inside = f"{100 * np.mean([row['coverage_90'] for row in rows]):.0f} %" if "coverage_90" in rows[0] else ""
        lines.append(f"| {name} | {cells:,} | {tau.mean():.4f}{deviation} | {seconds:.1f} ({cpu:.1f}) | {inside} |")
    return "\n".join(lines)


def main(
    path: Path,
    /,
    cells: tuple[int, ...] = (156, 1562),
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    predictors: tuple[str, ...] = (),
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Make the table of NAS-Bench-201; the same command goes on where it was stopped.

    Args:
        path: the table of codes and accuracies, nas-bench-201.npz.
        cells: numbers of training cells.
        seeds: of the training cells and of the predictors.
        predictors: some of the predictors; all where none is given.
        out: folder of the results; data/nasbench201, or with --smoke a temporary one.
        smoke: few cells and seeds, and hardly any training.
    """
    if out is None:
        out = Path(tempfile.mkdtemp() if smoke else "data/nasbench201")
    if smoke:
        cells, seeds = (40,), (0,)
        predictors = predictors or ("one-hot, SVR", "graph features, forest", "GNN", "GNN, cells as written")
    data = nasbench201(path)
    y = data.values("Acc")
    read = {reads: inputs(data, reads) for reads in ("graphs", "codes", "plain")}
    kept = PartialResults(out / "nasbench201.json", f"1 torch {torch.__version__}")
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    runs = [
        (name, size, seed)
        for size in cells
        for name in predictors or ENTRIES
        for seed in seeds
        if size <= ENTRIES[name].most
    ]
    for name, size, seed in tqdm(runs, unit="fit", disable=None):
        key = f"{name}/{size}/{seed}"
        row = kept.found.get(key)
        if row is None:
            entry = ENTRIES[name]
            row = measure(entry, read[entry.reads], y, size, seed, smoke)
            kept.add(key, row)
        found.setdefault((name, size), []).append(row)
    print(table(found))
    rows = [{"predictor": name, "cells": size, "runs": found[name, size]} for name, size in found]
    with replacing(out / "nasbench201.json") as temporary:
        temporary.write_text(json.dumps({"seeds": seeds, "results": rows}, indent=1))
    kept.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
