"""The table and the picture of the results."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ppuda_like._files import replacing


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Mean and range over the seeds by variant, in Markdown."""
    lines = [
        "| regularisers | runs | training top-1, % | validation top-1, % | test top-1, % | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for variant in dict.fromkeys(run["variant"] for run in runs):
        mine = [run for run in runs if run["variant"] == variant]
        cells = [_mean_and_range([100 * run[key] for run in mine]) for key in ("train_top1", "val_top1", "test_top1")]
        minutes = statistics.fmean(run["seconds"] for run in mine) / 60
        lines.append(f"| {variant} | {len(mine)} | {' | '.join(cells)} | {minutes:.1f} |")
    return "\n".join(lines)


def plot(curves: Sequence[dict[str, Any]], path: Path, held_out: str) -> None:
    """Accuracy in training and on held-out images by epoch: means over the seeds, the bands their range.

    Args:
        curves: lines of the runs' metrics.
        path: file to write.
        held_out: what images the second panel is about.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key, title in zip(
        panels, ("top1", "val_top1"), ("training, regularised images", f"{held_out} images"), strict=True
    ):
        for variant in dict.fromkeys(line["variant"] for line in curves):
            found: dict[int, list[float]] = defaultdict(list)
            for line in curves:
                if line["variant"] == variant:
                    found[line["epoch"]].append(100 * (1 - line[key]))
            epochs = sorted(found)
            (drawn,) = panel.plot(epochs, [statistics.fmean(found[epoch]) for epoch in epochs], label=variant)
            panel.fill_between(
                epochs,
                [min(found[epoch]) for epoch in epochs],
                [max(found[epoch]) for epoch in epochs],
                alpha=0.15,
                color=drawn.get_color(),
                linewidth=0,
            )
        panel.set_yscale("symlog", linthresh=1)  # an error may be 0
        panel.set(title=title, xlabel="epoch", ylim=(0, 100), yticks=(0, 1, 2, 5, 10, 20, 50, 100))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("top-1 error, %")
    panels[0].legend(frameon=False, loc="lower left")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _mean_and_range(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f}-{max(values):.1f})"
