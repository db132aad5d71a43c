"""Ratings as the published program writes them: YAML files of lists of numbers, read without running anything."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError
from ppuda_like.search.dna._ratings import CellRatings
from ppuda_like.search.dna._space import Space

__all__ = ["PUBLISHED_MEASURES", "import_published", "parse_number_lists"]

logger = logging.getLogger(__name__)

PUBLISHED_MEASURES = {
    "cl_loss": "relative_l1",
    "gr_loss": "l1_over_mean",
    "loss": "mse",
    "rela_loss": "relative_mse",
    "sq_loss": "root_mse_over_variance",
}
"""Names of the measures in the published files, and here."""

_KEY = re.compile(r"([A-Za-z_][A-Za-z_0-9]*):( \[\])?")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.(?:nan|NaN|inf|Inf))")


def import_published(
    path: str | os.PathLike[str], space: Space, stage: int, cell: int = 0, *, measure: str = "relative_l1"
) -> CellRatings:
    """Read a ``potential-*.yaml`` of the published program.

    Such a file does not say which space it is of, only how many paths it rates.  Top-1 accuracies and the order of
    paths, which it holds too, are left out; so are measures that are 0 for every path, with a note in the log.

    Args:
        path: of the file.
        space: it is of.
        stage: it is of.
        cell: of the stage.
        measure: that must be there, by its name here.

    Raises:
        DataError: if the file is missing, holds anything but lists of numbers, or rates another number of paths, or
            ``measure`` is missing, not finite, or 0 for every path, as it is in files of runs in a single process.
    """
    lists = parse_number_lists(path)
    found = {ours: lists[theirs] for theirs, ours in PUBLISHED_MEASURES.items() if theirs in lists}
    if measure not in found:
        raise DataError(f"'{path}' is not rated by '{measure}', only by {sorted(found)}")
    kept = {}
    for name, values in found.items():
        if name != measure and not values.any():
            logger.warning("%s: measure '%s' is 0 for every path and left out", path, name)
        else:
            kept[name] = values
    meta = {"source": Path(path).name}
    try:
        return CellRatings(space=space, stage=stage, cell=cell, measures=kept, meta=meta)
    except DataError as error:
        raise DataError(f"in '{path}': {error}") from error


def parse_number_lists(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """The lists of numbers that a YAML file in block style maps names to; nothing else may be in it.

    Raises:
        DataError: if the file cannot be read, or a line is anything else; it names the line.
    """
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is no list of numbers: {error}") from error
    found: dict[str, list[str]] = {}
    open_list: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("- ") and open_list is not None and _NUMBER.fullmatch(text, 2):
            open_list.append(text[2:].lower().replace(".nan", "nan").replace(".inf", "inf"))
            continue
        key = _KEY.fullmatch(line)
        if key is None or key[1] in found:
            why = f"'{key[1]}' stands there twice" if key else f"neither a name nor a number of a list: {line[:60]!r}"
            raise DataError(f"'{path}', line {number}: {why}; only lists of numbers are read")
        found[key[1]] = open_list = []
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}
