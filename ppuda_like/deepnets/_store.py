"""The file that a dataset of networks lives in: HDF5, one group per split, columns and pointers."""

from __future__ import annotations

import hashlib
import io
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
    "reading",
    "row_bytes",
    "split_facts",
    "split_group",
    "write_split",
]

FORMAT = "ppuda-like networks"
VERSION = 1

# Metadata with checksums and small indices of chunks; read by HDF5 1.10 and later.
_LIBVER = ("v110", "v110")
_PTR = np.dtype("<i8")
_BATCH = 2_000  # networks that are written at a time
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


class Output(io.FileIO):
    """A new file for HDF5 to write to, which keeps a failure to itself.

    HDF5 does not get over a write that fails, on a full disk say: it leaves the file open, and may end the process on
    closing it.  What could not be written is kept in memory, for HDF5 to come to an end in good order.

    Args:
        path: of the file.

    Attributes:
        failure: the first; the file is then not what HDF5 takes it for.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.failure: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        """All of ``data``, at the current place."""
        place, rest = self.tell(), memoryview(data)
        try:
            while rest and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        if self.failure is not None:
            self._unwritten.append((place, bytes(data)))
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        if self.failure is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.failure = error
        return size or 0

    def readinto(self, buffer: Any) -> int:
        """All of ``buffer``, with zeros beyond the end of the file."""
        place, view = self.tell(), memoryview(buffer)
        count = super().readinto(buffer) or 0
        view[count:] = bytes(len(view) - count)
        for start, data in self._unwritten:
            first, last = max(start, place), min(start + len(data), place + len(view))
            if first < last:
                view[first - place : last - place] = data[first - start : last - start]
        return len(view)

    def check(self) -> None:
        """Raise the failure, if there was one."""
        if self.failure is not None:
            raise self.failure


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
        self._datasets: dict[str, h5py.Dataset] = {}
        self._pending: dict[str, list[np.ndarray]] = {}
        self._num_pending = 0
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
        nodes[2] = np.array(names, dtype=NODES.dtype)[nodes[2]]
        nodes[3] = np.array(shapes, dtype=NODES.dtype)[nodes[3]]
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
        self._num_pending += len(columns)
        if self._num_pending >= _BATCH:
            self._flush()

    def finish(self, facts: SplitFacts) -> None:
        """Write the tables and attributes; nothing can be appended afterwards."""
        self._flush()
        shapes = np.array(list(self._shapes), dtype="<i4").reshape(-1, 4).T
        texts = {"names": list(self._names), "primitives": list(PPUDA.primitives)}
        for name, values in {
            "shapes": shapes,
            **{key: np.array(value, dtype="S") for key, value in texts.items()},
        }.items():
            self._group.create_dataset(name, data=values, fletcher32=True, chunks=True, track_times=False)
            self._digests[name] = hashlib.sha256(row_bytes(values))
        for name, digest in self._digests.items():
            self._group[name].attrs["sha256"] = digest.hexdigest()
        for key, value in {**vars(facts), "vocabulary": PPUDA.name}.items():
            self._group.attrs[key] = _stored(value)

    def _create(self, name: str, dtype: np.dtype, width: int, chunk: int) -> None:
        fields = (width,) if width > 1 else ()
        self._datasets[name] = self._group.create_dataset(
            name,
            shape=(*fields, 0),
            maxshape=(*fields, None),
            dtype=dtype,
            chunks=(*fields, chunk),
            compression="gzip",
            compression_opts=6,
            shuffle=True,
            fletcher32=True,
            track_times=False,
        )
        self._digests[name] = hashlib.sha256()

    def _append(self, name: str, values: np.ndarray) -> None:
        self._pending.setdefault(name, []).append(values)

    def _flush(self) -> None:
        """Write what has been appended: a write costs much the same for one network as for a thousand."""
        for name, parts in self._pending.items():
            dataset = self._datasets[name]
            values = np.concatenate(parts, axis=-1, dtype=dataset.dtype, casting="same_kind")
            before, count = dataset.shape[-1], values.shape[-1]
            dataset.resize(before + count, axis=dataset.ndim - 1)
            if count:
                dataset[..., before:] = values
            self._digests[name].update(row_bytes(values))
        self._pending.clear()
        self._num_pending = 0


def write_split(path: Path, parts: Iterable[Columns], facts: SplitFacts, *, scratch: Path | None = None) -> None:
    """Add a split to a store, or make the store; it is complete under its name, or as it was.

    Args:
        path: the store.
        parts: the networks.
        facts: what the group says of itself.
        scratch: folder on the same file system for the unfinished file; None for that of the store.

    Raises:
        DataError: if there is a file of that name that is no store or damaged, or it cannot be written.
    """
    others = _splits(path) - {facts.split} if path.exists() else set()
    whole = path if scratch is None else scratch / path.name
    try:
        with replacing(whole) as temporary, Output(temporary) as output:
            with h5py.File(output, "w", libver=_LIBVER) as file:
                file.attrs["format"] = _stored(FORMAT)
                file.attrs["version"] = VERSION
                if others:
                    with open_store(path) as old:
                        for name in sorted(others):
                            old.copy(name, file)
                            output.check()
                writer = SplitWriter(file.create_group(facts.split))
                for columns in parts:
                    writer.append(columns)
                    output.check()
                writer.finish(facts)
            output.check()
            os.fsync(output.fileno())
        os.replace(whole, path)
    except (OSError, RuntimeError) as error:  # h5py raises either for a full disk
        raise DataError(f"cannot write '{path}': {_first_line(error)}; nothing was changed") from error


def _splits(path: Path) -> set[str]:
    with open_store(path) as file, reading(path):
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
        with reading(path):
            found, version = (_loaded(file.attrs.get(name)) for name in ("format", "version"))
        if found != FORMAT:
            raise DataError(
                f"'{path}' is an HDF5 file, but no store of networks (its attribute 'format' is {found!r}, not "
                f"{FORMAT!r}); a file of the released DeepNets-1M is read by 'ppuda-like dataset import'"
            )
        if version != VERSION:
            raise DataError(f"'{path}' has format version {version}; this package reads version {VERSION}, update it")
    except DataError:
        file.close()
        raise
    return file


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """What h5py raises when it comes upon damage, as a :class:`DataError`."""
    try:
        yield
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' is damaged: {_first_line(error)}") from error


def split_group(file: h5py.File, split: str) -> h5py.Group:
    """The group of a split.

    Raises:
        DataError: if the file does not hold it, or lacks one of its columns, or one cannot be opened.
    """
    with reading(file.filename):
        if split not in file:
            raise DataError(f"'{file.filename}' holds no split '{split}'; it holds {', '.join(file) or 'none'}")
        group = file[split]
        wanted = [*(f"table/{name}" for name in TABLE), "names", "shapes", "primitives"]
        wanted += [name for column in RAGGED for name in (column.name, column.pointer)]
        opened = {name: group[name] for name in wanted if name in group}  # which fails if its header is damaged
        missing = [name for name in wanted if name not in opened]
        missing += [name for name in SplitFacts.__dataclass_fields__ if name not in group.attrs]
    if missing:
        raise DataError(f"split '{split}' of '{file.filename}' lacks {', '.join(missing)}; the file is damaged")
    return group


def split_facts(group: h5py.Group) -> SplitFacts:
    """What a group says of itself."""
    with reading(group.file.filename):
        return SplitFacts(**{name: _loaded(group.attrs[name]) for name in SplitFacts.__dataclass_fields__})


def read_column(dataset: h5py.Dataset, rows: slice = slice(None)) -> np.ndarray:
    """Rows of a column; of one with several fields, field by field.

    Raises:
        DataError: if they are damaged, by the checksums of the file.
    """
    try:
        values: np.ndarray = dataset[rows] if dataset.ndim == 1 else dataset[:, rows]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"column '{dataset.name}' of '{dataset.file.filename}' is damaged: {_first_line(error)}; "
            "'ppuda-like dataset check' lists all that is, and generating the file anew repairs it"
        ) from error
    return values


def row_bytes(values: np.ndarray) -> bytes:
    """What the checksum of a column is of: its entries, row by row, whatever blocks they come in."""
    return np.ascontiguousarray(values.T).tobytes()


def _stored(value: Any) -> Any:
    """A value for an attribute; text of fixed length, as no checksum covers that of variable length."""
    return np.bytes_(value.encode()) if isinstance(value, str) else value


def _loaded(value: Any) -> Any:
    """The inverse of :func:`_stored`."""
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
