"""Training the members of an ensemble of graph networks together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppuda_like.errors import PpudaLikeError
from ppuda_like.predictors._gnn import GraphNetwork
from ppuda_like.predictors._gnn_data import GraphArrays, GraphBatch, Standardizer, collate
from ppuda_like.predictors._gnn_loss import Loss, member_loss

__all__ = ["EncodedGraphs", "TrainConfig", "predict_members", "train_members"]

MOST_NODES = 20_000
"""Nodes of a batch in training: what bounds the memory."""

MOST_READ_NODES = 4_000
"""Nodes of a batch in prediction: tensors that stay in the processor's cache."""

_WARMUP = 0.2  # share of the steps in which the learning rate rises
_CHECKS = 20  # times that the graphs held out are looked at, when training may stop early


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the members of an ensemble are trained: AdamW, the learning rate rising and falling in one cycle.

    Attributes:
        loss: what is learnt: values, order, or both.
        steps: optimiser steps, at least 10.
        batch_size: graphs of a batch; fewer where these are so large that their nodes are more than 20,000.
        learning_rate: the highest.
        weight_decay: of the weights of linear layers.
        patience: checks, of 20 over the steps, without improvement of any member on the graphs held out from it after
            which training stops, each member taking the weights that were best; None to train to the end.

    Raises:
        PpudaLikeError: if a value is out of range.
    """

    loss: Loss = "both"
    steps: int = 200
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise PpudaLikeError(f"'loss' must be one of {', '.join(get_args(Loss))} (got {self.loss!r})")
        for name, least in (("steps", 10), ("batch_size", 2), ("patience", 1)):
            value = getattr(self, name)
            if (value is not None or name != "patience") and (not isinstance(value, int) or value < least):
                raise PpudaLikeError(f"'{name}' must be a whole number, at least {least} (got {value!r})")
        if not 0 < self.learning_rate < math.inf:
            raise PpudaLikeError(f"'learning_rate' must be positive (got {self.learning_rate})")
        if not 0 <= self.weight_decay < math.inf:
            raise PpudaLikeError(f"'weight_decay' must not be negative (got {self.weight_decay})")


@dataclass(frozen=True, kw_only=True)
class EncodedGraphs:
    """Graphs in the form a graph network reads.

    Attributes:
        arrays: of each graph.
        facts: features of each graph, standardised, float32 ``(n, G)``.
        standardize: for the features of nodes.
        virtual: whether with virtual edges.
    """

    arrays: Sequence[GraphArrays]
    facts: NDArray[np.float32]
    standardize: Standardizer
    virtual: bool

    def __len__(self) -> int:
        return len(self.arrays)

    def batch(self, chosen: Sequence[int]) -> GraphBatch:
        """Some of the graphs, as one."""
        arrays = [self.arrays[i] for i in chosen]
        return collate(arrays, self.facts[list(chosen)], self.standardize, virtual=self.virtual)

    def groups(self, order: Sequence[int], most_graphs: int, most_nodes: int) -> Iterator[list[int]]:
        """Numbers of the graphs in some order, so many at a time that their nodes are no more than that, or one."""
        group: list[int] = []
        nodes = 0
        for number in order:
            size = len(self.arrays[number].op)
            if group and (len(group) == most_graphs or nodes + size > most_nodes):
                yield group
                group, nodes = [], 0
            group.append(number)
            nodes += size
        if group:
            yield group


def train_members(
    network: GraphNetwork,
    graphs: EncodedGraphs,
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    held: NDArray[np.bool_],
    config: TrainConfig,
    generator: torch.Generator,
) -> None:
    """Train the members of a network, whose weights have been drawn.

    Members see the same batches.  They share no weight and no normalisation, so each learns as it would alone.

    Args:
        network: trained in place, and left in evaluation mode.
        graphs: all of them.
        target: standardised value of each, ``(n,)``.
        weight: how much each counts, ``(n,)``.
        held: whether each graph is held out from each member, ``(n, E)``.
        config: how.
        generator: of the order of the graphs and of dropout.

    Raises:
        PpudaLikeError: if the weights diverged.
    """
    wanted = torch.from_numpy(target).float()
    counts = torch.from_numpy(weight[:, None] * ~held).float()
    linear = [parameter for name, parameter in network.named_parameters() if name.endswith("weight")]
    other = [parameter for name, parameter in network.named_parameters() if not name.endswith("weight")]
    optimizer = torch.optim.AdamW(
        [{"params": linear, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=_WARMUP
    )
    stopping = None if config.patience is None else _Stopping(network, config.patience)
    every = max(1, config.steps // _CHECKS)
    order = _shuffled(graphs, config.batch_size, generator)
    network.train()
    with torch.random.fork_rng(devices=[]):  # dropout takes no generator
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
        for step in range(1, config.steps + 1):
            chosen = next(order)
            losses = member_loss(network(graphs.batch(chosen)), wanted[chosen], counts[chosen], config.loss)
            optimizer.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if stopping is not None and step % every == 0:
                found = torch.from_numpy(predict_members(network, graphs)).float()
                network.train()
                left_out = torch.from_numpy(weight[:, None] * held).float()
                if stopping.check(member_loss(found, wanted, left_out, config.loss)):
                    break
    if stopping is not None:
        stopping.restore()
    network.eval()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise PpudaLikeError(
            f"the graph networks diverged in {config.steps} steps; lower the learning rate ({config.learning_rate})"
        )


def predict_members(network: GraphNetwork, graphs: EncodedGraphs) -> NDArray[np.float64]:
    """What each member says of each graph, float64 ``(n, E)``; the network is left in evaluation mode."""
    network.eval()
    found = np.empty((len(graphs), network.config.members))
    # Graphs of similar size stand together: attention pads all of a batch to the size of the largest.
    by_size = sorted(range(len(graphs)), key=lambda i: len(graphs.arrays[i].op))
    with torch.no_grad():
        for group in graphs.groups(by_size, len(graphs), MOST_READ_NODES):
            found[group] = network(graphs.batch(group)).numpy()
    return found


def _shuffled(graphs: EncodedGraphs, batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Batches without end; all graphs once before any comes again."""
    most = min(batch_size, len(graphs))
    left: list[int] = []
    while True:
        while len(left) < most:
            left += torch.randperm(len(graphs), generator=generator).tolist()
        group = next(graphs.groups(left[:most], most, MOST_NODES))
        left = left[len(group) :]
        yield group


class _Stopping:
    """The best weights of each member so far, and whether to go on."""

    def __init__(self, network: GraphNetwork, patience: int) -> None:
        self.network = network
        self.patience = patience
        self.best = torch.full((network.config.members,), math.inf)
        self.kept = {name: value.clone() for name, value in network.state_dict().items()}
        self.checks = 0  # since some member was better than before

    def check(self, losses: Tensor) -> bool:
        """Take note of the losses of the members; whether it is time to stop."""
        better = losses < self.best
        self.checks = 0 if bool(better.any()) else self.checks + 1
        self.best = torch.where(better, losses, self.best)
        for name, value in self.network.state_dict().items():
            self.kept[name][better] = value[better]
        return self.checks >= self.patience

    def restore(self) -> None:
        """Give each member its best weights."""
        self.network.load_state_dict(self.kept)
