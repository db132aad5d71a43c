"""The exact search over rated blocks: ``python benchmarks/dna_search.py`` writes benchmarks/dna_search.md.

CPU time is the median of repetitions in one process on one thread; memory is the largest that Python and numpy have allocated at once, ratings
and cost table included, and the peak resident size of a process that does nothing else, most of which is torch. Ratings are drawn at
random, or read from .npz files with arrays stage0, stage1 ..
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from speed import environment, line, peak

from ppuda_like._files import replacing
from ppuda_like.search.dna import CostTable, Ratings, Space, cost_table, imagenet_space, search

Case = Literal["default", "full"]
Costs = Literal["one", "two"]
COSTS: dict[Costs, tuple[str, ...]] = {"one": ("flops_counter",), "two": ("flops_counter", "params")}
LIMITS = {"default": 460_000_000, "full": 765_000_000}
AIMS = {("default", "one"): "<= 50 ms, <= 200 MB", ("full", "one"): "<= 1 s, <= 200 MB"}


def space_of(case: Case) -> Space:
    """The published space, and five stages of 46,656 paths; the last stage is fixed."""
    return imagenet_space(depths=(2, 4, 4, 4, 4, 1) if case == "default" else (6, 6, 6, 6, 6, 1), fix_last=True)


def ratings_of(space: Space, file: Path | None) -> Ratings:
    """Ratings from a file, or such that each operation helps by itself, larger ones more, and paths differ by noise."""
    if file is not None:
        with np.load(file) as arrays:
            values = [arrays[f"stage{stage}"][:paths] for stage, paths in enumerate(space.num_paths)]
        return Ratings.from_arrays(space, values)
    rng = np.random.default_rng(0)
    values = []
    for stage, paths in enumerate(space.num_paths):
        cell = space.stages[stage].cells[0]
        gains = np.sort(rng.uniform(0, 0.02, size=(cell.depth, len(cell.operations))))[:, ::-1]
        helped = gains[np.arange(cell.depth), cell.paths()].sum(axis=1)
        values.append(0.4 + 0.05 * stage - helped + rng.normal(0, 0.004, size=paths))
    return Ratings.from_arrays(space, values)


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def measure_memory(case: Case, costs: Costs, file: Path | None) -> None:
    """Print the peak of allocations and that of the process, in MB."""
    space = space_of(case)
    cost_table(space)  # tracing is not what is measured
    tracemalloc.start()
    ratings, table = ratings_of(space, file), cost_table(space)
    search(ratings, COSTS[costs], table=table)
    print(tracemalloc.get_traced_memory()[1] / 2**20, peak())


def measure(case: Case, costs: Costs, file: Path | None) -> str:
    space = space_of(case)
    ratings, table = ratings_of(space, file), cost_table(space)
    front = search(ratings, COSTS[costs], table=table)
    whole = cpu_seconds(lambda: search(ratings, COSTS[costs], table=table), 5 if costs == "one" else 2)
    limit = {"flops_counter": LIMITS[case]}
    one = cpu_seconds(lambda: search(ratings, COSTS[costs], table=table, limits=limit).best(limit), 5)
    read = cpu_seconds(lambda: [front.best(limit) for _ in range(100)], 3) / 100
    arguments = ["--memory-case", case, "--memory-costs", costs, *(["--memory-file", str(file)] if file else [])]
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    growth, total = map(float, done.stdout.split())
    paths = " x ".join(f"{count:,}" for count in space.num_paths)
    aim = AIMS.get((case, costs), "")
    loss = f"{front.best(limit).loss:.6f}"
    kind = "read" if file else "drawn"
    return line(
        paths, kind, ", ".join(COSTS[costs]), len(front), 1e3 * whole, 1e3 * one, 1e3 * read, growth, total, loss, aim
    )


def tables() -> list[str]:
    """Counting the costs of a space, once."""
    rows = []
    for case in ("default", "full"):
        start = time.process_time()
        table: CostTable = cost_table(space_of(case))
        rows.append(f"Counting all parts of the {case} space: {time.process_time() - start:.2f} s")
        assert table.names[1] == "flops_counter"
    return [". ".join(rows) + " (what both share is counted once)."]


def main(
    out: Path = Path("benchmarks/dna_search.md"),
    default: Path | None = None,
    full: Path | None = None,
    memory_case: Case | None = None,
    memory_costs: Costs = "one",
    memory_file: Path | None = None,
) -> None:
    """Measure everything and write the report.

    Args:
        out: where the report goes.
        default: .npz file with ratings of the default space; drawn ones are measured in any case.
        full: .npz file with ratings of five stages of 46,656 paths.
        memory_case: measure the memory of this case only, and print it.
        memory_costs: how many costs that case limits.
        memory_file: where its ratings are.
    """
    if memory_case is not None:
        measure_memory(memory_case, memory_costs, memory_file)
        return
    cases: list[tuple[Case, Path | None]] = [("default", None), ("full", None)]
    cases += [(case, file) for case, file in (("default", default), ("full", full)) if file is not None]  # type: ignore[misc]
    rows = [
        "# Exact search over rated blocks",
        "",
        f"`python benchmarks/dna_search.py`, {environment()}. CPU time on one thread.",
        "",
        "*All budgets*: the whole front; *one budget*: a search for it alone, answer included; *read*: one answer from the front.",
        "The loss is that of the best network within 460 M (default) or 765 M (full).",
        "",
        "| paths of the stages | ratings | costs | networks on the front | all budgets ms | one budget ms | read ms | memory MB | whole process MB | loss | aim |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    counting = tables()
    rows += [measure(case, costs, file) for case, file in cases for costs in COSTS]
    report = "\n".join([*rows, "", *counting]) + "\n"
    with replacing(out) as temporary:
        temporary.write_text(report)
    print(report)


if __name__ == "__main__":
    tyro.cli(main)
