"""The endless stream of networks that a hypernetwork is trained on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ppuda_like._ranks import ALONE, Ranks
from ppuda_like._seeds import derived_seed
from ppuda_like.deepnets import DeepNets, NetworkConfig, count_parameters, network_graph, sample_network, sample_width
from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import GraphBatch
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._train_config import NetsConfig
from ppuda_like.graph import ComputationalGraph

__all__ = ["MetaBatch", "NetStream", "PreparedNet", "meta_batches"]

_MAX_TRIES = 1_000


@dataclass(frozen=True, kw_only=True)
class PreparedNet:
    """A network ready to be predicted: what it is, itself on the meta device, and its primitives."""

    config: NetworkConfig
    model: nn.Module
    graph: ComputationalGraph


@dataclass(frozen=True, kw_only=True)
class MetaBatch:
    """The networks of one step, and their graphs as the hypernetwork reads them.

    Attributes:
        positions: of the networks in the whole meta-batch, of which several processes may each have a share.
        nets: the networks.
        graphs: their graphs; None where there is no network.
    """

    positions: tuple[int, ...]
    nets: tuple[PreparedNet, ...]
    graphs: GraphBatch | None


class NetStream(Dataset[MetaBatch]):
    """The meta-batches of a run, by number.

    The network at a position depends on the seed and that position alone: any process may prepare any meta-batch.
    Networks of a store come up once each, in a random order, before any comes up again.

    Args:
        config: which networks.
        ghn: the hypernetwork they are prepared for.
        image_size: height and width of the images they will see.
        num_classes: classes they will tell apart.
        seed: of the sampling.
        ranks: of several processes, this one gets its share of each meta-batch.
    """

    def __init__(
        self,
        config: NetsConfig,
        ghn: GHNConfig,
        *,
        image_size: int,
        num_classes: int,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.ranks = ranks
        self.store = None if config.store is None else DeepNets(config.store, config.split)
        self._order: tuple[int, list[int]] | None = None
        with torch.device("meta"):
            self.ghn = GHN(ghn)
        self.image_size = image_size
        self.num_classes = num_classes
        self.seed = seed

    def __getitem__(self, number: int) -> MetaBatch:
        """A meta-batch, from 0."""
        size = self.config.meta_batch
        kept: list[tuple[NetworkConfig, ComputationalGraph]] = []
        nodes = 0
        for i in range(number * size, (number + 1) * size):
            config, graph = self.choose(i)
            nodes += graph.num_nodes
            if kept and nodes > self.config.max_total_nodes:
                break
            kept.append((config, graph))
        # Dealt out by their cost, to and fro, so that no process has to wait long for the others.
        dearest = sorted(range(len(kept)), key=lambda i: -(kept[i][1].macs or 0))
        turns = (turn if lap % 2 == 0 else self.ranks.world - 1 - turn for lap, turn in self._turns())
        mine = sorted(i for i, turn in zip(dearest, turns, strict=False) if turn == self.ranks.rank)
        nets = [PreparedNet(config=kept[i][0], model=kept[i][0].build("meta"), graph=kept[i][1]) for i in mine]
        return MetaBatch(
            positions=tuple(mine),
            nets=tuple(nets),
            graphs=self.ghn.prepare([net.graph for net in nets]) if nets else None,
        )

    def _turns(self) -> Iterator[tuple[int, int]]:
        return (divmod(i, self.ranks.world) for i in count())

    def choose(self, position: int) -> tuple[NetworkConfig, ComputationalGraph]:
        """The network at a position of the stream, and its graph: the first acceptable one among its candidates.

        Raises:
            PredictionError: if none of a thousand candidates is within the limits.
        """
        limits = self.config
        for attempt in range(_MAX_TRIES):
            sampled = self._candidate(position, attempt)
            C, fc_dim = self._width(sampled, position, attempt)
            config = replace(
                sampled,
                C=C,
                fc_dim=fc_dim,
                num_classes=self.num_classes,
                is_imagenet_input=self.image_size > 64,
                auxiliary=False,
            )
            graph = network_graph(config)
            small = graph.num_params <= limits.max_params and graph.num_nodes <= limits.max_nodes
            if small and graph.macs <= limits.max_macs:
                return config, graph
        raise PredictionError(
            f"none of {_MAX_TRIES} sampled networks has at most {limits.max_params:,} parameters, "
            f"{limits.max_macs:,} multiply-accumulates and {limits.max_nodes} nodes; raise the limits "
            "or lower the widths"
        )

    def _candidate(self, position: int, attempt: int) -> NetworkConfig:
        """A network at its own width: of the store, by turns and at random after that; or newly sampled."""
        if self.store is None:
            seed = derived_seed(self.seed, "net", attempt) % 2**31
            return sample_network(self.config.split, position, seed=seed)
        if attempt:
            return self.store.config(derived_seed(self.seed, "net", position, attempt) % len(self.store))
        visit, turn = divmod(position, len(self.store))
        if self._order is None or self._order[0] != visit:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "nets", visit))
            self._order = (visit, torch.randperm(len(self.store), generator=generator).tolist())
        return self.store.config(self._order[1][turn])

    def _width(self, sampled: NetworkConfig, position: int, attempt: int) -> tuple[int, int]:
        seed = derived_seed(self.seed, "width", position, attempt)
        if not self.config.widths:
            num_params = count_parameters(sampled.replace(C=32))
            return sample_width(sampled, num_params, np.random.default_rng(seed))
        generator = torch.Generator().manual_seed(seed)
        return _choice(self.config.widths, generator), _choice(self.config.fc_dims, generator)


def meta_batches(stream: NetStream, steps: range, workers: int) -> Iterator[MetaBatch]:
    """The meta-batch of each step, prepared ahead by worker processes where there are any.

    Args:
        stream: of all meta-batches.
        steps: which steps.
        workers: number of processes; 0 to prepare in this one, when needed.
    """
    numbers = [_number(stream, step) for step in steps]
    if workers:
        first_visits = list(dict.fromkeys(numbers))
        fresh: Iterator[MetaBatch] = iter(
            DataLoader(
                stream,
                sampler=first_visits,
                batch_size=None,
                num_workers=workers,
                prefetch_factor=4,
                worker_init_fn=_start_worker,
                generator=torch.Generator(),  # the workers' own seeds; else they come from the global random state
            )
        )
    kept: dict[int, MetaBatch] = {}
    for number in numbers:
        found = kept.get(number)
        if found is None:
            found = next(fresh) if workers else stream[number]
            if not stream.config.pool:
                kept.clear()
            kept[number] = found
        yield found


def _number(stream: NetStream, step: int) -> int:
    """Which meta-batch serves a step: pass after pass over the pool, in a new order from the second one on."""
    pool, turn = stream.config.pool, step // stream.config.repeat
    if not pool or turn < pool:
        return turn
    visit, position = divmod(turn, pool)
    generator = torch.Generator().manual_seed(derived_seed(stream.seed, "order", visit))
    return int(torch.randperm(pool, generator=generator)[position])


def _choice(values: tuple[int, ...], generator: torch.Generator) -> int:
    return values[int(torch.randint(len(values), (), generator=generator))]


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # A signal to the whole process group is for the run to answer, which still needs its workers for the last step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
