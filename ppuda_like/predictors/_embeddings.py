"""Embeddings of graphs by a hypernetwork."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from ppuda_like.errors import DataError, PredictionError
from ppuda_like.ghn import GHN
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._feature_cache import CacheFacts, FeatureCache
from ppuda_like.predictors._graph_list import as_graphs, named, rows_of_distinct, size_groups

__all__ = ["GHNEmbedding", "ghn_hash", "ghn_source", "resolve_ghn"]

GHNSource = str | os.PathLike[str] | GHN


class GHNEmbedding(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Mean of the node features that a hypernetwork decodes parameters from (arXiv:2110.13100, section 5.4).

    Networks with another number of classes than the hypernetwork predicts are embedded as if they had its number.
    Embeddings of a graph depend on the graphs beside it only by rounding.

    Args:
        ghn: the hypernetwork: the name of a bundled one, a file of this package, a ``.pt`` file of PPUDA, or itself.
        cache: file to keep embeddings in, made if it is missing; None to compute them each time.  Several processes may
            use one file, each hypernetwork needs its own.
        batch_nodes: nodes of the graphs that are embedded at once; a graph that is larger is embedded alone.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(2)]
        >>> GHNEmbedding("ghn2-digits").transform(graphs).shape
        (2, 32)
    """

    def __init__(
        self,
        ghn: GHNSource = "ghn2-digits",
        *,
        cache: str | os.PathLike[str] | None = None,
        batch_nodes: int = 3_000,
    ) -> None:
        self.ghn = ghn
        self.cache = cache
        self.batch_nodes = batch_nodes

    def fit(self, graphs: Iterable[ComputationalGraph], y: Any = None) -> GHNEmbedding:
        """Nothing is learnt; the hypernetwork and the cache are found to be in order.

        Raises:
            CheckpointError: if there is no such hypernetwork, or its file is damaged.
            DataError: if the cache is damaged or of another hypernetwork, or ``batch_nodes`` is below 1.
        """
        if self.batch_nodes < 1:
            raise DataError(f"'batch_nodes' must be at least 1 (got {self.batch_nodes})")
        self._open(resolve_ghn(self.ghn))
        return self

    def transform(self, graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
        """The embeddings, float64 of shape ``(num_graphs, hid)``.

        Raises:
            CheckpointError: if there is no such hypernetwork, or its file is damaged.
            DataError: if the cache is damaged, of another hypernetwork, or cannot be written.
            GraphError: if an entry is no graph, or a full trace cannot be lowered.
            PredictionError: if a graph is in another vocabulary than hypernetworks read, or an embedding is not finite.
        """
        graphs = as_graphs(graphs)
        ghn = resolve_ghn(self.ghn)
        cache = self._open(ghn)
        if cache is None:
            return rows_of_distinct(graphs, lambda distinct: self._embed(ghn, distinct))
        rows = cache.read()
        keys = [graph.content_hash for graph in graphs]
        new = {key: graph for key, graph in zip(keys, graphs, strict=True) if key not in rows}
        if new:
            found = dict(zip(new, self._embed(ghn, list(new.values())), strict=True))
            cache.add(found)
            rows |= found
        return np.array([rows[key] for key in keys]).reshape(len(graphs), ghn.config.hid)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name of each feature."""
        return np.array(_columns(resolve_ghn(self.ghn)), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _open(self, ghn: GHN) -> FeatureCache | None:
        if self.cache is None:
            return None
        source = f"hypernetwork {ghn_source(self.ghn)}"
        facts = CacheFacts(kind="embeddings", source=source, identity=ghn_hash(ghn), columns=_columns(ghn))
        return FeatureCache(self.cache, facts)

    @torch.no_grad()
    def _embed(self, ghn: GHN, graphs: list[ComputationalGraph]) -> NDArray[np.float64]:
        rows = np.empty((len(graphs), ghn.config.hid))
        for group in size_groups(graphs, self.batch_nodes):
            found = ghn.embed([graphs[place] for place in group]).double().cpu().numpy()
            wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
            if len(wrong):
                place = group[wrong[0]]
                raise PredictionError(
                    f"the embedding of {named(graphs[place], place)} is not finite; check the weights"
                )
            rows[group] = found
        return rows


def resolve_ghn(ghn: GHNSource) -> GHN:
    """The hypernetwork of a name or path, or itself.

    Raises:
        CheckpointError: if there is none, or its file is damaged.
    """
    if isinstance(ghn, GHN):
        return ghn
    return GHN.from_ppuda(ghn) if Path(ghn).suffix == ".pt" else GHN.from_pretrained(ghn)


def ghn_source(ghn: GHNSource) -> str:
    """What a hypernetwork is called, for people to read."""
    return "in memory" if isinstance(ghn, GHN) else f"'{os.fspath(ghn)}'"


def ghn_hash(ghn: GHN) -> str:
    """Hexadecimal SHA-256 of configuration and weights, wherever they are."""
    found = hashlib.sha256(json.dumps(ghn.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(ghn.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _columns(ghn: GHN) -> tuple[str, ...]:
    return tuple(f"embedding {i}" for i in range(ghn.config.hid))
