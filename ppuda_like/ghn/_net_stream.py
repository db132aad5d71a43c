"""The endless stream of networks that a hypernetwork is trained on."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ppuda_like.deepnets import NetworkConfig, network_graph, sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import GraphBatch
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._train_config import NetsConfig
from ppuda_like.graph import ComputationalGraph

__all__ = ["MetaBatch", "NetStream", "PreparedNet", "derived_seed", "meta_batches"]

_MAX_TRIES = 1_000


@dataclass(frozen=True, kw_only=True)
class PreparedNet:
    """A network ready to be predicted: what it is, itself on the meta device, and its primitives."""

    config: NetworkConfig
    model: nn.Module
    graph: ComputationalGraph


@dataclass(frozen=True, kw_only=True)
class MetaBatch:
    """The networks of one step, and their graphs as the hypernetwork reads them."""

    nets: tuple[PreparedNet, ...]
    graphs: GraphBatch


class NetStream(Dataset[MetaBatch]):
    """The meta-batches of a run, by number.

    The network at a position depends on the seed and that position alone: any process may prepare any meta-batch.

    Args:
        config: which networks.
        ghn: the hypernetwork they are prepared for.
        image_size: height and width of the images they will see.
        num_classes: classes they will tell apart.
        seed: of the sampling.
    """

    def __init__(
        self,
        config: NetsConfig,
        ghn: GHNConfig,
        *,
        image_size: int,
        num_classes: int,
        seed: int,
    ) -> None:
        self.config = config
        with torch.device("meta"):
            self.ghn = GHN(ghn)
        self.image_size = image_size
        self.num_classes = num_classes
        self.seed = seed

    def __getitem__(self, number: int) -> MetaBatch:
        """A meta-batch, from 0."""
        size = self.config.meta_batch
        kept: list[PreparedNet] = []
        nodes = 0
        for i in range(number * size, (number + 1) * size):
            net = self.net(i)
            nodes += net.graph.num_nodes
            if kept and nodes > self.config.max_total_nodes:
                break
            kept.append(net)
        return MetaBatch(nets=tuple(kept), graphs=self.ghn.prepare([net.graph for net in kept]))

    def net(self, position: int) -> PreparedNet:
        """The network at a position of the stream: the first acceptable one among its candidates.

        Raises:
            PredictionError: if none of a thousand candidates is within the limits.
        """
        limits = self.config
        for attempt in range(_MAX_TRIES):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "width", position, attempt))
            sampled = sample_network(limits.split, position, seed=derived_seed(self.seed, "net", attempt) % 2**31)
            config = replace(
                sampled,
                C=_choice(limits.widths, generator),
                fc_dim=_choice(limits.fc_dims, generator),
                num_classes=self.num_classes,
                is_imagenet_input=self.image_size > 64,
                auxiliary=False,
            )
            graph = network_graph(config)
            small = graph.num_params <= limits.max_params and graph.num_nodes <= limits.max_nodes
            if small and graph.macs <= limits.max_macs:
                return PreparedNet(config=config, model=config.build(device="meta"), graph=graph)
        raise PredictionError(
            f"none of {_MAX_TRIES} sampled networks has at most {limits.max_params:,} parameters, "
            f"{limits.max_macs:,} multiply-accumulates and {limits.max_nodes} nodes; raise the limits "
            "or lower the widths"
        )


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


def derived_seed(*parts: int | str) -> int:
    """A seed for one use, from the run's seed and what the use is: equal parts give equal seeds on any machine.

    >>> derived_seed(0, "images", 3) == derived_seed(0, "images", 3) != derived_seed(0, "images", 4)
    True
    """
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _choice(values: tuple[int, ...], generator: torch.Generator) -> int:
    return values[int(torch.randint(len(values), (), generator=generator))]


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # A signal to the whole process group is for the run to answer, which still needs its workers for the last step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
