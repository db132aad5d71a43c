"""Tables and pictures of the runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import recipes
from matplotlib import colormaps
from matplotlib.figure import Figure

from ppuda_like._files import replacing
from ppuda_like.search.blocks import BlockSearchResult

Record = dict[str, Any]


def comparison_table(records: Iterable[Record], ways: Sequence[recipes.Way], task: recipes.Task) -> list[str]:
    """A line per way and number of blocks: means and standard deviations over the seeds."""
    records = list(records)
    columns = ["way to train", "blocks", "top-1, %", "weighted ensemble, %", "first block alone, %"]
    columns += ["ideal speed-up", "extra MACs, %", "steps", "CPU s", "seeds"]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for way in ways:
        for number in (1, *task.blocks):
            found = [one for one in records if one["way"] == way.name and one["blocks"] == number]
            if not found:
                continue
            one = found[0]
            row = [way.name, str(number), _mean(r["top1"] for r in found), _mean(r["ensemble"] for r in found)]
            row += [_mean(r["of_blocks"][0] for r in found) if number > 1 else ""]
            row += [f"{one['ideal_speedup']:.2f}", f"{100 * one['overhead']:.1f}", str(one["steps"])]
            row += [f"{statistics.fmean(r['cpu_seconds'] for r in found):.0f}", str(len(found))]
            rows.append(f"| {' | '.join(row)} |")
    return rows


def searched_table(found: BlockSearchResult, task: recipes.Task) -> list[str]:
    """What the search chose."""
    rows = ["| blocks | end after units | auxiliary networks | margin |", "|---|---|---|---|"]
    for number in task.blocks:
        one = found.decode(number, tolerance=0)
        ends = ", ".join(map(str, one.boundaries))
        rows.append(f"| {number} | {ends} | {', '.join(one.auxiliaries)} | {one.margin:.3f} |")
    logits = ", ".join(f"{value:+.2f}" for value in found.alpha)
    return [*rows, "", f"Logits of the cuts behind units 0 to {len(found.alpha) - 1}: {logits}."]


def draw_comparison(records: Iterable[Record], ways: Sequence[recipes.Way], task: recipes.Task, path: Path) -> None:
    """Top-1 of every way, a dot per seed and a line at the mean, side by side for each number of blocks."""
    records = list(records)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(task.blocks), sharex=True, sharey=True, squeeze=False)[0]
    whole = [100 * one["top1"] for one in records if one["blocks"] == 1]
    shown = [way for way in ways if way.cuts != "whole"]
    for axis, number in zip(axes, task.blocks, strict=True):
        if whole:
            axis.axvline(statistics.fmean(whole), color="black", linestyle="--", linewidth=1, label="end to end, mean")
            axis.axvspan(min(whole), max(whole), color="black", alpha=0.08, label="end to end, all seeds")
        for place, way in enumerate(reversed(shown)):
            values = [100 * one["top1"] for one in records if one["way"] == way.name and one["blocks"] == number]
            if values:
                axis.plot(values, [place] * len(values), "o", color="#1d4ed8", alpha=0.5)
                axis.plot([statistics.fmean(values)] * 2, [place - 0.3, place + 0.3], color="#c2410c", linewidth=2)
        axis.set(title=f"{number} blocks", xlabel="top-1, %", yticks=range(len(shown)))
        axis.set_yticklabels([way.name for way in reversed(shown)])
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(task.title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_search(lines: Sequence[Record], path: Path) -> None:
    """How the logits of cuts moved, and how large the gradients at each boundary were."""
    boundaries = sum(key.startswith("alpha_grad_") for key in lines[0])
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colors = colormaps["viridis"](np.linspace(0, 0.9, boundaries))
    for i, color in enumerate(colors):
        left.plot([line[f"alpha_{i}"] for line in lines], color=color, label=f"after unit {i}")
    left.axhline(0, color="black", linewidth=0.8, linestyle=":")
    left.set(xlabel="update", ylabel="logit of a cut")
    left.legend(frameon=False, fontsize="small", ncols=2)
    for place, color in enumerate(colors):
        drawn = [line[f"alpha_grad_{place}"] for line in lines if line[f"alpha_grad_{place}"]]
        if drawn:
            right.bar(place, statistics.fmean(drawn), color=color)
    right.set(xlabel="after unit", ylabel="mean size of the gradient", xticks=range(boundaries))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def async_table(records: Iterable[Record], study: recipes.Study) -> list[str]:
    """A line per setting: means and standard deviations over the seeds, and what happened in the second buffer."""
    columns = [
        "batches in a buffer",
        "slow-down of the second block",
        "top-1, %",
        "read before, %",
        "lost unread, %",
        "mean age",
    ]
    rows = [f"| {' | '.join([*columns, 'seeds'])} |", "|" + "---|" * (len(columns) + 1)]
    records = list(records)
    sync = [one["top1"] for one in records if not one["setting"]]
    rows.append(f"| in sync | 1 | {_mean(sync)} | | | | {len(sync)} |")
    for pace in study.paces():
        found = _of(records, pace)
        if not found:
            continue
        # Over the buffers behind all blocks.
        read, again, lost = (sum(b[key] for r in found for b in r["replay"]) for key in ("read", "reread", "lost"))
        age = sum(b["mean_age"] * b["read"] for r in found for b in r["replay"]) / max(1, read)
        row = [str(pace.size), f"{pace.slow_down:g}", _mean(r["top1"] for r in found)]
        row += [f"{100 * again / max(1, read):.1f}", f"{100 * lost / max(1, read - again + lost):.1f}", f"{age:.2f}"]
        rows.append(f"| {' | '.join([*row, str(len(found))])} |")
    return rows


def draw_async(records: Iterable[Record], study: recipes.Study, path: Path) -> None:
    """Accuracy against the size of the buffers, and against how slow one block is."""
    records = list(records)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    sync = [100 * one["top1"] for one in records if not one["setting"]]
    most = max(study.slow_downs)
    of_size = "batches in a buffer"
    of_pace = f"slow-down of the second block, buffers of {study.size} batches"
    for axis, paces, key, label, name, color in (
        (left, [recipes.Pace(size=n) for n in study.sizes], "size", of_size, "all at one pace", "#1d4ed8"),
        (left, [recipes.Pace(size=n, slow_down=most) for n in study.sizes], "size", of_size, "one slow", "#c2410c"),
        (
            right,
            [recipes.Pace(size=study.size, slow_down=s) for s in study.slow_downs],
            "slow_down",
            of_pace,
            "",
            "#1d4ed8",
        ),
    ):
        values = [[100 * one["top1"] for one in _of(records, pace)] for pace in paces]
        places = [getattr(pace, key) for pace, found in zip(paces, values, strict=True) if found]
        found = [one for one in values if one]
        for place, several in zip(places, found, strict=True):
            axis.plot([place] * len(several), several, "o", color=color, alpha=0.4)
        title = f"{name} ({most:g} times slower)" if "slow" in name else name
        axis.plot(places, [np.mean(several) for several in found], color=color, label=title or None)
        axis.set(xlabel=label, xscale="log", xticks=places)
        axis.set_xticks([], minor=True)
        axis.set_xticklabels([f"{place:g}" for place in places])
        axis.grid(alpha=0.3)
    for axis in (left, right):
        if sync:
            axis.axhline(statistics.fmean(sync), color="black", linestyle="--", linewidth=1, label="in sync")
    left.set_ylabel("top-1 of the last block, %")
    left.legend(frameon=False)
    figure.suptitle(f"{study.task.title}, {study.num_blocks} blocks")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _of(records: Sequence[Record], pace: recipes.Pace) -> list[Record]:
    return [one for one in records if one["setting"] == {"size": pace.size, "slow_down": pace.slow_down}]


def _mean(shares: Iterable[float]) -> str:
    values = [100 * share for share in shares]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}" if values else ""
