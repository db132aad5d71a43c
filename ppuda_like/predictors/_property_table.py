"""Properties of networks, measured or published, as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like._files import replacing
from ppuda_like.deepnets import DeepNets, NetworkConfig, count_parameters
from ppuda_like.errors import DataError
from ppuda_like.graph import structure_hash
from ppuda_like.predictors._labelled import LabelledGraphs
from ppuda_like.predictors._network_source import NetworkSource, network_source

__all__ = ["PropertyTable"]

_FORMAT = "ppuda-like properties"
_VERSION = 1
_KEYS = ("index", "status", "structure_hash")  # columns that are no properties
_SHOWN = 5  # networks that a message names at most


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PropertyTable:
    """Properties of networks of one split: a row for each network.

    Attributes:
        split: what the networks belong to.
        index: number of each network in the split, int64 of shape ``(n,)``, no two the same.
        columns: values of each property, float64 of shape ``(n,)``, NaN where there is none.
        status: how the measurement of each network went, of length n; ``"ok"`` for all where it is not given.
        structure_hash: of each network's graph, uint64 of shape ``(n,)``; None where the source does not tell.
        meta: how the properties came about, values that JSON can hold.  ``"networks"`` tells what
            :meth:`labelled` needs to make the graphs: ``seed``, ``width``, ``num_classes`` and ``is_imagenet_input``.

    Raises:
        DataError: if lengths differ, a network comes twice, or a property has a name that means something else.

    Example:
        >>> table = PropertyTable(split="test", index=[3, 5], columns={"val_acc": [0.5, float("nan")]})
        >>> table
        PropertyTable(test, 2 networks, val_acc)
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
        unusable = sorted(name for name in columns if name in _KEYS or not name.isidentifier())
        if unusable:
            raise DataError(f"properties must have names like 'val_acc', and not {', '.join(_KEYS)} (got {unusable})")
        numbers, counts = np.unique(index, return_counts=True)
        if (counts > 1).any():
            raise DataError(f"networks of split '{self.split}' come more than once: {_some(numbers[counts > 1])}")
        values = {"index": index, "columns": columns, "status": status, "structure_hash": hashes}
        for name, value in (values | {"meta": json.loads(json.dumps(dict(self.meta)))}).items():
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

    # ------------------------------------------------------------------------------------------------- graphs

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
        facts = dict(self.meta.get("networks", {}))
        if nets is None and "seed" not in facts:
            raise DataError(
                f"the networks of split '{self.split}' in this table were not drawn by this package; give the dataset "
                "that holds them"
            )
        if isinstance(nets, DeepNets) and nets.split != self.split:
            raise DataError(f"the properties are of split '{self.split}', the dataset holds split '{nets.split}'")
        seed = facts.pop("seed", None) if nets is None else None
        source = network_source(
            self.split if nets is None else nets,
            seed=seed,
            **{key: value for key, value in facts.items() if key != "seed"},
        )
        return LabelledGraphs(graphs=self._graphs(source), labels=self.columns, name=name or self.split)

    def _graphs(self, source: NetworkSource) -> list[Any]:
        place = source.places()
        index = np.asarray(self.index).tolist()
        missing = [] if place is None else [number for number in index if number not in place]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(index)} networks of split '{self.split}' are not among the "
                f"{len(place or ())} given: {_some(missing)}"
            )
        numbers = index if place is None else [place[number] for number in index]
        graphs = [source.graph(number) for number in numbers]
        if self.structure_hash is not None:
            wanted = np.asarray(self.structure_hash).tolist()
            other = [i for i, graph, known in zip(index, graphs, wanted, strict=True) if structure_hash(graph) != known]
            if other:
                raise DataError(
                    f"{len(other)} of {len(index)} networks of split '{self.split}' have another graph than those "
                    f"whose properties these are: {_some(other)}; they were drawn by another version, with another "
                    "seed, or at another width"
                )
        if "num_params" in self.columns:
            differ = []
            for i, number, graph, wanted_count in zip(index, numbers, graphs, self["num_params"].tolist(), strict=True):
                # Some sources count what the forward pass never touches, and some do not.
                counts = (count_parameters(source.config(number)), graph.num_params)
                if not np.isnan(wanted_count) and wanted_count not in counts:
                    differ.append(f"{i} ({counts[0]:,}, not {int(wanted_count):,})")
            if differ:
                raise DataError(
                    f"{len(differ)} of {len(index)} networks of split '{self.split}' have another number of parameters "
                    f"than those whose properties these are: {_some(differ)}"
                )
        return graphs

    # -------------------------------------------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the table to a ``.csv`` or ``.h5`` file, by its name.

        Raises:
            DataError: if the name ends otherwise.
        """
        {".csv": self.to_csv, ".h5": self.to_hdf5}[table_suffix(path)](path)

    @classmethod
    def load(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: as :meth:`from_csv` and :meth:`from_hdf5`, or if the name has another ending.
        """
        return {".csv": cls.from_csv, ".h5": cls.from_hdf5}[table_suffix(path)](path)

    def to_csv(self, path: str | Path) -> None:
        """Write the table as text: a line ``# {...}`` of JSON that says what it is, a header, a row per network.

        :meth:`from_csv` reads the same values, to the last bit.  The file appears complete or not at all.
        """
        head = {"format": _FORMAT, "version": _VERSION, "split": self.split, "networks": len(self), "meta": self.meta}
        rows = self._rows()
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {json.dumps(head)}\n")
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _rows(self) -> Iterable[Sequence[str]]:
        yield (*_KEYS, *self.columns)
        index, status = np.asarray(self.index).tolist(), self.status or ()
        hashes = [""] * len(self)
        if self.structure_hash is not None:
            hashes = [f"{value:016x}" for value in np.asarray(self.structure_hash).tolist()]
        columns = [np.asarray(values).tolist() for values in self.columns.values()]
        for place, number in enumerate(index):
            values = ("" if np.isnan(column[place]) else repr(column[place]) for column in columns)
            yield (str(number), status[place], hashes[place], *values)

    @classmethod
    def from_csv(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`to_csv` wrote.

        Raises:
            DataError: if the file is missing, no such table, of a newer format, or damaged.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"'{path}' is no table of properties: it is not text") from error
        first, _, rest = text.partition("\n")
        try:
            head = json.loads(first.removeprefix("# ")) if first.startswith("# {") else None
        except json.JSONDecodeError as error:
            raise DataError(f"'{path}' is damaged: its first line is no JSON ({error})") from error
        _check_head(head, path)
        try:
            names, *rows = csv.reader(io.StringIO(rest), strict=True)
            if tuple(names[: len(_KEYS)]) != _KEYS or any(len(row) != len(names) for row in rows):
                raise DataError(f"its columns must be {', '.join(_KEYS)} and properties, in all rows")
            if len(rows) != head["networks"]:
                raise DataError(f"it holds {len(rows)} networks, {head['networks']} were written")
            index, status, hashes, *columns = zip(*rows, strict=True) if rows else [()] * len(names)
            known = [int(value, 16) for value in hashes if value]
            if len(known) not in (0, len(rows)):
                raise DataError("some networks have a structure hash and some have none")
            return cls(
                split=head["split"],
                index=[int(value) for value in index],
                status=status,
                structure_hash=np.array(known, dtype=np.uint64) if known else None,
                columns={
                    name: [float(value) if value else np.nan for value in values]
                    for name, values in zip(names[len(_KEYS) :], columns, strict=True)
                },
                meta=head["meta"],
            )
        except (csv.Error, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"'{path}' is damaged: {error}") from error

    def to_hdf5(self, path: str | Path) -> None:
        """Write the table as HDF5, with checksums: ``index``, ``status``, ``structure_hash``, ``columns/NAME``.

        :meth:`from_hdf5` reads the same values, to the last bit.  The file appears complete or not at all.
        """
        status = np.array([value.encode() for value in self.status or ()], dtype="S")
        found = {"index": self.index, "status": status if len(status) else status.astype("S1")}
        if self.structure_hash is not None:
            found["structure_hash"] = self.structure_hash
        found |= {f"columns/{name}": values for name, values in self.columns.items()}
        head = {"format": _FORMAT, "version": _VERSION, "split": self.split, "networks": len(self), "meta": self.meta}
        with replacing(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["head"] = json.dumps(head | {"columns": list(self.columns)})
            for name, values in found.items():
                file.create_dataset(
                    name, data=np.asarray(values), fletcher32=len(self) > 0, chunks=len(self) > 0 or None
                )

    @classmethod
    def from_hdf5(cls, path: str | Path) -> PropertyTable:
        """Read what :meth:`to_hdf5` wrote.

        Raises:
            DataError: if the file is missing, no such table, of a newer format, or damaged.
        """
        try:
            with h5py.File(path, "r") as file:
                text = file.attrs.get("head")
                head = json.loads(text) if isinstance(text, str) else None
                _check_head(head, path)
                return cls(
                    split=head["split"],
                    index=file["index"][:],
                    status=[value.decode() for value in file["status"][:].tolist()],
                    structure_hash=file["structure_hash"][:] if "structure_hash" in file else None,
                    columns={name: file[f"columns/{name}"][:] for name in head["columns"]},
                    meta=head["meta"],
                )
        except FileNotFoundError as error:
            raise DataError(f"there is no file '{path}'") from error
        except DataError:
            raise
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(f"'{path}' is no table of properties, or damaged: {reason}") from error


def table_suffix(path: str | Path) -> str:
    """The ending of a table's file.

    Raises:
        DataError: if it is none that tables have.
    """
    suffix = Path(path).suffix
    if suffix not in (".csv", ".h5"):
        raise DataError(f"a table of properties is a .csv or .h5 file (got '{path}')")
    return suffix


def _check_head(head: Any, path: str | Path) -> None:
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise DataError(f"'{path}' is no table of properties; 'ppuda-like measure' and PropertyTable.save make them")
    if head.get("version") != _VERSION:
        raise DataError(
            f"'{path}' has format version {head.get('version')!r}; this package reads version {_VERSION}, update it"
        )


def _some(values: Iterable[object]) -> str:
    """A few of them, for a message."""
    found = list(values)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(str, found[:_SHOWN])) + more
