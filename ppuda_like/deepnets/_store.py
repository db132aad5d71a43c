"""The file that a dataset of networks lives in: HDF5, one group per split, columns and pointers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ppuda_like._files import replacing
from ppuda_like.deepnets._columns import NODES, RAGGED, TABLE, Columns
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA

__all__ = [
    "FORMAT",
    "VERSION",
    "SplitFacts",
    "connect",
    "open_store",
    "read_column",
    "split_facts",
    "split_group",
    "write_split",
]

FORMAT = "ppuda-like networks"
VERSION = 1

# Metadata with checksums and small indices of chunks; read by HDF5 1.10 and later.
_LIBVER = ("v110", "v110")
_PTR = np.dtype("<i8")
_NUMBERS = 8192  # rows of a column of numbers that are read at a time


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """What a group says of itself, in its attributes.

    Attributes:
        split: which networks they are.
        seed: of the random streams; -1 for networks that come from elsewhere.
        generator: version of the random streams; 0 for networks that come from elsewhere.
        deduplicated: whether a network was passed over if its structure hash had been seen.
        duplicates: how many were passed over.
        source: where the networks come from.
    """

    split: str
    seed: int
    generator: int
    deduplicated: bool
    duplicates: int
    source: str


class SplitWriter:
    """Appends networks to a new group, column by column.

    Args:
        group: an empty group.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self._digests: dict[str, Any] = {}
        self._names: dict[str, int] = {}
        self._shapes: dict[tuple[int, ...], int] = {}
        self._ends = np.zeros(len(RAGGED), dtype=np.int64)
        for column in RAGGED:
            self._create(column.name, column.dtype, column.width, column.chunk)
            self._create(column.pointer, _PTR, 1, _NUMBERS)
            self._append(column.pointer, np.zeros(1, dtype=_PTR))
        for name, dtype in TABLE.items():
            self._create(f"table/{name}", dtype.newbyteorder("<"), 1, _NUMBERS)

    def append(self, columns: Columns) -> None:
        """Add some networks."""
        names = [self._names.setdefault(name, len(self._names)) for name in columns.names]
        shapes = [self._shapes.setdefault(tuple(shape), len(self._shapes)) for shape in columns.shapes.tolist()]
        nodes = columns.nodes.copy()
        nodes[:, 2] = np.array(names, dtype=NODES.dtype)[nodes[:, 2]]
        nodes[:, 3] = np.array(shapes, dtype=NODES.dtype)[nodes[:, 3]]
        for column, lengths, rows in zip(
            RAGGED, columns.lengths, (nodes, columns.edges, columns.genotypes), strict=True
        ):
            self._append(column.name, rows)
            place = RAGGED.index(column)
            pointers = self._ends[place] + np.cumsum(lengths)
            self._append(column.pointer, pointers.astype(_PTR))
            self._ends[place] += lengths.sum()
        for name, values in columns.table.items():
            self._append(f"table/{name}", values)

    def finish(self, facts: SplitFacts) -> None:
        """Write the tables and attributes; nothing can be appended afterwards."""
        shapes = np.array(list(self._shapes), dtype="<i4").reshape(-1, 4)
        texts = {"names": list(self._names), "primitives": list(PPUDA.primitives)}
        for name, values in {
            "shapes": shapes,
            **{key: np.array(value, dtype="S") for key, value in texts.items()},
        }.items():
            self._group.create_dataset(name, data=values, fletcher32=True, chunks=True, track_times=False)
            self._digests[name] = hashlib.sha256(np.ascontiguousarray(values).tobytes())
        for name, digest in self._digests.items():
            self._group[name].attrs["sha256"] = digest.hexdigest()
        for key, value in vars(facts).items():
            self._group.attrs[key] = value
        self._group.attrs["vocabulary"] = PPUDA.name

    def _create(self, name: str, dtype: np.dtype, width: int, chunk: int) -> None:
        tail = (width,) if width > 1 else ()
        self._group.create_dataset(
            name,
            shape=(0, *tail),
            maxshape=(None, *tail),
            dtype=dtype,
            chunks=(chunk, *tail),
            compression="gzip",
            compression_opts=6,
            shuffle=True,
            fletcher32=True,
            track_times=False,
        )
        self._digests[name] = hashlib.sha256()

    def _append(self, name: str, values: np.ndarray) -> None:
        dataset = self._group[name]
        values = np.ascontiguousarray(values, dtype=dataset.dtype)
        dataset.resize(len(dataset) + len(values), axis=0)
        if len(values):
            dataset[-len(values) :] = values
        self._digests[name].update(values.tobytes())


def write_split(path: Path, parts: Iterable[Columns], facts: SplitFacts) -> None:
    """Add a split to a store, or make the store; it is complete under its name, or as it was.

    Raises:
        DataError: if there is a file of that name that is no store, or it cannot be written.
    """
    others = _splits(path) - {facts.split} if path.exists() else set()
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w", libver=_LIBVER) as file:
            file.attrs["format"] = FORMAT
            file.attrs["version"] = VERSION
            if others:
                with open_store(path) as old:
                    for name in sorted(others):
                        old.copy(name, file)
            writer = SplitWriter(file.create_group(facts.split))
            for columns in parts:
                writer.append(columns)
            writer.finish(facts)
    except (OSError, RuntimeError) as error:  # h5py raises either for a full disk
        raise DataError(f"cannot write '{path}': {_first_line(error)}; nothing was changed") from error


def _splits(path: Path) -> set[str]:
    with open_store(path) as file:
        return set(file)


@contextmanager
def open_store(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """A store, open for reading.

    Raises:
        DataError: if there is no such file, or it is no store, or one of a newer format, or damaged.
    """
    file = connect(path)
    try:
        yield file
    finally:
        with suppress(RuntimeError):  # a damaged file may refuse to be closed
            file.close()


def connect(path: str | os.PathLike[str]) -> h5py.File:
    """As :func:`open_store`, for the caller to close."""
    try:
        file = h5py.File(path, "r", rdcc_nbytes=1 << 20)
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'; 'ppuda-like dataset generate' makes one") from error
    except OSError as error:
        raise DataError(f"'{path}' is no HDF5 file, or damaged: {_first_line(error)}") from error
    try:
        found, version = file.attrs.get("format"), file.attrs.get("version")
    except OSError as error:
        file.close()
        raise DataError(f"'{path}' is damaged: {_first_line(error)}") from error
    if found != FORMAT:
        file.close()
        raise DataError(
            f"'{path}' is an HDF5 file, but no store of networks (its attribute 'format' is {found!r}, not "
            f"{FORMAT!r}); a file of the released DeepNets-1M is read by 'ppuda-like dataset import'"
        )
    if version != VERSION:
        file.close()
        raise DataError(f"'{path}' has format version {version}; this package reads version {VERSION}, update it")
    return file


def split_group(file: h5py.File, split: str) -> h5py.Group:
    """The group of a split.

    Raises:
        DataError: if the file does not hold it, or lacks one of its columns.
    """
    try:
        if split not in file:
            raise DataError(f"'{file.filename}' holds no split '{split}'; it holds {', '.join(file) or 'none'}")
        group = file[split]
        wanted = [*(f"table/{name}" for name in TABLE), "names", "shapes", "primitives"]
        wanted += [name for column in RAGGED for name in (column.name, column.pointer)]
        missing = [name for name in wanted if name not in group]
        missing += [name for name in SplitFacts.__dataclass_fields__ if name not in group.attrs]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"'{file.filename}' is damaged: {_first_line(error)}") from error
    if missing:
        raise DataError(f"split '{split}' of '{file.filename}' lacks {', '.join(missing)}; the file is damaged")
    return group


def split_facts(group: h5py.Group) -> SplitFacts:
    """What a group says of itself."""
    found = {name: group.attrs[name] for name in SplitFacts.__dataclass_fields__}
    return SplitFacts(
        **{name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}
    )


def read_column(dataset: h5py.Dataset, rows: slice = slice(None)) -> np.ndarray:
    """Rows of a column.

    Raises:
        DataError: if they are damaged, by the checksums of the file.
    """
    try:
        values: np.ndarray = dataset[rows]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"column '{dataset.name}' of '{dataset.file.filename}' is damaged: {_first_line(error)}; "
            "'ppuda-like dataset check' lists all that is, and generating the file anew repairs it"
        ) from error
    return values


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
