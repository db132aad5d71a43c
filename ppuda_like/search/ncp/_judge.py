"""What to hold against an edited code: other predictors, measured codes nearby, and the truth where it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp._bound import Predictors, as_list, common_space
from ppuda_like.search.ncp._notches import spread
from ppuda_like.search.ncp._search_result import SearchResult
from ppuda_like.search.ncp._table import CodeTable

__all__ = ["NearestRows", "judge", "nearest_rows", "regret_curve", "true_rank", "true_values"]

_ROWS = 512  # of distances held at once


@dataclass(frozen=True, kw_only=True, eq=False)
class NearestRows:
    """Rows of a table near to codes.

    Attributes:
        rows: their numbers, the nearest first, ``(n, k)``.
        distances: to them, in standard deviations of uniformly drawn codes, ``(n, k)``.
        metrics: what was measured of them, by metric, each ``(n, k)``.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]


def judge(codes: ArrayLike, predictors: Predictors) -> dict[str, NDArray[np.float64]]:
    """What predictors say that the codes were not edited by.

    A code that was edited by a predictor is over-stated by it, since its errors were optimised along; one that was
    fitted to other rows of the table does not share them.

    Args:
        codes: ``(n, d)``, or one code.
        predictors: judges; several of a table are welcome.

    Returns:
        By ``"<table>.<metric>"``, predictions of each judge that has it, shape ``(judges, n)``.

    Raises:
        CodeError: if codes are not of the judges' space.
    """
    judges = as_list(predictors)
    legal = common_space(judges).check(codes)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for one in judges:
        for name, values in zip(one.metrics, np.asarray(one.predict(legal)).T, strict=True):
            found.setdefault(f"{one.table}.{name}", []).append(values)
    return {name: np.stack(values) for name, values in found.items()}


def nearest_rows(codes: ArrayLike, table: CodeTable, k: int = 5) -> NearestRows:
    """Rows of a table whose codes are nearest, with what was measured of them.

    Args:
        codes: ``(n, d)``, or one code.
        table: to look in.
        k: rows for each code.

    Raises:
        CodeError: if codes are not of the table's space.
        DataError: if the table does not have ``k`` rows.

    Example:
        >>> from ppuda_like.search.ncp import NASBENCH201
        >>> cells = [[2, 2, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4]]
        >>> table = CodeTable(name="two", space=NASBENCH201, codes=cells, metrics={"accuracy": [30.0, 45.0]})
        >>> nearest_rows([4, 4, 4, 4, 4, 3], table, k=1).metrics
        {'accuracy': array([[45.]])}
    """
    if not 1 <= k <= len(table):
        raise DataError(f"'k' must be 1..{len(table)}, the rows of table '{table.name}' (got {k})")
    space = table.space
    unit = spread(space)
    here, there = space.relax(codes) / unit, space.relax(table.codes) / unit
    squares = (there**2).sum(axis=1)
    rows, distances = [], []
    for part in np.array_split(here, len(here) // _ROWS + 1):
        away = np.maximum((part**2).sum(axis=1)[:, None] + squares - 2 * part @ there.T, 0)
        rows.append(np.argsort(away, axis=1, kind="stable")[:, :k])
        distances.append(np.sqrt(np.take_along_axis(away, rows[-1], axis=1)))
    nearest = np.concatenate(rows)
    return NearestRows(
        rows=nearest,
        distances=np.concatenate(distances),
        metrics={name: values[nearest] for name, values in table.metrics.items()},
    )


def true_values(codes: ArrayLike, table: CodeTable, metric: str | None = None) -> NDArray[np.float64]:
    """What was measured of codes, shape ``(n,)``.

    Args:
        codes: ``(n, d)``, or one code, of the table's.
        table: with all of them.
        metric: one of its metrics; None for the main one.

    Raises:
        CodeError: if a code is not in the table, or there is no such metric.
    """
    place = {code.tobytes(): row for row, code in enumerate(table.codes)}
    rows = []
    for number, code in enumerate(table.space.check(codes)):
        row = place.get(code.tobytes())
        if row is None:
            raise CodeError(
                f"code {number}, {code.tolist()}, was not measured in table '{table.name}'; ask for its nearest_rows, "
                "or take a table of the whole space"
            )
        rows.append(row)
    return np.asarray(table[metric or table.main][rows])


def true_rank(codes: ArrayLike, table: CodeTable, metric: str | None = None) -> NDArray[np.int64]:
    """Place of codes among all of a table by what was measured, shape ``(n,)``; 1 is the best, equals share a place.

    Args:
        codes: ``(n, d)``, or one code, of the table's.
        table: with all of them.
        metric: one of its metrics, high values being good; None for the main one.

    Raises:
        CodeError: if a code is not in the table, or there is no such metric.
    """
    every = np.sort(table[metric or table.main])
    found = true_values(codes, table, metric)
    return np.asarray(1 + len(every) - np.searchsorted(every, found, side="right"))


def regret_curve(
    result: SearchResult, table: CodeTable, budgets: ArrayLike, metric: str | None = None
) -> NDArray[np.float64]:
    """How far below the best of a table the found code is in truth, after so many predictor calls, shape ``(b,)``.

    The found code is the best by prediction: the truth has no part in choosing it, so that regret may rise again.

    Args:
        result: of a search.
        table: that holds the whole space.
        budgets: numbers of calls.
        metric: one of the table's; None for the main one.

    Raises:
        CodeError: if a code is not in the table, or there is no such metric.
        DataError: if nothing had been scored after one of the budgets.
    """
    found = result.best_after(np.atleast_1d(np.asarray(budgets, dtype=np.int64)))
    return np.asarray(table[metric or table.main].max() - true_values(result.codes[found], table, metric))
