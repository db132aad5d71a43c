"""Reading the files of ratings; nothing in them is run."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ppuda_like.errors import DataError

__all__ = ["SUFFIXES", "rating_suffix", "read_ratings"]

SUFFIXES = (".npz", ".json")


def read_ratings(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description in a file of ratings, and its arrays or lists by name.

    Raises:
        DataError: if the file is called otherwise, missing or damaged.
    """
    return _read_npz(path) if rating_suffix(path) == ".npz" else _read_json(path)


def rating_suffix(path: str | os.PathLike[str]) -> str:
    """The ending of a file of ratings.

    Raises:
        DataError: if it is none that they have.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise DataError(f"ratings are in a {' or '.join(SUFFIXES)} file (got '{path}')")
    return suffix


def _read_npz(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(str(arrays.pop("head")))
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except (BadZipFile, zlib.error, KeyError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"'{path}' is damaged or holds no ratings: {error}") from error
    return _dict(head, path), arrays


def _read_json(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        head = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"'{path}' is damaged or holds no ratings: {error}") from error
    head = _dict(head, path)
    return head, _dict(head.pop("arrays", {}), path)


def _dict(found: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DataError(f"'{path}' is damaged or holds no ratings: an object was expected (got {type(found).__name__})")
    return found
