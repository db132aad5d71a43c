"""Comparing kinds of predictors of codes on tables, on the same splits."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._partial import PartialResults
from ppuda_like.errors import CodeError, DataError
from ppuda_like.predictors import score_predictions
from ppuda_like.search.ncp._predictor_kinds import PREDICTOR_KINDS, fit_predictor
from ppuda_like.search.ncp._table import CodeTable

__all__ = ["CodePredictorRun", "PredictorComparison", "compare_predictors", "reference_split"]

logger = logging.getLogger(__name__)

FORMAT = 1
_TEST_SHARE = 0.2
_FIGURES = {
    "l1": "L1",
    "kendall": "Kendall tau",
    "spearman": "Spearman",
    "r2": "R2",
    "coverage_95": "coverage of 95 %",
    "cpu_seconds": "fit, CPU-s",
}
_HIGHER = {"kendall", "spearman", "r2"}
_UNRANKED = {"coverage_95", "cpu_seconds"}


def reference_split(num_rows: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, and the fifth to score on, as the program of arXiv:2103.13253 draws them from a seed.

    Raises:
        DataError: if there are fewer than 10 rows.

    Example:
        >>> train, test = reference_split(2507, seed=233)
        >>> len(train), len(test)
        (2005, 502)
    """
    if num_rows < 10:
        raise DataError(f"a split needs at least 10 rows (got {num_rows})")
    rows = np.arange(num_rows)
    train, test = train_test_split(rows, test_size=_TEST_SHARE, random_state=np.random.RandomState(seed))
    return train, test


@dataclass(frozen=True, kw_only=True)
class CodePredictorRun:
    """A predictor, fitted to a table once and scored on the rows that it did not see.

    Attributes:
        table: name of the table.
        content: of the table, as a hash.
        metric: that was predicted: its main one.
        kind: of the predictor.
        seed: of the split and of the fit.
        train_size: rows learnt from.
        test_size: rows scored on.
        l1: mean absolute error, in the unit of the metric.
        kendall: Kendall's tau-b.
        spearman: rank correlation.
        r2: share of the variance explained.
        coverage_95: share of the values within the central 95 % that the predictor states; NaN if it states none.
        cpu_seconds: of the fit, with features or graphs, summed over threads.
    """

    table: str
    content: str
    metric: str
    kind: str
    seed: int
    train_size: int
    test_size: int
    l1: float
    kendall: float
    spearman: float
    r2: float
    coverage_95: float
    cpu_seconds: float

    @property
    def key(self) -> str:
        """What tells it from other runs."""
        return _key(self.table, self.content, self.kind, self.seed)


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictorComparison:
    """Kinds of predictors, fitted to tables and scored on the same splits; ``print`` shows the table.

    Attributes:
        runs: one per table, kind and seed.
    """

    runs: tuple[CodePredictorRun, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(dict.fromkeys(run.table for run in self.runs))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of predictors."""
        return tuple(dict.fromkeys(run.kind for run in self.runs))

    def statistic(self, figure: str, table: str, kind: str) -> tuple[float, float]:
        """Mean and sample standard deviation over seeds of a figure, an attribute of :class:`CodePredictorRun`.

        Returns:
            Both are NaN for a figure that the predictor does not have, the deviation also for a single seed.

        Raises:
            DataError: if there is no such figure, or no run of the kind on the table.
        """
        if figure not in _FIGURES:
            raise DataError(f"there is no figure {figure!r}; there are {', '.join(_FIGURES)}")
        values = [getattr(run, figure) for run in self.runs if (run.table, run.kind) == (table, kind)]
        if not values:
            raise DataError(
                f"no predictor of kind {kind!r} was fitted to '{table}'; there are {', '.join(self.kinds)}, on "
                f"{', '.join(self.tables)}"
            )
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def table(self) -> str:
        """A table in Markdown: mean ± standard deviation over seeds, the best of each column and benchmark bold."""
        lines = [["table", "predictor", *_FIGURES.values()], ["---"] * (2 + len(_FIGURES))]
        for table in self.tables:
            kinds = [kind for kind in self.kinds if any((run.table, run.kind) == (table, kind) for run in self.runs)]
            means = {figure: {kind: self.statistic(figure, table, kind)[0] for kind in kinds} for figure in _FIGURES}
            best = {figure: (max if figure in _HIGHER else min)(means[figure].values()) for figure in _FIGURES}
            for kind in sorted(kinds, key=means["l1"].__getitem__):
                cells = [table, kind]
                for figure in _FIGURES:
                    mean, deviation = self.statistic(figure, table, kind)
                    text = _text(figure, mean, deviation)
                    cells.append(f"**{text}**" if figure not in _UNRANKED and mean == best[figure] else text)
                lines.append(cells)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"PredictorComparison({len(self.kinds)} kinds on {', '.join(self.tables)}, {len(self.runs)} fits)"

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row per fit; the file appears complete or not at all."""
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(CodePredictorRun)], lineterminator="\n")
            writer.writeheader()
            for run in self.runs:
                writer.writerow({name: "" if _is_nan(value) else value for name, value in asdict(run).items()})

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON, which :meth:`load` reads; the file appears complete or not at all."""
        runs = [{name: None if _is_nan(value) else value for name, value in asdict(run).items()} for run in self.runs]
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, "runs": runs}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> PredictorComparison:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: if there is no such file, or it is damaged or something else.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise DataError(f"there is no file '{path}'") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"'{path}' is no comparison of predictors: {error}") from error
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise DataError(f"'{path}' must be a comparison of predictors of codes of format {FORMAT} (got {found})")
        try:
            return cls(runs=tuple(_run(run) for run in values["runs"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"'{path}' is a damaged comparison of predictors ({error!r})") from error


def compare_predictors(
    tables: Sequence[CodeTable],
    kinds: Sequence[str] = PREDICTOR_KINDS,
    *,
    seeds: Sequence[int] = (233, 1, 2, 3, 4),
    out: str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> PredictorComparison:
    """Fit kinds of predictors to tables, and score each on the fifth of the rows that it did not see.

    The main metric of each table is scored.  Splits are those of :func:`reference_split`; nothing is chosen on the rows
    scored.  With ``out``, the results so far are kept beside that file, and what it holds already is not done again.

    Args:
        tables: benchmarks, each of another name.
        kinds: see :func:`fit_predictor`.
        seeds: of splits and fits.
        out: file to write one row per fit to, ``.csv``; the same is written beside it as ``.json``, for
            :meth:`PredictorComparison.load`, and the table of means as ``.md``.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        CodeError: if there is no such kind.
        DataError: if two tables have one name, a table has too few rows, there is nothing to fit, ``out`` has another
            suffix, or what is beside it is no comparison.

    Example:
        >>> from ppuda_like.search.ncp import load_table
        >>> small = load_table("seg").take(range(100))
        >>> found = compare_predictors([small], ["ensemble", "ridge"], seeds=[0])
        >>> found.statistic("l1", "seg", "ensemble")[0] < found.statistic("l1", "seg", "ridge")[0]
        True
    """
    names = [table.name for table in tables]
    if not names or not kinds or not seeds:
        raise DataError("give at least one table, one kind and one seed")
    if len(set(names)) < len(names):
        raise DataError(f"each table must have a name of its own (got {', '.join(names)}); table.take renames")
    wrong = sorted(set(kinds) - set(PREDICTOR_KINDS))
    if wrong:
        raise CodeError(f"there are no predictors of kind {wrong[0]!r}; there are {', '.join(PREDICTOR_KINDS)}")
    path = None if out is None else Path(out)
    if path is not None and path.suffix != ".csv":
        raise DataError(f"'out' must end in .csv (got '{path}')")
    kept = None if path is None else path.with_suffix(".json")
    partial = PartialResults(kept, f"predictors of codes, format {FORMAT}")
    done = {key: _run(value) for key, value in partial.found.items()}
    if kept is not None and kept.exists():
        done |= {run.key: run for run in PredictorComparison.load(kept).runs}
    runs = []
    todo = [(table, kind, seed) for table in tables for kind in dict.fromkeys(kinds) for seed in dict.fromkeys(seeds)]
    contents = {table.name: _content(table) for table in tables}
    for table, kind, seed in tqdm(todo, desc="predictors", disable=None if progress is None else not progress):
        run = done.get(_key(table.name, contents[table.name], kind, seed))
        if run is None:
            run = _fit_and_score(table, contents[table.name], kind, seed)
            partial.add(run.key, {name: None if _is_nan(value) else value for name, value in asdict(run).items()})
            logger.info("%s, %s, seed %d: L1 %.4g, tau %.3f", table.name, kind, seed, run.l1, run.kendall)
        runs.append(run)
    found = PredictorComparison(runs=tuple(runs))
    if path is not None and kept is not None:
        found.to_csv(path)
        found.save(kept)
        with replacing(path.with_suffix(".md")) as temporary:
            temporary.write_text(found.table() + "\n")
        partial.close()
    return found


def _fit_and_score(table: CodeTable, content: str, kind: str, seed: int) -> CodePredictorRun:
    train, test = reference_split(len(table), seed)
    start = time.process_time()
    predictor = fit_predictor(table, kind, rows=train, seed=seed)
    seconds = time.process_time() - start
    mean, std = (part[:, 0] for part in predictor.predict(table.codes[test], return_std=True))
    scores = score_predictions(table[table.main][test], mean, std if predictor.knows_uncertainty else None)
    return CodePredictorRun(
        table=table.name,
        content=content,
        metric=table.main,
        kind=kind,
        seed=int(seed),
        train_size=len(train),
        test_size=len(test),
        l1=scores.mae,
        kendall=scores.kendall,
        spearman=scores.spearman,
        r2=scores.r2,
        coverage_95=math.nan if scores.calibration is None else scores.calibration.coverage[0.95],
        cpu_seconds=seconds,
    )


def _content(table: CodeTable) -> str:
    parts = (table.space.name.encode(), table.codes.tobytes(), *(table[name].tobytes() for name in table.metrics))
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]


def _key(table: str, content: str, kind: str, seed: int) -> str:
    return f"{table} {content} {kind} {seed}"


def _run(values: Mapping[str, Any]) -> CodePredictorRun:
    """The inverse of ``asdict`` through JSON, where NaN is null."""
    found: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return CodePredictorRun(**found)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _text(figure: str, mean: float, deviation: float) -> str:
    if math.isnan(mean):
        return ""
    digits = 1 if figure == "cpu_seconds" else 3
    text = f"{mean:.{digits}f}"
    return text if math.isnan(deviation) or figure == "cpu_seconds" else f"{text} ± {deviation:.{digits}f}"
