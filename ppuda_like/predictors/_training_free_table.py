"""Training-free scores of many networks, kept in a file that predictors read."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like._seeds import derived_seed
from ppuda_like.deepnets import NetworkConfig, network_graph
from ppuda_like.errors import DataError
from ppuda_like.ghn import GHN
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._embeddings import GHNSource, ghn_hash, ghn_source, resolve_ghn
from ppuda_like.predictors._feature_cache import CacheFacts, FeatureCache
from ppuda_like.predictors._graph_list import as_graphs, named
from ppuda_like.predictors._training_free import chosen_scores, training_free_scores

__all__ = ["TrainingFreeScores", "measure_scores"]

_log = logging.getLogger(__name__)

_KIND = "training-free scores"
_FORMULAS = 1  # raised when a score is computed in another way
_CHUNK = 4  # networks in one task of an executor: the images and the hypernetwork travel with each
_KEEP = 32  # networks whose scores are written to the file at once

Net = TypeVar("Net")


def _build(config: NetworkConfig) -> nn.Module:
    return config.build("cpu")


def measure_scores(
    nets: Sequence[Net],
    images: Tensor,
    labels: Tensor,
    cache: str | os.PathLike[str],
    *,
    build: Callable[[Net], nn.Module] = _build,  # type: ignore[assignment]  # of networks given as NetworkConfig
    graph: Callable[[Net], ComputationalGraph] = network_graph,  # type: ignore[assignment]
    scores: Sequence[str] | None = None,
    ghn: GHNSource | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> int:
    """Measure :func:`training_free_scores` of networks on one batch of images, for :class:`TrainingFreeScores`.

    A network's scores depend on its graph, the batch and the seed of its initial parameters alone.  Networks that the
    file holds already are passed over, so that the same call goes on after an interruption.

    Args:
        nets: the networks, as :class:`NetworkConfig` or whatever ``build`` and ``graph`` take.
        images: normalised, (B, 3, H, W), two or more.
        labels: class of each, (B,).
        cache: file for the scores, made if it is missing.
        build: from one of ``nets`` to a network with random parameters; it must be importable to run in processes.
        graph: from one of ``nets`` to its graph.
        scores: which; None for all that there are with and without a hypernetwork.
        ghn: hypernetwork that predicts parameters: a name, a file or itself; None for no such scores.
        seed: of the initial parameters.
        executor: where the networks are shared out to, processes or a cluster; None for this process.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        How many networks were measured.

    Raises:
        DataError: as of :func:`training_free_scores`, or if the file is damaged, cannot be written, or holds other
            scores or those on other images.
        CheckpointError: if there is no such hypernetwork.

    Example:
        >>> import tempfile
        >>> from ppuda_like.vision import digits
        >>> images, labels = digits("train").batch(torch.arange(8))
        >>> configs = [NetworkConfig(C=8, n_cells=2), NetworkConfig(C=8, n_cells=3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     measure_scores(configs, images, labels, f"{folder}/scores.h5", progress=False)
        ...     TrainingFreeScores(f"{folder}/scores.h5").transform(map(network_graph, configs)).shape
        2
        (2, 4)
    """
    names = chosen_scores(scores, ghn is not None)
    hypernetwork = None if ghn is None else resolve_ghn(ghn)
    kept = FeatureCache(cache, _facts(names, images, labels, ghn, hypernetwork, seed))
    job = _Job(build=build, images=images, labels=labels, names=names, ghn=hypernetwork, seed=seed)
    there = set(kept.read())
    graphs = [graph(net) for net in nets]
    missing = {
        found.content_hash: (net, found)
        for net, found in zip(nets, graphs, strict=True)
        if found.content_hash not in there
    }
    disable = None if progress is None else not progress
    ready: dict[str, list[float]] = {}
    try:
        with tqdm(desc="scores", unit="net", total=len(missing), disable=disable) as bar:
            for key, row in _results(job, list(missing.values()), executor):
                ready[key] = row
                bar.update()
                if not np.isfinite(row).all():
                    wrong = [name for name, value in zip(names, row, strict=True) if not np.isfinite(value)]
                    _log.warning("%s of %s is not finite", ", ".join(wrong), missing[key][1])
                if len(ready) >= _KEEP:
                    kept.add(ready)
                    ready = {}
    finally:
        kept.add(ready)
    return len(missing)


class TrainingFreeScores(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Training-free scores of networks, looked up in the file that :func:`measure_scores` wrote.

    Args:
        cache: the file.
        scores: which, in this order; None for all that the file holds.
        non_finite: what happens where a score is not finite, as its network's outputs were not: ``"error"`` raises,
            ``"nan"`` gives NaN, for an imputer.
    """

    def __init__(
        self,
        cache: str | os.PathLike[str],
        *,
        scores: Sequence[str] | None = None,
        non_finite: Literal["error", "nan"] = "error",
    ) -> None:
        self.cache = cache
        self.scores = scores
        self.non_finite = non_finite

    def fit(self, graphs: Iterable[ComputationalGraph], y: Any = None) -> TrainingFreeScores:
        """Nothing is learnt; the file is found to be in order.

        Raises:
            DataError: as of :meth:`transform`, but for the graphs.
        """
        if self.non_finite not in ("error", "nan"):
            raise DataError(f"'non_finite' must be 'error' or 'nan' (got {self.non_finite!r})")
        self._columns(self._open())
        return self

    def transform(self, graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
        """The scores, float64 of shape ``(num_graphs, num_scores)``.

        Raises:
            DataError: if the file is missing or damaged, holds none of these scores or not those of a network, or one
                is not finite.
            GraphError: if an entry is no graph.
        """
        graphs = as_graphs(graphs)
        cache = self._open()
        columns = self._columns(cache)
        rows = cache.read()
        absent = [place for place, graph in enumerate(graphs) if graph.content_hash not in rows]
        if absent:
            raise DataError(
                f"'{self.cache}' has no scores of {len(absent)} of {len(graphs)} networks, first of "
                f"{named(graphs[absent[0]], absent[0])}; measure them with measure_scores(nets, images, labels, "
                f"'{self.cache}'), on the same images and with the same seed"
            )
        found = np.array([rows[graph.content_hash] for graph in graphs]).reshape(len(graphs), len(cache.facts.columns))
        found = found[:, columns]
        wrong = ~np.isfinite(found)
        if wrong.any() and self.non_finite == "error":
            place, column = (int(index[0]) for index in np.nonzero(wrong))
            raise DataError(
                f"score '{self.get_feature_names_out()[column]}' of {named(graphs[place], place)} is not finite, and "
                f"{int(wrong.sum()) - 1} more in '{self.cache}'; leave it out of 'scores', or take non_finite='nan' "
                "and an imputer"
            )
        found[wrong] = np.nan
        return found

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name of each score."""
        cache = self._open()
        return np.array(cache.facts.columns, dtype=object)[self._columns(cache)]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _open(self) -> FeatureCache:
        cache = FeatureCache(self.cache)
        if cache.facts.kind != _KIND:
            raise DataError(f"'{self.cache}' holds {cache.facts.kind}, not {_KIND}; measure_scores writes these")
        return cache

    def _columns(self, cache: FeatureCache) -> list[int]:
        """Number of the column of each score asked for."""
        held = cache.facts.columns
        names = held if self.scores is None else tuple(self.scores)
        absent = [name for name in names if name not in held]
        if absent:
            raise DataError(f"'{self.cache}' holds {', '.join(held)}, not {', '.join(absent)}")
        return [held.index(name) for name in names]


@dataclass(frozen=True, kw_only=True)
class _Job(Generic[Net]):
    """What measuring a network needs; it travels to other processes."""

    build: Callable[[Net], nn.Module]
    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    ghn: GHN | None
    seed: int

    def __call__(self, nets: Sequence[tuple[Net, ComputationalGraph]]) -> list[tuple[str, list[float]]]:
        """Scores of some networks, each with its key."""
        return [self.measure(net, graph) for net, graph in nets]

    def measure(self, net: Net, graph: ComputationalGraph) -> tuple[str, list[float]]:
        key = graph.content_hash
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.seed, key))
            model = self.build(net)
        found = training_free_scores(
            model, self.images, self.labels, scores=self.names, ghn=self.ghn, graph=None if self.ghn is None else graph
        )
        return key, list(found.values())


def _results(
    job: _Job[Net], nets: list[tuple[Net, ComputationalGraph]], executor: Executor | None
) -> Iterator[tuple[str, list[float]]]:
    """Results as they come."""
    if executor is None:
        for net, graph in nets:
            yield job.measure(net, graph)
        return
    futures = [executor.submit(job, nets[first : first + _CHUNK]) for first in range(0, len(nets), _CHUNK)]
    try:
        for future in as_completed(futures):
            yield from future.result()
    finally:
        for future in futures:
            future.cancel()


def _facts(
    names: tuple[str, ...], images: Tensor, labels: Tensor, ghn: GHNSource | None, hypernetwork: GHN | None, seed: int
) -> CacheFacts:
    depends = hashlib.sha256(f"{_FORMULAS} {seed} {images.dtype} {tuple(images.shape)}".encode())
    for tensor in (images, labels):
        depends.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    source = f"{len(images)} images {tuple(images.shape[1:])}, seed {seed}"
    if ghn is not None and hypernetwork is not None:
        depends.update(ghn_hash(hypernetwork).encode())
        source += f", hypernetwork {ghn_source(ghn)}"
    return CacheFacts(kind=_KIND, source=source, identity=depends.hexdigest(), columns=names)
