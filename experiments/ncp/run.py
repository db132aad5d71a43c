"""Predictors of network codes, and edits along them: ``python experiments/ncp/run.py --data FOLDER``."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    PREDICTOR_KINDS,
    PUBLISHED_CODES,
    CodeTable,
    Constraints,
    MultiResolutionCode,
    Objective,
    TablePredictor,
    compare_predictors,
    compare_searches,
    edit,
    edit_published,
    edit_search,
    evolve,
    fit_predictor,
    judge,
    load_table,
    local_search,
    nearest_rows,
    plot_comparison,
    plot_edit,
    random_search,
    score_all,
    search_in_rounds,
    true_rank,
    true_values,
)

Stage = Literal["predictors", "edits", "cells"]

TABLES = ("seg", "seg-4x", "cls-50-1000", "cls-50-100", "video", "nas-bench-201")
CELLS = "nas-bench-201"
SLOW = {"graph": ("seg", CELLS)}  # kinds that are fitted to some of the tables only
SEEDS = (233, 1, 2, 3, 4)
LIMITS = (0.5e9, 1e9, 2e9, 4e9)
SEARCH_CALLS = 2000
BUDGETS = (25, 50, 100, 200, 500, 1000, 2000, 5000, 15625)
STARTS = 200  # of an edit, besides the published start


@dataclass(frozen=True, kw_only=True)
class Job:
    """An edit of the table of edits.

    Attributes:
        name: what the table calls it.
        tasks: tables whose main metrics are made large, each with weight 1.
        flops: weight of the exact FLOPs, for a doubling of them.
        uncertainty: standard deviations that count against a prediction.
        limit: most FLOPs.
        start: published code to start from alone, without others drawn at random.
    """

    name: str
    tasks: tuple[str, ...]
    flops: float = 0.0
    uncertainty: float = 0.0
    limit: float | None = None
    start: str | None = None


JOBS = (
    *(Job(name=f"{task}, uncertainty {k}", tasks=(task,), uncertainty=k) for task in TABLES[:5] for k in (0.0, 1.0)),
    *(Job(name=f"seg, at most {limit / 1e9:g} G", tasks=("seg",), uncertainty=1.0, limit=limit) for limit in LIMITS),
    Job(name="seg and cls-50-1000", tasks=("seg", "cls-50-1000"), uncertainty=1.0),
    Job(name="seg and video", tasks=("seg", "video"), uncertainty=1.0),
    Job(name="all five", tasks=TABLES[:5], uncertainty=1.0),
    Job(name="seg, from the published code for video", tasks=("seg",), uncertainty=1.0, start="video"),
    Job(name="video, from the published code for seg", tasks=("video",), uncertainty=1.0, start="seg"),
)


def halves(table: CodeTable) -> tuple[CodeTable, CodeTable]:
    """The same two disjoint halves of every table of multi-resolution codes."""
    order = np.random.default_rng(0).permutation(len(table))
    middle = len(order) // 2
    return table.take(order[:middle]), table.take(order[middle:])


def starts(job: Job, num: int) -> NDArray[np.int64]:
    first = np.asarray(PUBLISHED_CODES[job.start or "start"])[None]
    return first if job.start else np.concatenate((first, MULTI_RESOLUTION.sample(num, np.random.default_rng(0))))


def edits(tables: dict[str, CodeTable], out: Path, jobs: Sequence[Job], num: int, steps: int) -> None:
    """Edit by predictors of one half of the rows, and let those of the other half judge."""
    parts = {name: halves(table) for name, table in tables.items()}
    editors = {name: fit_predictor(first, metrics=[first.main]) for name, (first, _) in parts.items()}
    judges = {name: fit_predictor(second, metrics=[second.main]) for name, (_, second) in parts.items()}
    columns = [
        "edit",
        "code",
        "G FLOPs",
        "M parameters",
        "metric",
        "editor",
        "judge",
        "nearest measured",
        "best measured",
    ]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    record: list[dict[str, Any]] = []
    for job in jobs:
        if not set(job.tasks) <= set(tables):
            continue
        used = [editors[task] for task in job.tasks]
        objective = Objective(dict(terms(job, used)), uncertainty=job.uncertainty)
        begin = time.perf_counter()
        trajectory = edit(starts(job, num), used, objective, Constraints(max_flops=job.limit), steps=steps)
        seconds = time.perf_counter() - begin
        best = trajectory.best()
        for task in job.tasks:
            key = f"{task}.{tables[task].main}"
            judged = float(judge([best.code], [judges[task]])[key][0, 0])
            near = nearest_rows([best.code], tables[task], 1)
            top = best_measured(tables[task], job.limit)
            measured, distance = near.metrics[tables[task].main][0, 0], near.distances[0, 0]
            row = [job.name, MultiResolutionCode(best.code).text, f"{best.flops / 1e9:.3f}", f"{best.params / 1e6:.3f}"]
            row += [key, f"{best.predictions[key]:.2f} ± {best.stds[key]:.2f}", f"{judged:.2f}"]
            row += [f"{measured:.2f}, {distance:.1f} away", f"{top:.2f}"]
            rows.append(f"| {' | '.join(row)} |")
            print(rows[-1], flush=True)
            found = {
                "job": job.name,
                "metric": key,
                "code": best.code,
                "editor": best.predictions[key],
                "judge": judged,
            }
            record.append(found | {"best_measured": top, "flops": best.flops, "seconds": seconds})
        if len(job.tasks) == 1:
            plot_edit(trajectory, tables[job.tasks[0]], out / f"edit_{len(record)}_{job.tasks[0]}.png", title=job.name)
    (out / "edits.json").write_text(json.dumps(record, indent=1) + "\n")
    write(out / "edits.md", rows)


def terms(job: Job, predictors: Sequence[TablePredictor]) -> Iterator[tuple[str, float]]:
    for predictor in predictors:
        yield f"{predictor.table}.{predictor.metrics[0]}", 1.0
    if job.flops:
        yield "flops", job.flops


def best_measured(table: CodeTable, limit: float | None) -> float:
    """The highest main metric of a table, of codes within a limit."""
    flops = MULTI_RESOLUTION.costs(table.codes)[:, 0]
    return float(table[table.main][flops <= (limit or np.inf)].max())


def published(tables: dict[str, CodeTable], out: Path, steps: int) -> None:
    """Edit exactly as published, by the published predictor of all rows."""
    rows = [
        "| table | start, predicted | after 70 steps, predicted | code | G FLOPs | M parameters |",
        "|---|---|---|---|---|---|",
    ]
    for name, table in tables.items():
        predictor = fit_predictor(table, "mlp", seed=233)
        trajectory = edit_published(np.asarray(PUBLISHED_CODES["start"]), predictor, steps=steps)
        key = f"{name}.{table.main}"
        first, last = trajectory.at(0), trajectory.at(-1)
        rows.append(
            f"| {name} | {first.predictions[key]:.2f} | {last.predictions[key]:.2f} | "
            f"{MultiResolutionCode(last.code).text} | {last.flops / 1e9:.3f} | {last.params / 1e6:.3f} |"
        )
        print(rows[-1], flush=True)
    write(out / "published.md", rows)


def cells(table: CodeTable, out: Path, train_size: int, seeds: int, budgets: Sequence[int]) -> None:
    """Search all cells of NAS-Bench-201 by predictors of few, and look up what the found ones are worth."""
    budget = SEARCH_CALLS
    goal = {table.main: 1.0}
    careful = Objective(goal, uncertainty=1.0)
    searches = {
        "random": lambda p, s: random_search(p, goal, budget=budget, seed=s),
        "local": lambda p, s: local_search(p, goal, budget=budget, seed=s),
        "evolution": lambda p, s: evolve(p, goal, budget=budget, seed=s),
        "edit": lambda p, s: edit_search(p, goal, budget=budget, seed=s),
        "edit, winner takes all": lambda p, s: edit_search(p, goal, budget=budget, seed=s, rule="winner"),
        "edit, uncertainty 1": lambda p, s: edit_search(p, careful, budget=budget, seed=s),
        "all scored": lambda p, s: score_all(p, goal),
        "all scored, uncertainty 1": lambda p, s: score_all(p, careful),
    }
    rows = []
    undirected = {name: search for name, search in searches.items() if "edit" not in name}
    for kind, chosen in (("ensemble", searches), ("ranks", searches), ("graph", undirected)):
        fit = partial(_fit, kind)
        found = compare_searches(table, fit, chosen, budgets=budgets, train_size=train_size, seeds=seeds)
        found.to_csv(out / f"cells_{kind}.csv")
        plot_comparison(found, out / f"cells_{kind}.png")
        rows += ["", f"Predictor: {kind}", "", found.summary()]
        print("\n".join(rows[-4:]), flush=True)
    write(out / "cells.md", rows)


def rounds(table: CodeTable, out: Path, seeds: int) -> None:
    """Measure 200 cells, all at random, or half of them where a predictor of those before expects most."""
    rows = ["| measured | median rank of the best | worst of all seeds |", "|---|---|---|"]
    for name, first, turns in (("200 at random", 200, 0), ("100 at random, then 10 times 10 chosen", 100, 10)):
        ranks = []
        for seed in range(seeds):
            found = search_in_rounds(
                table.space,
                lambda codes: true_values(codes, table),
                partial(_fit, "ensemble"),
                lambda predictor, _: score_all(predictor, {table.main: 1.0}),
                metric=table.main,
                first=first,
                rounds=turns,
                batch=10,
                seed=seed,
            )
            ranks.append(int(true_rank(found.codes, table).min()))
        rows.append(f"| {name} | {np.median(ranks):.1f} | {max(ranks)} |")
        print(rows[-1], flush=True)
    write(out / "rounds.md", rows)


def _fit(kind: str, table: CodeTable, seed: int) -> TablePredictor:
    return fit_predictor(table, kind, metrics=[table.main], seed=seed % 2**31)


def write(path: Path, rows: Sequence[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(rows).strip() + "\n")


def main(
    data: Path | None = None,
    stages: tuple[Stage, ...] = ("predictors", "edits", "cells"),
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Compare predictors of codes, edit along them, and search cells; the comparison goes on where it was stopped.

    Args:
        data: folder of NAS-Bench-MR's tables, .npz or .csv; the bundled part of one without.
        stages: what to do.
        out: folder of the results; data/ncp, or with --smoke a temporary one.
        smoke: a few rows of the bundled table, and next to no work.
    """
    if out is None:
        out = Path(tempfile.mkdtemp() if smoke else "data/ncp")
    out.mkdir(parents=True, exist_ok=True)
    tables = tables_of(data)
    if smoke:
        tables = {name: table.take(range(120)) for name, table in tables.items() if name == "seg"}
    codes = {name: table for name, table in tables.items() if name != CELLS}
    if "predictors" in stages:
        kinds = ("ensemble", "ridge") if smoke else tuple(kind for kind in PREDICTOR_KINDS if kind not in SLOW)
        found = compare_predictors(
            list(tables.values()), kinds, seeds=SEEDS[:1] if smoke else SEEDS, out=out / "predictors.csv"
        )
        print(found)
        if not smoke:
            for kind, names in SLOW.items():
                chosen = [tables[name] for name in names if name in tables]
                print(compare_predictors(chosen, [kind], seeds=SEEDS[:2], out=out / f"predictors_{kind}.csv"))
    if "edits" in stages:
        published(codes, out, 3 if smoke else 70)
        edits(codes, out, JOBS[1:2] if smoke else JOBS, 2 if smoke else STARTS, 3 if smoke else 70)
    if "cells" in stages and CELLS in tables:
        rounds(tables[CELLS], out, 20)
        cells(tables[CELLS], out, 200, 20, BUDGETS)
    print(f"results are in {out}")


def tables_of(folder: Path | None) -> dict[str, CodeTable]:
    if folder is None:
        return {"seg": load_table("seg")}
    paths = {name: next(iter(folder.glob(f"{name}.[nc][ps][zv]")), None) for name in TABLES}
    found = {name: load_table(str(path)) for name, path in paths.items() if path is not None}
    if not found:
        raise DataError(f"there is none of {', '.join(TABLES)} in '{folder}', as .npz or .csv")
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
