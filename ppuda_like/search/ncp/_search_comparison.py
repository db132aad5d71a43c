"""Searches compared by the true values of what they find, on a table of a whole space."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppuda_like._files import replacing
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp._bound import EditablePredictor
from ppuda_like.search.ncp._judge import regret_curve, true_rank
from ppuda_like.search.ncp._search_result import SearchResult
from ppuda_like.search.ncp._table import CodeTable

__all__ = ["SearchComparison", "compare_searches"]

Fit = Callable[[CodeTable, int], EditablePredictor]
Search = Callable[[EditablePredictor, int], SearchResult]


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchComparison:
    """True places and regrets of the codes that searches found, by seed and predictor calls.

    Attributes:
        metric: by which codes are ranked.
        seeds: of the repetitions.
        size: codes of the space.
        train_size: codes that each predictor was fitted to.
        budgets: numbers of predictor calls, ``(b,)``.
        ranks: by search, the place of the found code in the whole space after each budget, ``(seeds, b)``; NaN where
            nothing had been scored yet.
        regrets: likewise, how far it is below the best.
        start_ranks: place of the best code that the predictor was fitted to, ``(seeds,)``: what is known without any
            search.
    """

    metric: str
    seeds: tuple[int, ...]
    size: int
    train_size: int
    budgets: NDArray[np.int64]
    ranks: Mapping[str, NDArray[np.float64]]
    regrets: Mapping[str, NDArray[np.float64]]
    start_ranks: NDArray[np.int64]

    def calls_to_reach(self, search: str, rank: float) -> int | None:
        """The least of the budgets from which on the median place over seeds is at most ``rank``; None for never.

        Raises:
            CodeError: if there is no such search.
        """
        self._check(search)
        good = np.median(self.ranks[search], axis=0) <= rank  # false for NaN
        late = np.flatnonzero(~good)
        first = 0 if not len(late) else int(late[-1]) + 1
        return int(self.budgets[first]) if first < len(self.budgets) else None

    def summary(self, rank: float | None = None) -> str:
        """A Markdown table of what was found at the end.

        Args:
            rank: place to be reached; None for the best 0.5 %.
        """
        aim = 0.005 * self.size if rank is None else rank
        best = f"best of {self.train_size} measured"
        lines = [
            f"| search | median rank | quartiles | median regret | better than {best} | calls to rank {aim:.0f} |",
            "| --- | --- | --- | --- | --- | --- |",
            f"| {best} | {_quartiles(self.start_ranks)} | - | - | 0 |",
        ]
        for name, ranks in self.ranks.items():
            better = np.mean(ranks[:, -1] < self.start_ranks)
            calls = self.calls_to_reach(name, aim)
            regret = np.median(self.regrets[name][:, -1])
            reached = "never" if calls is None else f"{calls:,}"
            lines.append(f"| {name} | {_quartiles(ranks[:, -1])} | {regret:.2f} | {better:.0%} | {reached} |")
        return "\n".join(lines)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row for each search, seed and budget."""
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["search", "seed", "calls", "rank", "regret", "rank_of_best_measured"])
            for name, ranks in self.ranks.items():
                for row, (seed, start) in enumerate(zip(self.seeds, self.start_ranks.tolist(), strict=True)):
                    for place, calls in enumerate(self.budgets.tolist()):
                        rank, regret = ranks[row, place], self.regrets[name][row, place]
                        writer.writerow([name, seed, calls, float(rank), float(regret), start])

    def _check(self, search: str) -> None:
        if search not in self.ranks:
            raise CodeError(f"there is no search '{search}' in the comparison; there are {', '.join(self.ranks)}")


def compare_searches(
    table: CodeTable,
    fit: Fit,
    searches: Mapping[str, Search],
    *,
    budgets: Sequence[int] = (50, 100, 200, 500, 1000, 2000),
    train_size: int = 200,
    seeds: int | Sequence[int] = 20,
    metric: str | None = None,
) -> SearchComparison:
    """Fit a predictor to a few codes of a space, search by it, and look up what the found codes are worth.

    For each seed, all searches go by one predictor, fitted to codes drawn at random.

    Args:
        table: of the whole space.
        fit: makes a predictor of a part of the table, by a seed.
        searches: by name, functions of the predictor and a seed.
        budgets: numbers of calls to look at, ascending; a search is to make about as many as the last.
        train_size: codes to fit to.
        seeds: of the repetitions; a number for 0, 1, .. so many.
        metric: high values of which are wanted; None for the table's main one.

    Raises:
        DataError: if budgets do not ascend, the table has fewer codes than ``train_size``, or nothing is to be done.
        CodeError: if a search finds a code that the table does not hold, or there is no such metric.
    """
    calls = np.asarray(budgets, dtype=np.int64)
    if not len(calls) or calls[0] < 1 or (np.diff(calls) <= 0).any():
        raise DataError(f"'budgets' must be numbers above 0 that ascend (got {list(budgets)})")
    if not 0 < train_size <= len(table):
        raise DataError(f"'train_size' must be 1..{len(table)}, the codes of table '{table.name}' (got {train_size})")
    metric = metric or table.main
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or not searches:
        raise DataError(f"there must be a seed and a search (got {len(numbers)} and {len(searches)})")
    ranks = {name: np.full((len(numbers), len(calls)), np.nan) for name in searches}
    regrets = {name: np.full((len(numbers), len(calls)), np.nan) for name in searches}
    starts = np.empty(len(numbers), dtype=np.int64)
    for row, seed in enumerate(numbers):
        drawn = np.random.default_rng(derived_seed(seed, "train")).permutation(len(table))[:train_size]
        part = table.take(drawn)
        starts[row] = true_rank(part.codes[[part[metric].argmax()]], table, metric)[0]
        predictor = fit(part, seed)
        for name, search in searches.items():
            result = search(predictor, derived_seed(seed, "search"))
            known = calls >= result.calls[0]
            found = result.codes[result.best_after(calls[known])]
            ranks[name][row, known] = true_rank(found, table, metric)
            regrets[name][row, known] = regret_curve(result, table, calls[known], metric)
    return SearchComparison(
        metric=metric,
        seeds=numbers,
        size=len(table),
        train_size=train_size,
        budgets=calls,
        ranks=ranks,
        regrets=regrets,
        start_ranks=starts,
    )


def _quartiles(values: NDArray[np.float64] | NDArray[np.int64]) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.0f} | {low:.0f} .. {high:.0f}"
