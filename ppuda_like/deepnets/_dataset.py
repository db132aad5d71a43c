"""A store of networks as a torch-geometric dataset."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
import torch
from torch import Tensor

from ppuda_like.deepnets._columns import EDGES, GENOTYPES, NODES, RAGGED, TABLE, RaggedColumn
from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._genotype import Genotype
from ppuda_like.deepnets._graph import network_graph
from ppuda_like.deepnets._network import Network
from ppuda_like.deepnets._record import ARGUMENTS, FIGURES, NetRecord, decode_arguments, decode_genotype
from ppuda_like.deepnets._store import SplitFacts, connect, open_store, read_column, reading, split_facts, split_group
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, all_pairs_distance

with warnings.catch_warnings():
    # On import torch-geometric scripts a few functions, which torch deprecates; nothing of ours.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.data import Data, Dataset

__all__ = ["DeepNets", "Draw"]


class Draw(NamedTuple):
    """A network of a dataset at a width of its own; a :class:`MetaBatchSampler` makes them.

    Attributes:
        net: number of the network in the dataset.
        C: channels of the first cells.
        fc_dim: width of the hidden layer of the classifier.
    """

    net: int
    C: int
    fc_dim: int


class DeepNets(Dataset):  # type: ignore[misc]  # torch-geometric has no types
    """The networks of one split of a store, as graphs (arXiv:2110.13100, section 3.1).

    ``dataset[i]`` is a torch-geometric ``Data`` with, for the n primitives of network i:

    - ``x``: long ``(n, 1)``, index of each primitive in the vocabulary ``ppuda``;
    - ``node_shape``: long ``(n, 4)``, shape feature of each node, zeros where it has none;
    - ``cell``: long ``(n,)``, the cell of each node;
    - ``edge_index``: long ``(2, num_edges)``;
    - ``virtual_edge_index`` and ``virtual_distance``, the pairs joined by a path and its length, where
      ``virtual_cutoff`` is given: found at load and cached, never stored;
    - ``net``: number of the network in this dataset, i; ``num_nodes``.

    Slices, lists of numbers and boolean masks give a dataset of some of the networks, as in torch-geometric, which
    numbers them from 0 and shares the cache.  A :class:`Draw` gives the network at another width: ``node_shape`` is
    that of this width, which ``C`` and ``fc_dim`` tell.  The file is opened when first needed, in each process anew,
    so that workers may be forked or spawned.

    Args:
        path: a store that :func:`generate` or :func:`import_ppuda` wrote.
        split: one of its splits.
        virtual_cutoff: length of the longest virtual edge, 50 in GHN-2; None for no virtual edges.
        cache: networks whose virtual edges each process keeps; those of a network are then the same tensors each time,
            not to be changed.
        transform: applied to each ``Data`` when it is read.

    Raises:
        DataError: if the file is missing, no store, of a newer format or damaged, or does not hold the split.

    Example:
        >>> import tempfile
        >>> from ppuda_like.deepnets import generate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = generate("test", 20, Path(folder) / "nets.h5").path
        ...     small = DeepNets(path, "test")
        ...     small = small[small.table()["num_params_cifar10"] < 1e6]
        ...     bool(small[0].num_nodes == network_graph(small.config(0)).num_nodes)
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str,
        *,
        virtual_cutoff: int | None = None,
        cache: int = 128,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.split = split
        self.virtual_cutoff = virtual_cutoff
        self._cache_size = cache
        self._handle: _Handle | None = None
        self._virtual: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()
        with open_store(path) as file:
            group = split_group(file, split)
            self.facts: SplitFacts = split_facts(group)
            with reading(path):
                self._num_nets = len(group["table/index"])
        super().__init__(transform=transform)

    def len(self) -> int:
        """Number of networks in the split."""
        return self._num_nets

    def get(self, idx: int) -> Data:
        """See the class; ``idx`` counts the networks of the split."""
        found = self._open().read(idx)
        data = Data(
            x=torch.from_numpy(found.primitive).unsqueeze(1),
            edge_index=torch.from_numpy(found.edge_index),
            node_shape=torch.from_numpy(found.shape),
            cell=torch.from_numpy(found.cell),
            net=idx,
            num_nodes=found.num_nodes,
        )
        if self.virtual_cutoff is not None:
            data.virtual_edge_index, data.virtual_distance = self._virtual_edges(idx, data)
        return data

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, Draw):
            draw, number = idx, self._number(idx.net)
        elif isinstance(idx, int | np.integer) or (isinstance(idx, Tensor | np.ndarray) and idx.ndim == 0):
            draw, number = None, self._number(int(idx))
        else:
            return self.index_select(idx)
        data = self.get(self._row(number))
        data.net = number  # not the row, which differs where networks have been selected
        if draw is not None:
            graph = self.graph(number, C=draw.C, fc_dim=draw.fc_dim)
            data.node_shape = torch.tensor(graph.node_shapes())
            data.C, data.fc_dim = draw.C, draw.fc_dim
        return data if self.transform is None else self.transform(data)

    def index_select(self, idx: Any) -> DeepNets:
        """Some of the networks, as a dataset.

        Args:
            idx: a slice, numbers, or a mask with a boolean for each network.

        Raises:
            IndexError: if there is no such network, or the mask has another length.
        """
        if not isinstance(idx, slice):
            chosen = idx.cpu().numpy() if isinstance(idx, Tensor) else np.asarray(idx)
            if chosen.dtype == bool:
                if chosen.shape != (len(self),):
                    raise IndexError(
                        f"a mask must have shape ({len(self)},), one entry per network (got {chosen.shape})"
                    )
                chosen = np.flatnonzero(chosen)
            if chosen.ndim == 1 and (chosen.dtype.kind in "iu" or not chosen.size):
                idx = [self._number(number) for number in chosen.tolist()]
        selected: DeepNets = super().index_select(idx)
        return selected

    def table(self) -> dict[str, np.ndarray]:
        """A column of numbers for each fact of the networks, for filters and statistics; read once.

        ``index``, number in the random stream; ``num_nodes``, ``num_edges``, ``depth`` (longest path, in edges);
        ``num_params_cifar10``, for 32x32 images and 10 classes, and ``num_params_imagenet``, for 224x224 images and
        1,000 classes; ``flops_cifar10``, ``flops_imagenet``, of one image, a multiply-accumulate counting as two;
        ``structure_hash``; ``rejected_*``, candidates that were passed over, by reason; and the arguments of
        :class:`NetworkConfig` but for the genotype.

        Example:
            ``dataset[dataset.table()["num_params_cifar10"] < 1e6]``
        """
        rows = np.asarray(self.indices(), dtype=np.int64)
        return {name: values[rows] for name, values in self._open().table.items()}

    def config(self, i: int) -> NetworkConfig:
        """The arguments of a network, for 32x32 images and 10 classes."""
        return self._open().config(self._row(i))

    def genotype(self, i: int) -> Genotype:
        """The genotype of a network."""
        return self._open().genotype(self._row(i))

    def graph(self, i: int, **changes: Any) -> ComputationalGraph:
        """The graph of a network in the vocabulary ``ppuda``, with the names and shapes of all parameters.

        Args:
            i: number of the network.
            changes: arguments that replace the stored ones.
        """
        return network_graph(self.config(i).replace(**changes))

    def network(
        self, i: int, num_classes: int = 10, *, device: torch.device | str | None = None, **changes: Any
    ) -> Network:
        """A network as a module, with torch's default initialisation.

        Args:
            i: number of the network.
            num_classes: outputs.
            device: where to; ``"meta"`` takes no memory.
            changes: arguments that replace the stored ones, ``C`` or ``is_imagenet_input`` for instance.
        """
        return self.config(i).replace(num_classes=num_classes, **changes).build(device)

    def record(self, i: int) -> NetRecord:
        """All that is stored of a network."""
        row, handle = self._row(i), self._open()
        found = handle.read(row)
        return NetRecord(
            config=handle.config(row),
            figures={name: int(handle.table[name][row]) for name in FIGURES},
            primitive=found.primitive,
            cell=found.cell,
            name=tuple(handle.names[number] for number in found.name.tolist()),
            shape=found.shape,
            edge_index=found.edge_index,
        )

    def __copy__(self) -> DeepNets:
        copied = object.__new__(type(self))  # networks selected or shuffled: the open file and the cache are shared
        copied.__dict__.update(self.__dict__)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_virtual": OrderedDict()}  # open files do not travel

    def __repr__(self) -> str:
        return f"DeepNets('{self.path}', '{self.split}', {len(self):,} networks)"

    def _row(self, i: int) -> int:
        return int(self.indices()[self._number(i)])

    def _number(self, i: int) -> int:
        """A number, of which those below 0 count from the end, as one from 0 on."""
        if not -len(self) <= i < len(self):
            known = f"networks 0..{len(self) - 1}" if len(self) else "no networks"
            raise IndexError(f"the dataset has {known} (got {i})")
        return i % len(self)

    def _open(self) -> _Handle:
        if self._handle is None or self._handle.process != os.getpid():  # a handle must not be shared by forked workers
            self._handle = _Handle(self.path, self.split)
        return self._handle

    def _virtual_edges(self, idx: int, data: Data) -> tuple[Tensor, Tensor]:
        cached = self._virtual.get(idx)
        if cached is None:
            pairs = all_pairs_distance(cast(Tensor, data.edge_index), cast(int, data.num_nodes), self.virtual_cutoff)
            cached = (pairs.edge_index, pairs.distance)
            if self._cache_size:
                self._virtual[idx] = cached
                if len(self._virtual) > self._cache_size:
                    self._virtual.popitem(last=False)
        else:
            self._virtual.move_to_end(idx)
        return cached


class _Nodes(NamedTuple):
    primitive: np.ndarray
    cell: np.ndarray
    name: np.ndarray
    shape: np.ndarray
    edge_index: np.ndarray

    @property
    def num_nodes(self) -> int:
        return len(self.primitive)


class _Handle:
    """A split of an open file, in one process."""

    def __init__(self, path: Path, split: str) -> None:
        self.process = os.getpid()
        self.file = connect(path)
        self.group: h5py.Group = split_group(self.file, split)
        with reading(path):
            self._datasets = {column.name: self.group[column.name] for column in RAGGED}

    @cached_property
    def pointers(self) -> dict[str, np.ndarray]:
        return {column.name: self._column(column.pointer) for column in RAGGED}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name.decode() for name in self._column("names").tolist())

    @cached_property
    def shapes(self) -> np.ndarray:
        return self._column("shapes").T.astype(np.int64)

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        sizes = {"num_nodes": np.diff(self.pointers["nodes"]), "num_edges": np.diff(self.pointers["edges"])}
        return sizes | {name: self._column(f"table/{name}") for name in TABLE}

    def read(self, row: int) -> _Nodes:
        """The graph of a network."""
        fields = self._rows(NODES, row)
        offset = self._rows(EDGES, row)
        primitive, cell, name, shape, degree = fields.astype(np.int64)
        target = np.repeat(np.arange(fields.shape[1]), degree)
        if len(target) != len(offset):
            raise DataError(
                f"network {row} of '{self.file.filename}' has {len(offset)} edges, its nodes say {len(target)}; "
                "the file is damaged"
            )
        return _Nodes(primitive, cell, name, self.shapes[shape], np.stack((target - offset, target)))

    def genotype(self, row: int) -> Genotype:
        return decode_genotype(self._rows(GENOTYPES, row).tobytes())

    def config(self, row: int) -> NetworkConfig:
        return decode_arguments({name: self.table[name][row].item() for name in ARGUMENTS}, self.genotype(row))

    def _column(self, name: str) -> np.ndarray:
        with reading(self.file.filename):
            dataset = self.group[name]
        return read_column(dataset)

    def _rows(self, column: RaggedColumn, row: int) -> np.ndarray:
        pointer = self.pointers[column.name]
        return read_column(self._datasets[column.name], slice(int(pointer[row]), int(pointer[row + 1])))
