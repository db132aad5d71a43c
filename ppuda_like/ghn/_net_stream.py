"""The endless stream of networks that a hypernetwork is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ppuda_like.deepnets import NetworkConfig, sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import GraphBatch
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._train_config import NetsConfig
from ppuda_like.graph import ComputationalGraph, trace

__all__ = ["MetaBatch", "NetStream", "PreparedNet", "derived_seed", "meta_batches"]

_MAX_TRIES = 1_000
_MAX_DOUBLINGS = 30


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
    """The meta-batches of a run, in order; each serves ``repeat`` steps.

    The network at a position depends on the seed and that position alone: any process may prepare any meta-batch.

    Args:
        config: which networks.
        ghn: the hypernetwork they are prepared for.
        image_size: height and width of the images they will see.
        num_classes: classes they will tell apart.
        seed: of the sampling.
        start: number of the first meta-batch.
        stop: number after the last.
    """

    def __init__(
        self,
        config: NetsConfig,
        ghn: GHNConfig,
        *,
        image_size: int,
        num_classes: int,
        seed: int,
        start: int,
        stop: int,
    ) -> None:
        self.config = config
        with torch.device("meta"):
            self.ghn = GHN(ghn)
        self.image_size = image_size
        self.num_classes = num_classes
        self.seed = seed
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        """Number of meta-batches."""
        return self.stop - self.start

    def __getitem__(self, position: int) -> MetaBatch:
        """The meta-batch number ``start + position``."""
        size = self.config.meta_batch
        number = self.start + position
        different = self._different(number)
        kept: list[PreparedNet] = []
        nodes = 0
        for i in range(number * size, (number + 1) * size):
            net = self.net(i % different if different else i)
            nodes += net.graph.num_nodes
            if kept and nodes > self.config.max_total_nodes:
                break
            kept.append(net)
        return MetaBatch(nets=tuple(kept), graphs=self.ghn.prepare([net.graph for net in kept]))

    def _different(self, number: int) -> int:
        """Number of different networks up to a meta-batch; 0 once there is no bound."""
        doublings = number * self.config.repeat // self.config.doubling if self.config.doubling else _MAX_DOUBLINGS
        return self.config.meta_batch << doublings if doublings < _MAX_DOUBLINGS else 0

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
            model = config.build(device="meta")
            graph = trace(model, input_shape=(1, 3, self.image_size, self.image_size))
            if graph.num_params <= limits.max_params and graph.macs <= limits.max_macs:
                lowered = graph.lower("ppuda")
                if lowered.num_nodes <= limits.max_nodes:
                    return PreparedNet(config=config, model=model, graph=lowered)
        raise PredictionError(
            f"none of {_MAX_TRIES} sampled networks has at most {limits.max_params:,} parameters, "
            f"{limits.max_macs:,} multiply-accumulates and {limits.max_nodes} nodes; raise the limits or lower the widths"
        )


def meta_batches(stream: NetStream, workers: int) -> Iterator[MetaBatch]:
    """The stream's meta-batches in order, prepared ahead by worker processes where there are any."""
    if workers == 0:
        yield from map(stream.__getitem__, range(len(stream)))
    else:
        yield from DataLoader(
            stream, batch_size=None, num_workers=workers, prefetch_factor=8, worker_init_fn=_one_thread
        )


def derived_seed(*parts: int | str) -> int:
    """A seed for one use, from the run's seed and what the use is: equal parts give equal seeds on any machine.

    >>> derived_seed(0, "images", 3) == derived_seed(0, "images", 3) != derived_seed(0, "images", 4)
    True
    """
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _choice(values: tuple[int, ...], generator: torch.Generator) -> int:
    return values[int(torch.randint(len(values), (), generator=generator))]


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
