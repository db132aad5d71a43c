"""The tables of NAS-Bench-MR as published: a pickled list with a dictionary for each network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError, DataError
from ppuda_like.predictors import NASBENCH201_OPS
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._layout import NAMES
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION
from ppuda_like.search.ncp._pickle import plain_pickle
from ppuda_like.search.ncp._settings import from_modules
from ppuda_like.search.ncp._space import CodeSpace

__all__ = ["read_published"]

_CODE = "embedding"
_STEM, _SETTINGS, _LAST = "input_channel", ("inverted_residual_setting", "network_setting"), "last_channel"


def read_published(data: bytes) -> tuple[CodeSpace, NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The space, the codes and all columns of a published ``trainval.pkl``.

    Raises:
        DataError: if the pickle is damaged or holds anything but such a list.
    """
    rows = plain_pickle(data)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError("it must hold a list with a dictionary for each network")
    codes = [_code(row, number) for number, row in enumerate(rows)]
    length = len(codes[0])
    spaces: dict[int, CodeSpace] = {len(NAMES): MULTI_RESOLUTION, len(NASBENCH201.low): NASBENCH201}
    if length not in spaces or any(len(code) != length for code in codes):
        raise DataError(
            f"'{_CODE}' must be {len(NAMES)} numbers of a multi-resolution code or {len(NASBENCH201.low)} of a cell, "
            f"in all rows (got {sorted({len(code) for code in codes})})"
        )
    space = spaces[length]
    names = [name for name in rows[0] if name not in {_CODE, _STEM, *_SETTINGS, _LAST}]
    for number, row in enumerate(rows):
        if set(row) != set(rows[0]):
            raise DataError(f"row {number} must have {', '.join(map(str, rows[0]))} (got {', '.join(map(str, row))})")
    columns: dict[str, NDArray[np.float64]] = {
        str(name): np.array([_value(row[name], str(name), number) for number, row in enumerate(rows)]) for name in names
    }
    return space, _cells(np.array(codes)) if space is NASBENCH201 else np.array(codes), columns


def _code(row: dict[Any, Any], number: int) -> list[Any]:
    code = row.get(_CODE)
    if isinstance(code, np.ndarray) and code.ndim == 1:
        code = code.tolist()
    if not isinstance(code, list) or not all(type(value) in (int, float) for value in code):
        raise DataError(f"row {number} must have an '{_CODE}', a list of numbers")
    settings = next((row[name] for name in _SETTINGS if name in row), None)
    if len(code) == len(NAMES) and settings is not None:
        try:
            other = from_modules(row[_STEM], settings, row[_LAST])
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"row {number}: its modules are no lists [branches, [blocks], [channels]]") from error
        except CodeError as error:
            raise DataError(f"row {number}: {error}") from error
        if other != code:
            raise DataError(f"row {number}: '{_CODE}' is {code}, its modules say {other}")
    return code


def _cells(one_hot: NDArray[Any]) -> NDArray[np.int64]:
    shares = one_hot.reshape(len(one_hot), -1, len(NASBENCH201_OPS))
    wrong = np.flatnonzero(((shares != 0) & (shares != 1)).any(axis=(1, 2)) | (shares.sum(2) != 1).any(axis=1))
    if len(wrong):
        raise DataError(f"row {wrong[0]}: '{_CODE}' must have a single 1 among the {len(NASBENCH201_OPS)} of each edge")
    return np.asarray(shares.argmax(axis=2), dtype=np.int64)


def _value(value: Any, name: str, number: int) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf":
        value = value.item()
    if type(value) not in (int, float) or (isinstance(value, int) and not math.isfinite(_as_float(value))):
        raise DataError(f"row {number}: '{name}' must be a number (got {type(value).__name__})")
    return float(value)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
