"""The table and the picture of the results."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppuda_like._files import replacing


def table(runs: Sequence[dict[str, Any]], held_out: str) -> str:
    """Mean and range over the seeds by variant, in Markdown.

    Args:
        runs: what each run came to.
        held_out: what images the learning curve is of; "test" for those that the last column is about anyway.
    """
    keys = {"training": "train_top1", held_out: "val_top1", "test": "test_top1"}
    titles = " | ".join(f"{name} top-1, %" for name in keys)
    lines = [f"| regularisers | runs | {titles} | minutes |", "|---" * (len(keys) + 3) + "|"]
    for variant in dict.fromkeys(run["variant"] for run in runs):
        mine = [run for run in runs if run["variant"] == variant]
        cells = [_mean_and_range([100 * run[key] for run in mine]) for key in keys.values()]
        minutes = statistics.fmean(run["seconds"] for run in mine) / 60
        lines.append(f"| {variant} | {len(mine)} | {' | '.join(cells)} | {minutes:.1f} |")
    return "\n".join(lines)


def plot(curves: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], path: Path, held_out: str) -> None:
    """Errors in training and on held-out images by epoch, means over the seeds and their range, and those in the end.

    Args:
        curves: lines of the runs' metrics.
        runs: what each run came to.
        path: file to write.
        held_out: what images the second panel is about.
    """
    figure = Figure(figsize=(12, 4), layout="constrained")
    training, other, last = figure.subplots(1, 3)
    _curves(training, curves, "top1")
    _curves(other, curves, "val_top1")
    training.set(title="training images, regularised", ylabel="top-1 error, %")
    other.set(title=f"{held_out} images")
    variants = list(dict.fromkeys(run["variant"] for run in runs))
    for variant in variants:
        errors = [100 * (1 - run["test_top1"]) for run in runs if run["variant"] == variant]
        last.plot(errors, [variant] * len(errors), "o", fillstyle="none")
    last.set(title="test images, after the last epoch", xlabel="top-1 error, %; a mark per seed", xlim=(0, None))
    last.invert_yaxis()
    last.grid(alpha=0.3)
    figure.legend(*training.get_legend_handles_labels(), loc="outside lower center", ncols=len(variants), frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _curves(panel: Axes, curves: Sequence[dict[str, Any]], key: str) -> None:
    for variant in dict.fromkeys(line["variant"] for line in curves):
        found: dict[int, list[float]] = defaultdict(list)
        for line in curves:
            if line["variant"] == variant:
                found[line["epoch"]].append(100 * (1 - line[key]))
        epochs = sorted(found)
        (drawn,) = panel.plot(epochs, [statistics.fmean(found[epoch]) for epoch in epochs], label=variant)
        low, high = ([end(found[epoch]) for epoch in epochs] for end in (min, max))
        panel.fill_between(epochs, low, high, alpha=0.15, color=drawn.get_color(), linewidth=0)
    panel.set_yscale("symlog", linthresh=1)  # an error may be 0
    panel.set(xlabel="epoch", ylim=(0, 100), yticks=(0, 1, 2, 5, 10, 20, 50, 100))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.grid(alpha=0.3)


def _mean_and_range(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f}-{max(values):.1f})"
