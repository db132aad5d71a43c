"""A regressor on computational graphs: an ensemble of graph networks behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._gnn import Backbone, GraphNetwork, GraphNetworkConfig
from ppuda_like.predictors._gnn_data import NODE_FEATURES, Encoder, GraphArrays, Standardizer
from ppuda_like.predictors._gnn_loss import Loss
from ppuda_like.predictors._gnn_train import EncodedGraphs, TrainConfig, predict_members, train_members
from ppuda_like.predictors._graph_list import as_graphs, rows_of_distinct

__all__ = ["GraphRegressor"]

_CHUNK = 1000  # graphs encoded at a time
_SPREAD_FACTORS = (0.1, 30.0)  # bounds of the factor on the members' spread
_NOISE_SHARES = (1e-3, 1.0)  # of the squared error on graphs held out that does not go with the members' spread


class GraphRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts a property of networks from their computational graphs, with its uncertainty.

    An ensemble of graph networks reads the operations, the shapes, the places and the links of all nodes, in both
    directions (see :class:`GraphNetwork`).  Targets are standardised; graphs that cannot be told apart count as one
    with their mean.  Every member is trained without one of the folds of the training graphs, the errors on which tell
    how far predictions are off.

    A property that spans orders of magnitude, or is a share close to 1, is learnt better on another scale: wrap the
    regressor in scikit-learn's ``TransformedTargetRegressor``.

    Args:
        backbone: how nodes hear of others: ``"gin"``, sums over neighbours; ``"gated"``, gated sums; ``"gps"``, sums
            and attention, whose cost grows with the square of the nodes.
        hidden: width of the node features.
        num_layers: rounds of messages.
        virtual_cutoff: length of the longest virtual edge, along which messages go as well; None for none.
        features: a transformer of graphs, :class:`GraphFeatures` for instance, whose features of the whole graph the
            networks are told; None for the numbers of parameters, multiply-accumulates, nodes and edges and the depth
            only, which they are told in any case.
        ops: operations that count as known besides those of the training graphs; for few training graphs, those of a
            vocabulary.
        loss: ``"mse"``, squared error; ``"rank"``, logistic loss on the order of pairs, to which values are fitted
            afterwards by a straight line; ``"both"``, their sum.
        n_estimators: members.
        folds: parts of the training graphs, of which each member lacks one, the first members the first parts.
        dropout: share of the features of graphs, before and in the networks' head, that is dropped in training.
        steps: optimiser steps, at least 10; what bounds the time.
        batch_size: graphs of a batch.
        learning_rate: the highest; it rises and falls in one cycle.
        weight_decay: of AdamW.
        patience: checks (20 in all) without improvement on the graphs held out after which training stops; None for
            none.  Errors on these graphs then look a little better than they are.
        random_state: seed of all randomness, or a generator that gives it; None for another one each time.

    Attributes:
        encoder_: makes arrays of graphs; it holds the operations that are known.
        features_: the fitted transformer, or None.
        network_: the members.
        spread_factor_: what the members' spread is multiplied by in the variance of a prediction.
        residual_variance_: what is added to it, in squared units of the target.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> graphs = [network_graph(sample_network("test", i)) for i in range(12)]
        >>> sizes = [graph.num_params for graph in graphs]
        >>> regressor = GraphRegressor(hidden=8, n_estimators=2, folds=3, steps=30).fit(graphs, sizes)
        >>> mean, std = regressor.predict(graphs[:3], return_std=True)
        >>> mean.shape, std.shape
        ((3,), (3,))
    """

    def __init__(
        self,
        *,
        backbone: Backbone = "gin",
        hidden: int = 32,
        num_layers: int = 3,
        virtual_cutoff: int | None = None,
        features: Any = None,
        ops: Sequence[str] = (),
        loss: Loss = "both",
        n_estimators: int = 4,
        folds: int = 10,
        dropout: float = 0.1,
        steps: int = 200,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.backbone = backbone
        self.hidden = hidden
        self.num_layers = num_layers
        self.virtual_cutoff = virtual_cutoff
        self.features = features
        self.ops = ops
        self.loss = loss
        self.n_estimators = n_estimators
        self.folds = folds
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.random_state = random_state

    def fit(self, X: Iterable[ComputationalGraph], y: ArrayLike) -> GraphRegressor:
        """Learn a property.

        Args:
            X: graphs of networks.
            y: the property of each, ``(n,)``.

        Raises:
            DataError: if there are no graphs, lengths differ, a value is not finite, all values are the same, or fewer
                graphs can be told apart than there are folds.
            GraphError: if an entry of ``X`` is no graph.
            PpudaLikeError: if an argument of the constructor is out of range, or training diverged.
        """
        graphs = as_graphs(X)
        values = _checked_targets(y, len(graphs))
        config = TrainConfig(
            loss=self.loss,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )
        generator = torch.Generator().manual_seed(self._seed())
        self.encoder_ = Encoder.fit(graphs, self.ops, self.virtual_cutoff)
        self.features_ = None if self.features is None else clone(self.features).fit(graphs)
        arrays, facts = self._encode(graphs)
        kept, group = _distinct(arrays, facts)
        arrays, facts = [arrays[i] for i in kept], facts[kept]
        self._check_folds(len(kept))

        self.node_scale_ = Standardizer.fit(np.concatenate([graph.x for graph in arrays]))
        self.fact_scale_ = Standardizer.fit(facts)
        self.target_scale_ = Standardizer.fit(values[:, None])
        target = (values - self.target_scale_.mean[0]) / self.target_scale_.scale[0]
        weight = np.bincount(group).astype(np.float64)
        encoded = self._standardized(arrays, facts)
        network = GraphNetwork(
            self._network_config(facts.shape[1], sum(len(graph.op) for graph in arrays) / len(arrays))
        )
        network.initialize(generator)
        _forget(network, sorted(set(range(len(self.encoder_.ops))).difference(*(graph.op for graph in arrays))))
        fold = torch.randperm(len(kept), generator=generator).numpy() % self.folds
        held = fold[:, None] == np.arange(self.n_estimators) % self.folds
        train_members(network, encoded, np.bincount(group, target) / weight, weight, held, config, generator)

        said = predict_members(network, encoded)[group]
        if self.loss == "rank":
            said = _fit_lines(network, said, target)
        self.network_ = network
        self.spread_factor_, noise = _calibrated(said, target, held[group])
        self.residual_variance_ = float(noise * self.target_scale_.scale[0] ** 2)
        return self

    @overload
    def predict(self, X: Iterable[ComputationalGraph], return_std: Literal[False] = ...) -> NDArray[np.float64]: ...

    @overload
    def predict(
        self, X: Iterable[ComputationalGraph], return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def predict(
        self, X: Iterable[ComputationalGraph], return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The property of networks, the mean over the members.

        Args:
            X: graphs of networks.
            return_std: whether to give standard deviations of the values to be measured, too, from the spread of the
                members and the errors on graphs held out from them.

        Returns:
            Float64 ``(n,)``; with ``return_std`` a pair of such.

        Raises:
            GraphError: if an entry of ``X`` is no graph, or has operations that are not known.
            NotFittedError: before :meth:`fit`.
        """
        said = self._members(X) * self.target_scale_.scale[0] + self.target_scale_.mean[0]
        mean: NDArray[np.float64] = said.mean(axis=1)
        if not return_std:
            return mean
        return mean, np.sqrt(self.spread_factor_ * _spread(said) + self.residual_variance_)

    def save(self, path: str | PathLike[str], *, about: Mapping[str, Any] | None = None) -> None:
        """Write the fitted regressor to a .safetensors file, complete or not at all.

        Args:
            path: the file.
            about: facts to go with it, as JSON values.

        Raises:
            CheckpointError: if ``features`` or ``random_state`` is an object that no file can hold.
            NotFittedError: before :meth:`fit`.
        """
        from ppuda_like.predictors._graph_regressor_file import write_regressor

        write_regressor(path, self, dict(about or {}))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> GraphRegressor:
        """The regressor of a file that :meth:`save` wrote.

        Raises:
            CheckpointError: if there is no such file, it is damaged, or something else.
        """
        return cls.read(path)[0]

    @classmethod
    def read(cls, path: str | PathLike[str]) -> tuple[GraphRegressor, dict[str, Any]]:
        """As :meth:`load`, with the facts that :meth:`save` was given.

        Raises:
            CheckpointError: if there is no such file, it is damaged, or something else.
        """
        from ppuda_like.predictors._graph_regressor_file import read_regressor

        return read_regressor(path)

    def _members(self, X: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
        """What each member says of each graph, standardised, ``(n, n_estimators)``."""
        check_is_fitted(self, "network_")
        return rows_of_distinct(as_graphs(X), self._rows)

    def _rows(self, graphs: list[ComputationalGraph]) -> NDArray[np.float64]:
        found = np.empty((len(graphs), self.network_.config.members))
        for first in range(0, len(graphs), _CHUNK):
            chunk = slice(first, first + _CHUNK)
            found[chunk] = predict_members(self.network_, self._standardized(*self._encode(graphs[chunk])))
        return found

    def _encode(self, graphs: list[ComputationalGraph]) -> tuple[list[GraphArrays], NDArray[np.float64]]:
        """The arrays of graphs, and the features of each as a whole."""
        arrays = [self.encoder_(graph) for graph in graphs]
        facts = np.array([found.facts for found in arrays])
        if self.features_ is None:
            return arrays, facts
        more = np.asarray(self.features_.transform(graphs), dtype=np.float64)
        if more.ndim != 2 or len(more) != len(graphs) or not np.isfinite(more).all():
            raise DataError(
                f"'features' must give a finite row for each of {len(graphs)} graphs (got shape {more.shape} with "
                f"{np.count_nonzero(~np.isfinite(more))} values that are not finite)"
            )
        return arrays, np.concatenate((facts, more), axis=1)

    def _standardized(self, arrays: Sequence[GraphArrays], facts: NDArray[np.float64]) -> EncodedGraphs:
        return EncodedGraphs(
            arrays=arrays,
            facts=self.fact_scale_(facts),
            standardize=self.node_scale_,
            virtual=self.virtual_cutoff is not None,
        )

    def _network_config(self, num_facts: int, nodes_per_graph: float) -> GraphNetworkConfig:
        return GraphNetworkConfig(
            num_ops=len(self.encoder_.ops),
            num_features=len(NODE_FEATURES),
            num_facts=num_facts,
            members=self.n_estimators,
            backbone=self.backbone,
            hidden=self.hidden,
            num_layers=self.num_layers,
            dropout=self.dropout,
            virtual=self.virtual_cutoff is not None,
            nodes_per_graph=nodes_per_graph,
        )

    def _check_folds(self, distinct: int) -> None:
        if not isinstance(self.folds, int) or self.folds < 2:
            raise DataError(f"'folds' must be a whole number, at least 2 (got {self.folds!r})")
        least = self.folds * (1 if self.patience is None else 2)
        if distinct < least:
            why = "" if self.patience is None else ", two in each for 'patience'"
            raise DataError(
                f"{self.folds} folds need at least {least} graphs that can be told apart{why} (got {distinct}); give "
                "more graphs or set fewer folds"
            )

    def _seed(self) -> int:
        if self.random_state is None:
            return torch.Generator().seed()
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(np.iinfo(np.int32).max))
        return int(self.random_state)


def _checked_targets(y: ArrayLike, num_graphs: int) -> NDArray[np.float64]:
    values = np.asarray(y, dtype=np.float64)
    if not num_graphs:
        raise DataError("the regressor needs graphs to learn from (got none)")
    if values.shape != (num_graphs,):
        raise DataError(f"'y' must have one value per graph, shape ({num_graphs},) (got {values.shape})")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise DataError(
            f"'y' must be finite (got {values[wrong[0]]} for graph {wrong[0]}, {len(wrong)} such in all); leave out "
            "networks without a measured value"
        )
    if values.std() <= 1e-12 * np.abs(values).max():
        raise DataError(
            f"all {num_graphs} values of 'y' are {values[0]}: there is nothing to learn; is it the right property?"
        )
    return values


def _distinct(arrays: Sequence[GraphArrays], facts: NDArray[np.float64]) -> tuple[list[int], NDArray[np.int64]]:
    """First graph of each kind that a graph network cannot tell apart, and the kind of each graph."""
    kinds: dict[bytes, int] = {}
    kept, kind = [], []
    for number, (graph, row) in enumerate(zip(arrays, facts, strict=True)):
        content = graph.content + row.tobytes()
        if content not in kinds:
            kinds[content] = len(kinds)
            kept.append(number)
        kind.append(kinds[content])
    return kept, np.array(kind)


def _forget(network: GraphNetwork, ops: list[int]) -> None:
    """Let operations that no training graph has say nothing rather than something drawn at random."""
    with torch.no_grad():
        network.op[:, ops] = 0


def _spread(said: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the members for each graph; 0 of a single one."""
    return said.var(axis=1, ddof=1) if said.shape[1] > 1 else np.zeros(len(said))


def _calibrated(said: NDArray[np.float64], target: NDArray[np.float64], held: NDArray[np.bool_]) -> tuple[float, float]:
    """A factor and a constant that make variances of the members' spread.

    They are those under which errors are most likely, if normal, on graphs by members that did not see them.  Members
    agree more on graphs that most of them saw than on new ones, but what is measured here is the error of one of them,
    not of their mean: the two roughly make up for each other.
    """
    seen = held.any(axis=1)
    without = np.where(held, said, 0).sum(axis=1)[seen] / held.sum(axis=1)[seen]
    squared = np.square(without - target[seen])
    mean = max(float(squared.mean()), np.finfo(np.float64).tiny)
    if said.shape[1] == 1:
        return 0.0, mean
    spread = _spread(said)[seen]

    def loss(logs: NDArray[np.float64]) -> float:
        variance = np.exp(logs[0]) * spread + np.exp(logs[1]) * mean
        return float(np.mean(np.log(variance) + squared / variance))

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=np.log((_SPREAD_FACTORS, _NOISE_SHARES)))
    factor, share = np.exp(found.x)
    return float(factor), float(share * mean)


def _fit_lines(network: GraphNetwork, said: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the scores of members into values, each by its own straight line; the values.

    Ranking fixes neither the origin nor the unit of a score.
    """
    centre, middle = said.mean(axis=0), target.mean()
    across = np.square(said - centre).mean(axis=0)
    along = ((said - centre) * (target - middle)[:, None]).mean(axis=0)
    slope = np.divide(along, across, out=np.zeros_like(along), where=across > 0)
    shift = middle - slope * centre
    scale, offset = (torch.from_numpy(part).float().view(-1, 1, 1) for part in (slope, shift))
    with torch.no_grad():
        network.out.weight.mul_(scale)
        network.out.bias.mul_(scale).add_(offset)
    return np.asarray(said * slope + shift)
