"""The files of a table of codes: .npz, .csv, and the published .pkl."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppuda_like._files import replacing
from ppuda_like.errors import CodeError, DataError
from ppuda_like.predictors import NASBENCH201_OPS
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._published import read_published
from ppuda_like.search.ncp._space import CodeSpace
from ppuda_like.search.ncp._spaces import SPACES, code_space
from ppuda_like.search.ncp._table import CodeTable
from ppuda_like.search.ncp._table_costs import is_cost, verify_costs
from ppuda_like.search.ncp._text import code_text, parse_code

__all__ = ["read_table", "write_table"]

_FORMAT, _VERSION = "ppuda-like codes", 1
_MAX_BYTES = 1 << 28


class _Contents(NamedTuple):
    """What a file holds: the table's name if it tells, the space, the codes, all columns."""

    name: str | None
    space: CodeSpace
    codes: Any
    columns: Mapping[str, NDArray[np.float64]]


def read_table(path: str | os.PathLike[str], *, name: str | None = None) -> CodeTable:
    """Read a benchmark of codes from a file, by its ending.

    - ``.npz``: ``codes`` (n, d), ``code_names``, ``metrics`` (n, m), ``metric_names``, and ``op_names`` where numbers
      of a code stand for operations; as :func:`write_table` writes it, and as NAS-Bench-MR was converted to.
    - ``.csv``: a column ``code``, in any text form of a code, and columns of metrics.
    - ``.pkl``: ``trainval.pkl`` as published with NAS-Bench-MR.  Nothing in it is executed: only lists,
      dictionaries, numbers, strings and numpy arrays of numbers are made, and a file with anything else is refused.

    Columns ``flops`` and ``params``, in units of the published tables, are compared with the exact costs and left out.

    Args:
        path: the file.
        name: of the table; by default what the file says, else what the file is called.

    Raises:
        DataError: if the file is missing, damaged, no such table, has another ending, or breaks one of the rules of
            :class:`CodeTable`; if costs are not those of their codes.
    """
    path = Path(path)
    readers: Mapping[str, Callable[[Path], _Contents]] = {".npz": _read_npz, ".csv": _read_csv, ".pkl": _read_pickle}
    if path.suffix not in readers:
        raise DataError(f"a table of codes is a {', '.join(readers)} file (got '{path}')")
    if not path.is_file():
        raise DataError(f"there is no table '{path}'; check the path")
    try:
        found = readers[path.suffix](path)
        table = CodeTable(
            name=name or found.name or path.stem,
            space=found.space,
            codes=found.codes,
            metrics={key: values for key, values in found.columns.items() if not is_cost(key)},
        )
        verify_costs(table.space, table.codes, {key: values for key, values in found.columns.items() if is_cost(key)})
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except (CodeError, DataError) as error:
        raise DataError(f"'{path}' is damaged, or no table of codes: {error}") from error
    return table


def write_table(table: CodeTable, path: str | os.PathLike[str]) -> None:
    """Write a table to a ``.npz`` or ``.csv`` file, by its ending; :func:`read_table` reads the same, to the last bit.

    The file appears complete or not at all.

    Raises:
        DataError: if the name ends otherwise.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".csv"):
        raise DataError(f"a table of codes is written to a .npz or .csv file (got '{path}')")
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(table, temporary)
        else:
            _write_csv(table, temporary)


def _write_npz(table: CodeTable, path: Path) -> None:
    ops = {"op_names": np.array(NASBENCH201_OPS)} if table.space.name == NASBENCH201.name else {}
    np.savez_compressed(
        path,
        allow_pickle=False,
        table_name=np.array(table.name),
        codes=table.codes.astype(np.uint8),
        code_names=np.array(table.space.names),
        metrics=table.matrix(),
        metric_names=np.array(list(table.metrics)),
        **ops,
    )


def _read_npz(path: Path) -> _Contents:
    wanted = ("codes", "code_names", "metrics", "metric_names")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise DataError(f"unpacked, a table has {_MAX_BYTES:,} bytes at most (got {size:,})")
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            missing = [key for key in wanted if key not in file]
            if missing:
                raise DataError(f"it must hold {', '.join(wanted)} (missing {', '.join(missing)})")
            codes, code_names, metrics, metric_names = (file[key] for key in wanted)
            op_names = file["op_names"].tolist() if "op_names" in file else None
            name = str(file["table_name"]) if "table_name" in file else None
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(str(error) or type(error).__name__) from error
    spaces = {space.names: space for space in SPACES}
    if code_names.ndim != 1 or tuple(code_names.tolist()) not in spaces:
        raise DataError(f"'code_names' must be those of {' or '.join(space.name for space in SPACES)}")
    space = spaces[tuple(code_names.tolist())]
    if space.name == NASBENCH201.name and op_names != list(NASBENCH201_OPS):
        raise DataError(f"'op_names' must be {list(NASBENCH201_OPS)} (got {op_names})")
    names = [str(key) for key in np.atleast_1d(metric_names).tolist()]
    if metrics.dtype.kind not in "fiu" or metrics.shape != (len(codes), len(names)):
        raise DataError(
            f"'metrics' must be numbers of shape ({len(codes)}, {len(names)}) (got {metrics.dtype} {metrics.shape})"
        )
    if len(set(names)) < len(names):
        raise DataError(f"two metrics have the same name: {', '.join(names)}")
    columns = {key: metrics[:, place].astype(np.float64) for place, key in enumerate(names)}
    return _Contents(name, space, codes, columns)


def _write_csv(table: CodeTable, path: Path) -> None:
    head = {"format": _FORMAT, "version": _VERSION, "name": table.name, "space": table.space.name, "codes": len(table)}
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {json.dumps(head)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("code", *table.metrics))
        for code, values in zip(table.codes, table.matrix().tolist(), strict=True):
            writer.writerow((code_text(table.space, code), *map(repr, values)))


def _read_csv(path: Path) -> _Contents:
    try:
        text = path.read_text(encoding="utf-8")
        first, _, rest = text.partition("\n")
        head = json.loads(first.removeprefix("#")) if first.startswith("#") else None
        rows = list(csv.reader(io.StringIO(text if head is None else rest), strict=True))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, csv.Error) as error:
        raise DataError(f"it is not text with a header and a row per code: {error}") from error
    rows = [row for row in rows if row]
    names, rows = (rows[0], rows[1:]) if rows else ([], [])
    if "code" not in names or len(set(names)) < len(names):
        raise DataError(f"it must have a column 'code', and no two of the same name (got {', '.join(names) or 'none'})")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(f"row {number} must have {len(names)} fields (got {len(row)})")
    texts, *others = ([row[place] for row in rows] for place in _order(names))
    parsed = [_in_row(number, parse_code, text) for number, text in enumerate(texts)]
    space = _checked_head(head, len(rows)) if head is not None else None
    spaces = {found.name: found for found, _ in parsed} | ({space.name: space} if space else {})
    if len(spaces) != 1:
        raise DataError(f"its codes must be of one space (got {', '.join(spaces) or 'no code'})")
    metrics = [name for name in names if name != "code"]
    columns = {
        name: np.array([_in_row(row, _number, value, name) for row, value in enumerate(values)], dtype=np.float64)
        for name, values in zip(metrics, others, strict=True)
    }
    name = str(head["name"]) if head is not None else None
    return _Contents(name, next(iter(spaces.values())), [code for _, code in parsed], columns)


def _order(names: list[str]) -> list[int]:
    """Places of the columns, that of the codes first."""
    code = names.index("code")
    return [code, *(place for place in range(len(names)) if place != code)]


def _checked_head(head: Any, num: int) -> CodeSpace:
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise DataError(f"its first line must tell the format '{_FORMAT}', or be the names of the columns")
    if head.get("version") != _VERSION:
        raise DataError(f"it has version {head.get('version')!r}; this package reads version {_VERSION}, update it")
    if head.get("codes") != num:
        raise DataError(f"it has {num} codes, {head.get('codes')!r} were written")
    if not isinstance(head.get("name"), str):
        raise DataError("its first line must tell the name of the table")
    return code_space(str(head.get("space")))


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"'{name}' must be a number (got {text[:40]!r})") from error


def _in_row(row: int, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except (CodeError, DataError) as error:
        raise DataError(f"row {row}: {error}") from error


def _read_pickle(path: Path) -> _Contents:
    space, codes, columns = read_published(path.read_bytes())
    stem = path.stem.removesuffix("trainval").rstrip("-_.")  # published as NAME/trainval.pkl
    return _Contents(stem or path.parent.name or None, space, codes, columns)
