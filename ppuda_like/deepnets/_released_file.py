"""The files of the released DeepNets-1M, read with distrust."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._released_terms import primitive_name, to_config
from ppuda_like.deepnets._split import SPLITS
from ppuda_like.deepnets._store import reading
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA

__all__ = ["MOST_NODES", "ReleasedNet", "ReleasedSplit", "about", "open_released", "read_json", "splits_to_read"]

MOST_NODES = 10_000
"""Nodes of the largest network that is read."""


@dataclass(frozen=True, eq=False)
class ReleasedNet:
    """One network as the files have it; nodes and edges as in :class:`NetRecord`."""

    num_nodes: int
    num_params: dict[str, int]
    primitive: np.ndarray
    cell: np.ndarray
    name: tuple[str, ...]
    adjacency: np.ndarray
    edge_index: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleasedSplit:
    """A split of the released files.

    Attributes:
        split: its name.
        path: the HDF5 file.
        meta_path: the JSON file.
        group: its group in the HDF5 file.
        numbers: of its networks, in ascending order.
        nets: what the JSON file says of them, in the same order.
        primitives: for each number of a primitive in the file, its number in the vocabulary.
        names: for each number of a name in the file, the name.
    """

    split: str
    path: Path
    meta_path: Path
    group: h5py.Group
    numbers: list[int]
    nets: list[Any]
    primitives: dict[int, int]
    names: dict[int, str]

    @classmethod
    def open(cls, file: h5py.File, path: Path, meta: Mapping[str, Any], meta_path: Path, split: str) -> ReleasedSplit:
        """A split, once it is clear that both files belong together."""
        try:
            nets, tables = meta[split]["nets"], meta[split]["meta"]
            primitives = {int(key): str(name) for key, name in tables["primitives_ext"].items()}
            names = {int(key): str(name) for key, name in tables["unique_op_names"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"'{meta_path}' does not describe split '{split}' as the released files do, by 'nets', "
                f"'meta/primitives_ext' and 'meta/unique_op_names'; choose the JSON file that belongs to '{path}'"
            ) from error
        unknown = sorted(name for name in primitives.values() if primitive_name(name) not in PPUDA.index)
        if unknown:
            raise DataError(
                f"'{meta_path}' names the primitives {unknown} in split '{split}'; there are {list(PPUDA.primitives)}, "
                "with kernel sizes like 'conv_1x1'"
            )
        with reading(path):
            keys = list(file[split])
        odd = next((key for key in keys if not re.fullmatch("0|[1-9][0-9]{0,17}", key)), None)
        if odd is not None or not keys:
            raise DataError(
                f"split '{split}' of '{path}' holds {'nothing' if odd is None else repr(odd)} where networks are "
                "numbered '0', '1', ...; it is no file of the released DeepNets-1M (a store needs no import)"
            )
        if not isinstance(nets, list) or len(nets) != len(keys):
            count = len(nets) if isinstance(nets, list) else "no"
            raise DataError(
                f"'{path}' holds {len(keys)} networks of split '{split}', '{meta_path}' {count}; the files do not "
                "belong together, or one was cut short"
            )
        return cls(
            split=split,
            path=path,
            meta_path=meta_path,
            group=file[split],
            numbers=sorted(map(int, keys)),
            nets=nets,
            primitives={key: PPUDA.index[primitive_name(name)] for key, name in primitives.items()},
            names=names,
        )

    def config(self, place: int) -> NetworkConfig:
        """The arguments of a network."""
        with about(self.where(place, self.meta_path)):
            return to_config(self.nets[place], self.split)

    def read(self, place: int) -> ReleasedNet:
        """What the files say of a network whose arguments are valid."""
        with about(self.where(place, self.path)):
            adjacency = self._array(place, "adj")
            nodes = self._array(place, "nodes")
            num_nodes = len(adjacency)
            if adjacency.shape != (num_nodes, num_nodes):
                raise DataError(f"'adj' must be a square matrix (got {adjacency.shape})")
            if nodes.shape != (num_nodes, 3):
                raise DataError(f"'nodes' must have three columns and {num_nodes} rows as 'adj' (got {nodes.shape})")
            target, source = np.nonzero(adjacency.T == 1)
            backward = np.flatnonzero(source >= target)
            if len(backward):
                edge = f"{source[backward[0]]} to {target[backward[0]]}"
                raise DataError(f"'adj' must be in topological order (got an edge from {edge})")
            primitive, cell, name = nodes.T.tolist()
            for kind, numbers, known in (("primitive", primitive, self.primitives), ("name", name, self.names)):
                unknown = set(numbers) - known.keys()
                if unknown:
                    raise DataError(f"'nodes' has {kind} {min(unknown)}, which '{self.meta_path}' does not know")
        stated = self.nets[place]
        return ReleasedNet(
            num_nodes=stated["num_nodes"],
            num_params=stated["num_params"],
            primitive=np.array([self.primitives[number] for number in primitive], dtype=np.int64),
            cell=np.array(cell, dtype=np.int64),
            name=tuple(self.names[number] for number in name),
            adjacency=adjacency,
            edge_index=np.stack((source, target)),
        )

    def where(self, place: int, path: Path) -> str:
        """A network of one of the files, for errors."""
        return f"network {self.numbers[place]} of split '{self.split}' in '{path}'"

    def _array(self, place: int, name: str) -> np.ndarray:
        """A matrix of whole numbers that lies in the file itself, and is of a size that can be."""
        with reading(self.path):
            number = str(self.numbers[place])
            key = f"{number}/{name}"
            links = [self.group.get(path, getlink=True) for path in (number, key)]
            if not all(isinstance(link, h5py.HardLink) for link in links):
                raise DataError(f"'{name}' is missing, or lies in another place")
            dataset = self.group[key]
            if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
                raise DataError(f"'{name}' must be an array in this file")
            kind, shape = dataset.dtype, dataset.shape
            if kind.kind not in "iu" or kind.itemsize > 4 or len(shape) != 2 or not 0 < max(shape) <= MOST_NODES:
                raise DataError(
                    f"'{name}' must be a matrix of integers, 32 bits at most, for 1..{MOST_NODES} nodes "
                    f"(got {kind} of shape {shape})"
                )
            values: np.ndarray = dataset[()]
        return values


@contextmanager
def open_released(path: Path) -> Iterator[h5py.File]:
    """A file that is not trusted, open for reading."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'; the released ones are called deepnets1m_*.hdf5") from error
    except OSError as error:
        raise DataError(f"'{path}' is no HDF5 file, or cut short: {error}; fetch or unpack it anew") from error
    try:
        yield file
    finally:
        with suppress(RuntimeError):  # a damaged file may refuse to be closed
            file.close()


def splits_to_read(file: h5py.File, path: Path, split: str | None) -> Sequence[str]:
    """The splits to read."""
    with reading(path):
        found = sorted(file)
        groups = [name for name in found if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        groups = [name for name in groups if name in SPLITS and isinstance(file[name], h5py.Group)]
    if split is not None and split not in groups:
        raise DataError(f"'{path}' holds no split '{split}'; it holds {', '.join(groups) or 'none'}")
    if split is None and (not found or groups != found):
        raise DataError(
            f"'{path}' is no file of the released DeepNets-1M: it holds {', '.join(found) or 'nothing'}, not groups "
            f"named as the splits {', '.join(SPLITS)}"
        )
    return groups if split is None else [split]


def read_json(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'; the released ones are called deepnets1m_*_meta.json") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is no JSON file, or cut short: {error}; fetch it anew") from error
    if not isinstance(found, dict):
        raise DataError(f"'{path}' must hold a table of splits (got {type(found).__name__})")
    return found


@contextmanager
def about(where: str) -> Iterator[None]:
    """Say which network an error is about."""
    try:
        yield
    except (DataError, NetworkError) as error:
        raise DataError(f"{where} cannot be read: {error}; fetch the file anew, or leave the network out") from error
