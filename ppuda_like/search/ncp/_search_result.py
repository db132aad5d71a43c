"""What a search looked at, in which order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError
from ppuda_like.search.ncp._trajectory import EditTrajectory

__all__ = ["SearchResult"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """The codes that a search scored, each once, with the predictor calls that it had made by then.

    A call is one code, relaxed or not, that the predictors were asked about; a gradient comes with its call.

    Attributes:
        strategy: name of the search.
        space: name of the space of codes.
        codes: in the order in which they were scored, ``(n, d)``.
        objective: of each, ``(n,)``.
        calls: made when the code had been scored, ``(n,)``, not descending.

    Raises:
        DataError: if there is no code, lengths differ, or ``calls`` descend.

    Example:
        >>> codes = np.array([[1, 1], [2, 1], [2, 2]])
        >>> found = SearchResult(
        ...     strategy="mine", space="toy", codes=codes, objective=np.array([0.1, 0.7, 0.3]), calls=np.arange(1, 4)
        ... )
        >>> found.best().tolist(), found.best(1).tolist(), found.best_after([1, 2, 3]).tolist()
        ([2, 1], [1, 1], [0, 1, 1])
    """

    strategy: str
    space: str
    codes: NDArray[np.int64]
    objective: NDArray[np.float64]
    calls: NDArray[np.int64]

    def __post_init__(self) -> None:
        num = len(self.codes)
        if not num or self.objective.shape != (num,) or self.calls.shape != (num,):
            raise DataError(
                f"a search must have scored codes, with an objective and a number of calls each (got {num} codes, "
                f"objectives of shape {self.objective.shape} and calls of shape {self.calls.shape})"
            )
        if self.calls[0] < 1 or (np.diff(self.calls) < 0).any():
            raise DataError("'calls' of a search must begin at 1 or above and never fall")

    @property
    def num_calls(self) -> int:
        """Calls up to the last code."""
        return int(self.calls[-1])

    def best_after(self, budgets: NDArray[np.int64] | list[int]) -> NDArray[np.int64]:
        """Row of the best code, by objective, after so many calls; the earliest of equals.

        Raises:
            DataError: if nothing had been scored by then.
        """
        known = np.searchsorted(self.calls, np.asarray(budgets, dtype=np.int64), side="right")
        if (known == 0).any():
            raise DataError(f"the first code was scored at call {self.calls[0]} (asked for budgets {list(budgets)})")
        highest = np.maximum.accumulate(self.objective)
        improved = np.concatenate(([True], highest[1:] > highest[:-1]))
        best = np.maximum.accumulate(np.where(improved, np.arange(len(highest)), 0))
        return np.asarray(best[known - 1])

    def best(self, budget: int | None = None) -> NDArray[np.int64]:
        """The best code after so many calls, shape ``(d,)``; None for all of them.

        Raises:
            DataError: if nothing had been scored by then.
        """
        (row,) = self.best_after([self.num_calls if budget is None else budget])
        return np.asarray(self.codes[row])

    def top(self, num: int, *, without: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The best codes, best first, shape ``(num, d)``; fewer if no more were scored.

        Args:
            num: how many.
            without: codes to leave out, ``(k, d)``, those that have been measured for instance.
        """
        known = set() if without is None else {tuple(code) for code in without.tolist()}
        order = np.argsort(-self.objective, kind="stable").tolist()
        rows = itertools.islice((row for row in order if tuple(self.codes[row].tolist()) not in known), num)
        return np.asarray(self.codes[np.fromiter(rows, dtype=np.int64)])

    @classmethod
    def of_edits(cls, trajectory: EditTrajectory, strategy: str = "edit") -> SearchResult:
        """Edits as a search: start by start, a step costing its calls, and no code counted as found twice."""
        flat = trajectory.codes.swapaxes(0, 1).reshape(-1, trajectory.codes.shape[2])
        _, first = np.unique(flat, axis=0, return_index=True)
        rows = np.sort(first)
        return cls(
            strategy=strategy,
            space=trajectory.space,
            codes=flat[rows],
            objective=trajectory.objective.T.reshape(-1)[rows],
            calls=(rows + 1) * trajectory.calls_per_step,
        )
