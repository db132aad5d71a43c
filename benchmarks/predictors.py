"""Speed of predictors of properties: ``python benchmarks/predictors.py`` writes benchmarks/predictors.md.

Nothing else should run meanwhile.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from speed import environment, line

from ppuda_like._files import replacing
from ppuda_like.deepnets import DeepNets, generate
from ppuda_like.deepnets._generate import start_worker
from ppuda_like.graph import PPUDA, ComputationalGraph
from ppuda_like.predictors import (
    GHNEmbedding,
    GraphFeatures,
    GraphRegressor,
    Predictor,
    embedding_svr,
    gaussian_process,
    gradient_boosting,
    random_forest,
    rank,
    ridge,
)

LEARNT, AIM = 500, "<= 60"


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def stand_in(graphs: list[ComputationalGraph]) -> np.ndarray:
    """A property that depends on size, cost and kinds of nodes, and is noisy."""
    rows = [(g.num_params, g.macs, 1 + g.ops.count("cse"), 1 + g.ops.count("bn")) for g in graphs]
    exact = np.log(np.array(rows, dtype=float)) @ np.array([1.0, 0.3, -0.3, 0.3])
    return exact + 0.1 * np.random.default_rng(0).normal(size=len(graphs))


def fitting(graphs: list[ComputationalGraph], scored: list[ComputationalGraph]) -> list[str]:
    features = GraphFeatures(ops=PPUDA.primitives)
    regressors = {
        "graph networks (`GraphRegressor`, an ensemble with intervals)": GraphRegressor(ops=PPUDA.primitives),
        "SVR on GHN embeddings, grid search": embedding_svr(GHNEmbedding("ghn2-digits")),
        "Gaussian process on GRAF": gaussian_process(features),
        "gradient boosting on GRAF": gradient_boosting(features),
        "random forest on GRAF": random_forest(features),
        "ridge on GRAF": ridge(features),
    }
    values = stand_in(graphs)
    rows = [
        "",
        f"## Learning from {len(graphs)} graphs of `search`, predicting {len(scored):,}; graphs at hand",
        "",
        "| predictor | fit, s | aim | predict, s | aim |",
        "|---|---|---|---|---|",
    ]
    for name, regressor in regressors.items():
        fit = timed(lambda regressor=regressor: regressor.fit(graphs, values))
        rows.append(line(name, fit, AIM, timed(lambda regressor=regressor: regressor.predict(scored)), AIM))
        print(rows[-1], flush=True)
    return rows


def ranking(nets: DeepNets, workers: int) -> list[str]:
    predictor = Predictor.from_pretrained("digits-accuracy")
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=start_worker) as executor:
        executor.submit(start_worker).result()  # processes start before the clock
        seconds = timed(lambda: rank(predictor, nets, executor=executor))
    return [
        "",
        f"## `rank`: {len(nets):,} networks of a store, their graphs rebuilt, {workers} processes",
        "",
        "| what | seconds | aim |",
        "|---|---|---|",
        line("`digits-accuracy`, a Gaussian process on GRAF and GHN embeddings", seconds, AIM),
    ]


def main(num_nets: int = 10_000, workers: int = 2, out: Path | None = None) -> None:
    """Measure and write a table.

    Args:
        num_nets: networks of the store.
        workers: processes of `rank`, and threads of what learns in one process.
        out: the report; by default beside this file.
    """
    torch.set_num_threads(workers)
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "nets.h5"
        with ProcessPoolExecutor(workers, initializer=start_worker) as executor:
            generate("search", num_nets, store, executor=executor)
        nets = DeepNets(store, "search")
        rows = ["# Predictors of properties", "", environment(), *ranking(nets, workers)]
        print("\n".join(rows), flush=True)
        graphs = [nets.graph(i, C=8) for i in range(num_nets)]
        rows += fitting(graphs[:LEARNT], graphs)
    with replacing(out or Path(__file__).with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
