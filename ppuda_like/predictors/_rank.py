"""Search a store of networks by a predicted property."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from tqdm import tqdm

from ppuda_like.deepnets import DeepNets
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._estimate import Estimate
from ppuda_like.predictors._predictor import Predictor

__all__ = ["Ranked", "rank"]

_CHUNK = 250  # networks predicted at once: their graphs are all in memory


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A network found by its predicted property.

    Attributes:
        net: its number in the split of the store.
        estimate: the property.
        num_params: scalars in its parameters, as measured networks have them.
        macs: multiply-accumulates for one image of the size the predictor learnt from.
    """

    net: int
    estimate: Estimate
    num_params: int
    macs: int


def rank(
    predictor: Predictor,
    nets: DeepNets,
    *,
    top: int | None = 10,
    level: float = 0.9,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> list[Ranked]:
    """The networks of a dataset that are best by a predicted property (arXiv:2110.13100, section 5.4).

    Networks are ordered by their estimates; of equal ones, the first in the dataset comes first.

    Args:
        predictor: of the property.
        nets: networks of a store, all of a split or those that :func:`ppuda_like.deepnets.where` leaves.
        top: how many to give; None for all.
        level: probability of the intervals.
        executor: where the work is shared out to; None for this process.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        DataError: if there is no network, or ``top`` is not positive.
        GraphError: if a network holds an operation the predictor never saw.
    """
    if not len(nets):
        raise DataError("there is no network to rank: the dataset is empty")
    if top is not None and top < 1:
        raise DataError(f"'top' must be at least 1 (got {top})")
    chunks = [range(first, min(first + _CHUNK, len(nets))) for first in range(0, len(nets), _CHUNK)]
    run = partial(_rank_chunk, predictor, nets, level)
    found: Iterator[list[Ranked]] = map(run, chunks) if executor is None else executor.map(run, chunks)
    with tqdm(total=len(nets), desc="rank", unit="net", disable=None if progress is None else not progress) as bar:
        ranked = list(chain.from_iterable(_counted(found, bar)))
    values = np.array([entry.estimate.value for entry in ranked])
    order = np.argsort(-values if predictor.info.higher_is_better else values, kind="stable")
    return [ranked[number] for number in order[:top]]


def _counted(found: Iterator[list[Ranked]], bar: tqdm) -> Iterator[list[Ranked]]:
    for entries in found:
        bar.update(len(entries))
        yield entries


def _rank_chunk(predictor: Predictor, nets: DeepNets, level: float, numbers: range) -> list[Ranked]:
    graphs = [_graph(predictor, nets, number) for number in numbers]
    estimates = predictor.predict(graphs, level=level)
    rows = np.asarray(nets.indices())
    return [
        Ranked(net=int(rows[number]), estimate=estimate, num_params=graph.num_params, macs=graph.macs)
        for number, estimate, graph in zip(numbers, estimates, graphs, strict=True)
    ]


def _graph(predictor: Predictor, nets: DeepNets, number: int) -> ComputationalGraph:
    """The graph of a network at the width, and for the classes, that the predictor learnt from."""
    width = predictor.info.width
    return nets.graph(number, num_classes=predictor.info.num_classes, **({} if width is None else {"C": width}))
