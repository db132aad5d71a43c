"""Tables of codes that come with the package."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from ppuda_like.errors import DataError
from ppuda_like.search.ncp._table import CodeTable
from ppuda_like.search.ncp._table_files import read_table

__all__ = ["list_tables", "load_table"]

_FOLDER = Path(__file__).parent / "tables"


def list_tables() -> list[str]:
    """Names of the tables that come with the package.

    Example:
        >>> list_tables()
        ['seg']
    """
    return sorted(path.stem for path in _FOLDER.glob("*.npz"))


def load_table(name_or_path: str | os.PathLike[str]) -> CodeTable:
    """A table that comes with the package, by its name, or one from a file, as :func:`read_table` reads it.

    Raises:
        DataError: if no table is called so and there is no such file; as :func:`read_table`.

    Example:
        >>> load_table("seg")
        CodeTable(seg, 1,000 codes of multi-resolution, mIoU, mAcc, aAcc)
    """
    path, name = Path(name_or_path), os.fspath(name_or_path)
    if path.exists() or path.suffix or os.sep in name:
        return read_table(path)
    names = list_tables()
    if name in names:
        return read_table(_FOLDER / f"{name}.npz", name=name)
    near = difflib.get_close_matches(name, names)
    hint = f"did you mean {near}?" if near else f"there are {names}"
    raise DataError(f"no table of codes is called '{name}' and there is no such file; {hint}")
