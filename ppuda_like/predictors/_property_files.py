"""The files of a table of properties: CSV for people, HDF5 with checksums."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ppuda_like._files import replacing
from ppuda_like.errors import DataError

__all__ = ["TableContents", "read_csv", "read_hdf5", "table_suffix", "write_csv", "write_hdf5"]

_FORMAT = "ppuda-like properties"
_VERSION = 1
_KEYS = ("index", "status", "structure_hash")


@dataclass(frozen=True, kw_only=True, eq=False)
class TableContents:
    """The attributes of a :class:`PropertyTable`, as the files hold them."""

    split: str
    meta: dict[str, Any]
    index: NDArray[np.int64]
    status: tuple[str, ...]
    structure_hash: NDArray[np.uint64] | None
    columns: dict[str, NDArray[np.float64]]


def table_suffix(path: str | Path) -> str:
    """The ending of a table's file.

    Raises:
        DataError: if it is none that tables have.
    """
    suffix = Path(path).suffix
    if suffix not in (".csv", ".h5"):
        raise DataError(f"a table of properties is a .csv or .h5 file (got '{path}')")
    return suffix


def write_csv(path: str | Path, table: TableContents) -> None:
    """Write a table as text; the file appears complete or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {json.dumps(_head(table))}\n")
        csv.writer(file, lineterminator="\n").writerows(_rows(table))


def _rows(table: TableContents) -> Iterator[Sequence[str]]:
    yield (*_KEYS, *table.columns)
    hashes = [""] * len(table.index)
    if table.structure_hash is not None:
        hashes = [f"{value:016x}" for value in table.structure_hash.tolist()]
    columns = [values.tolist() for values in table.columns.values()]
    for place, number in enumerate(table.index.tolist()):
        values = ("" if np.isnan(column[place]) else repr(column[place]) for column in columns)
        yield (str(number), table.status[place], hashes[place], *values)


def read_csv(path: str | Path) -> TableContents:
    """Read what :func:`write_csv` wrote.

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
    head = _checked(head, path)
    try:
        return _parsed(head, list(csv.reader(io.StringIO(rest), strict=True)))
    except (csv.Error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"'{path}' is damaged: {error}") from error


def _parsed(head: dict[str, Any], lines: list[list[str]]) -> TableContents:
    names, rows = (lines[0], lines[1:]) if lines else ([], [])
    if tuple(names[: len(_KEYS)]) != _KEYS or any(len(row) != len(names) for row in rows):
        raise DataError(f"its columns must be {', '.join(_KEYS)} and properties, in all rows")
    if len(set(names)) < len(names):
        raise DataError("two columns have the same name")
    if len(rows) != head["networks"]:
        raise DataError(f"it holds {len(rows)} networks, {head['networks']} were written")
    index, status, hashes, *columns = zip(*rows, strict=True) if rows else [()] * len(names)
    known = [int(value, 16) for value in hashes if value]
    if len(known) not in (0, len(rows)):
        raise DataError("some networks have a structure hash and some have none")
    return TableContents(
        split=str(head["split"]),
        meta=dict(head["meta"]),
        index=np.array([int(value) for value in index], dtype=np.int64),
        status=tuple(status),
        structure_hash=np.array(known, dtype=np.uint64) if known else None,
        columns={
            name: np.array([float(value) if value else np.nan for value in values], dtype=np.float64)
            for name, values in zip(names[len(_KEYS) :], columns, strict=True)
        },
    )


def write_hdf5(path: str | Path, table: TableContents) -> None:
    """Write a table with checksums; the file appears complete or not at all."""
    found: dict[str, NDArray[Any]] = {
        "index": table.index,
        "status": np.array([value.encode() for value in table.status] or [b""], dtype="S")[: len(table.status)],
    }
    if table.structure_hash is not None:
        found["structure_hash"] = table.structure_hash
    found |= {f"columns/{name}": values for name, values in table.columns.items()}
    checked = {"fletcher32": True, "chunks": True} if len(table.index) else {}  # nothing has no chunks
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["head"] = json.dumps(_head(table) | {"columns": list(table.columns)})
        for name, values in found.items():
            file.create_dataset(name, data=values, **checked)


def read_hdf5(path: str | Path) -> TableContents:
    """Read what :func:`write_hdf5` wrote.

    Raises:
        DataError: if the file is missing, no such table, of a newer format, or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("head")
            head = _checked(json.loads(text) if isinstance(text, str) else None, path)
            return TableContents(
                split=str(head["split"]),
                meta=dict(head["meta"]),
                index=file["index"][:],
                status=tuple(value.decode() for value in file["status"][:].tolist()),
                structure_hash=file["structure_hash"][:] if "structure_hash" in file else None,
                columns={name: file[f"columns/{name}"][:] for name in head["columns"]},
            )
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'") from error
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"'{path}' is no table of properties, or damaged: {reason}") from error


def _head(table: TableContents) -> dict[str, Any]:
    facts = {"split": table.split, "networks": len(table.index), "meta": table.meta}
    return {"format": _FORMAT, "version": _VERSION, **facts}


def _checked(head: Any, path: str | Path) -> dict[str, Any]:
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise DataError(f"'{path}' is no table of properties; 'ppuda-like measure' and PropertyTable.save make them")
    if head.get("version") != _VERSION:
        raise DataError(
            f"'{path}' has format version {head.get('version')!r}; this package reads version {_VERSION}, update it"
        )
    return head
