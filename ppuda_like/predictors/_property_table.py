"""Properties of networks, measured or published, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.deepnets import DeepNets, NetworkConfig
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._join import joined, some
from ppuda_like.predictors._labelled import LabelledGraphs
from ppuda_like.predictors._property_files import (
    TableContents,
    read_csv,
    read_hdf5,
    table_suffix,
    write_csv,
    write_hdf5,
)

__all__ = ["PropertyTable"]

_RESERVED = ("index", "status", "structure_hash")  # columns of the files that are no properties


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PropertyTable:
    """Properties of networks of one split: a row for each network.

    Attributes:
        split: what the networks belong to.
        index: number of each network in the random stream of its split, int64 of shape ``(n,)``, no two the same.
        columns: values of each property, float64 of shape ``(n,)``, NaN where there is none.
        status: how the measurement of each network went, of length n; ``"ok"`` for all where it is not given.
        structure_hash: of each network's graph, uint64 of shape ``(n,)``; None where the source does not tell.
        meta: how the properties came about, values that JSON can hold.  ``"networks"`` tells what :meth:`labelled`
            needs to make the graphs: ``width``, ``num_classes``, ``is_imagenet_input``, and ``seed`` if they can be
            drawn anew; ``"fitted"`` as a width stands for the one that gives the number of parameters.

    Raises:
        DataError: if lengths differ, a network comes twice, or a property has a name that means something else.

    Example:
        >>> table = PropertyTable(split="test", index=[3, 5], columns={"val_acc": [0.5, float("nan")]})
        >>> table, table["val_acc"]
        (PropertyTable(test, 2 networks, val_acc), array([0.5, nan]))
    """

    split: str
    index: ArrayLike
    columns: Mapping[str, ArrayLike]
    status: Sequence[str] | None = None
    structure_hash: ArrayLike | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        index = np.asarray(self.index, dtype=np.int64)
        if index.ndim != 1:
            raise DataError(f"'index' must have shape (n,) (got {index.shape})")
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in self.columns.items()}
        status = ("ok",) * len(index) if self.status is None else tuple(map(str, self.status))
        hashes = None if self.structure_hash is None else np.asarray(self.structure_hash, dtype=np.uint64)
        lengths = {**{name: values.shape for name, values in columns.items()}, "status": (len(status),)}
        if hashes is not None:
            lengths["structure_hash"] = hashes.shape
        for name, shape in lengths.items():
            if shape != index.shape:
                raise DataError(f"'{name}' must have a value for each of {len(index)} networks (got shape {shape})")
        unusable = sorted(name for name in columns if name in _RESERVED or not name.isidentifier())
        if unusable:
            raise DataError(
                f"properties must have names like 'val_acc', and not {', '.join(_RESERVED)} (got {unusable})"
            )
        numbers, counts = np.unique(index, return_counts=True)
        if (counts > 1).any():
            raise DataError(f"networks of split '{self.split}' come more than once: {some(numbers[counts > 1])}")
        meta = json.loads(json.dumps(dict(self.meta)))  # as it will be when it comes back from a file
        values = {"index": index, "columns": columns, "status": status, "structure_hash": hashes, "meta": meta}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(np.asarray(self.index))

    def __repr__(self) -> str:
        return f"PropertyTable({self.split or '-'}, {len(self):,} networks, {', '.join(self.columns)})"

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The values of a property.

        Raises:
            DataError: if there is no such property.
        """
        if name not in self.columns:
            raise DataError(f"there is no property '{name}'; there are {', '.join(self.columns) or 'none'}")
        return np.asarray(self.columns[name])

    def labelled(self, nets: DeepNets | Sequence[NetworkConfig] | None = None, *, name: str = "") -> LabelledGraphs:
        """The graphs of the networks with their properties, for predictors to learn from.

        A network that differs from the one whose properties these are does not go unnoticed: its graph must have the
        ``structure_hash`` of the table, and the network the number of parameters in column ``num_params``, where the
        table has them.

        Args:
            nets: where the networks are: a dataset, in which they are found by their numbers in the random stream, or
                their arguments; None to draw them anew, which goes for networks of this package's splits only.
            name: of the result, for people to read; by default the name of the split.

        Raises:
            DataError: if networks are missing in ``nets``, differ from those of the table, or cannot be drawn.
        """
        graphs = [graph for _, graph in self._networks(nets)]
        return LabelledGraphs(graphs=graphs, labels=self.columns, name=name or self.split)

    def configs(self, nets: DeepNets | Sequence[NetworkConfig] | None = None) -> list[NetworkConfig]:
        """The arguments of the networks, at the width whose properties these are, to build them.

        Args:
            nets: as :meth:`labelled` takes them.

        Raises:
            DataError: as :meth:`labelled`.
        """
        return [config for config, _ in self._networks(nets)]

    def _networks(
        self, nets: DeepNets | Sequence[NetworkConfig] | None
    ) -> list[tuple[NetworkConfig, ComputationalGraph]]:
        return joined(
            self.split,
            np.asarray(self.index).tolist(),
            nets,
            self.meta.get("networks", {}),
            hashes=None if self.structure_hash is None else np.asarray(self.structure_hash).tolist(),
            num_params=self["num_params"].tolist() if "num_params" in self.columns else None,
        )

    def save(self, path: str | Path) -> None:
        """Write the table to a ``.csv`` or ``.h5`` file, by its name.

        Raises:
            DataError: if the name ends otherwise.
        """
        if table_suffix(path) == ".csv":
            self.to_csv(path)
        else:
            self.to_hdf5(path)

    @classmethod
    def load(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: as :meth:`from_csv` and :meth:`from_hdf5`, or if the name has another ending.
        """
        return cls.from_csv(path) if table_suffix(path) == ".csv" else cls.from_hdf5(path)

    def to_csv(self, path: str | Path) -> None:
        """Write the table as text: a line ``# {...}`` of JSON that says what it is, a header, a row per network.

        :meth:`from_csv` reads the same values, to the last bit.  The file appears complete or not at all.
        """
        write_csv(path, self._contents())

    @classmethod
    def from_csv(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`to_csv` wrote.

        Raises:
            DataError: if the file is missing, no such table, of a newer format, or damaged.
        """
        return cls._made(path, read_csv(path))

    def to_hdf5(self, path: str | Path) -> None:
        """Write the table as HDF5, with checksums: ``index``, ``status``, ``structure_hash``, ``columns/NAME``.

        :meth:`from_hdf5` reads the same values, to the last bit.  The file appears complete or not at all.
        """
        write_hdf5(path, self._contents())

    @classmethod
    def from_hdf5(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`to_hdf5` wrote.

        Raises:
            DataError: if the file is missing, no such table, of a newer format, or damaged.
        """
        return cls._made(path, read_hdf5(path))

    def _contents(self) -> TableContents:
        return TableContents(
            split=self.split,
            meta=dict(self.meta),
            index=np.asarray(self.index),
            status=tuple(self.status or ()),
            structure_hash=None if self.structure_hash is None else np.asarray(self.structure_hash),
            columns={name: np.asarray(values) for name, values in self.columns.items()},
        )

    @classmethod
    def _made(cls, path: str | Path, found: TableContents) -> PropertyTable:
        try:
            return cls(**vars(found))
        except DataError as error:
            raise DataError(f"'{path}' is damaged: {error}") from error
