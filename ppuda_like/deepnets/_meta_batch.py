"""Meta-batches: the networks of a dataset, a few at a time, for training a hypernetwork on them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from ppuda_like.deepnets._count import count_parameters
from ppuda_like.deepnets._dataset import DeepNets, Draw
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._width import sample_width

__all__ = ["MetaBatchSampler"]

_log = logging.getLogger(__name__)


class MetaBatchSampler(Sampler[list[Draw] | list[int]]):
    """Random meta-batches of a dataset (arXiv:2110.13100, section 4), for a loader's ``batch_sampler``.

    An iteration is one pass: every network comes up once, in a new order.  A meta-batch takes networks until it holds
    ``meta_batch`` of them, or until the next one would take it over ``max_nodes`` nodes, which then begins the next
    meta-batch; so some are smaller, and so may be the last one.  (The published training skips a meta-batch over the
    limit, and its networks with it.)  A network that is over the limit by itself is left out, in all passes.

    The order and the widths of a pass follow from what is drawn from the generator for its first meta-batch.  Equal
    generators give equal meta-batches with any number of workers, whether or not a pass is followed to its end.

    The length is the number of meta-batches in a pass, where it does not depend on the order: where any ``meta_batch``
    networks are within ``max_nodes``.  Elsewhere there is none, and asking for it is a :class:`TypeError`.

    Args:
        dataset: where the networks come from, some networks of another dataset for instance.
        meta_batch: most networks in a meta-batch.
        max_nodes: most nodes in a meta-batch; None for no limit.
        widths: whether networks come as :class:`Draw`, each at a width drawn by :func:`sample_width`; else as numbers.
        generator: where randomness comes from; None for a new one in each pass, seeded by torch's global one.

    Attributes:
        left_out: how many networks have more than ``max_nodes`` nodes.

    Raises:
        NetworkError: if a limit is not positive, or no network is within ``max_nodes``.

    Example:
        >>> import tempfile
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from torch_geometric.loader import DataLoader
        >>> from ppuda_like.deepnets import generate
        >>> with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
        ...     path = generate("train", 20, f"{folder}/nets.h5", executor=executor).path
        ...     dataset = DeepNets(path, "train", virtual_cutoff=50)
        ...     sampler = MetaBatchSampler(dataset, 8, max_nodes=None, generator=torch.Generator().manual_seed(0))
        ...     [(batch.num_graphs, len(batch.C)) for batch in DataLoader(dataset, batch_sampler=sampler)]
        [(8, 8), (8, 8), (4, 4)]
    """

    def __init__(
        self,
        dataset: DeepNets,
        meta_batch: int,
        *,
        max_nodes: int | None = 2200,
        widths: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, value in (("meta_batch", meta_batch), ("max_nodes", max_nodes)):
            if value is not None and value < 1:
                raise NetworkError(f"'{name}' must be positive (got {value})")
        self.dataset = dataset
        self.meta_batch = meta_batch
        self.max_nodes = max_nodes
        self.widths = widths
        self.generator = generator
        table = dataset.table()
        self._num_nodes, self._num_params = table["num_nodes"], table["num_params_cifar10"]
        self._limit = math.inf if max_nodes is None else max_nodes
        self._nets = np.flatnonzero(self._num_nodes <= self._limit)
        self.left_out = len(self._num_nodes) - len(self._nets)
        if not len(self._nets):
            raise NetworkError(f"none of {self.left_out} networks has at most {max_nodes} nodes; raise 'max_nodes'")
        if self.left_out:
            _log.warning(
                "%d of %d networks have more than %d nodes and are left out",
                self.left_out,
                len(self._num_nodes),
                self._limit,
            )

    def __iter__(self) -> Iterator[list[Draw] | list[int]]:
        generator = self.generator  # nothing is drawn before the first meta-batch: loaders may begin twice
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        # All at once: meta-batches that are fetched ahead, or never, leave the generator the same.
        order = torch.randperm(len(self._nets), generator=generator)
        seed = int(torch.randint(1 << 62, (), generator=generator))
        rng = np.random.default_rng(seed)
        for batch in self._batches(self._nets[order.numpy()].tolist()):
            yield [self._draw(net, rng) for net in batch] if self.widths else batch

    def __len__(self) -> int:
        largest = np.sort(self._num_nodes[self._nets])[-self.meta_batch :]
        if largest.sum() > self._limit:
            raise TypeError(
                f"the number of meta-batches depends on the order of the networks: {self.meta_batch} of them may have "
                f"more than {self.max_nodes} nodes; it is known with 'max_nodes' of None, or at least {largest.sum()}"
            )
        return -(-len(self._nets) // self.meta_batch)

    def _batches(self, nets: list[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        nodes = 0
        for net in nets:
            size = int(self._num_nodes[net])
            if batch and (len(batch) == self.meta_batch or nodes + size > self._limit):
                yield batch
                batch, nodes = [], 0
            batch.append(net)
            nodes += size
        yield batch

    def _draw(self, net: int, rng: np.random.Generator) -> Draw:
        config = self.dataset.config(net)
        # The rule is about the number at C=32, at which all splits but 'wide' are stored.
        num_params = int(self._num_params[net]) if config.C == 32 else count_parameters(config.replace(C=32))
        return Draw(net, *sample_width(config, num_params, rng))
