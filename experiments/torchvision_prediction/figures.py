"""The table and the picture of the results."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ppuda_like._files import replacing

if TYPE_CHECKING:
    from run import Row

CHANCE = 10  # per cent, of ten classes


def by_family(rows: Sequence[Row]) -> str:
    """A line per family, in Markdown, by falling mean accuracy; families without any come last."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.family].append(row)
    lines = [
        "| family | models | parameters, M | nodes | whole / tiled / kept, % | seconds | pixels "
        "| evaluated | mean top-1, % | best |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    means = {name: statistics.fmean(t) if (t := _top1(group)) else -1.0 for name, group in groups.items()}
    for name in sorted(groups, key=lambda name: (-means[name], name)):
        group = groups[name]
        best = max((row for row in group if row.top1 is not None), key=lambda row: row.top1 or 0.0, default=None)
        params = sum(row.num_params for row in group)
        shares = (
            sum(getattr(row, key) * row.num_params for row in group) / params for key in ("predicted", "tiled", "kept")
        )
        cells = [
            name,
            len(group),
            _range((row.num_params / 1e6 for row in group), 1),
            _range((row.nodes for row in group), 0),
            " / ".join(f"{100 * value:.1f}" for value in shares),
            _range((row.seconds for row in group), 1),
            ", ".join(map(str, sorted({row.image_size for row in group}))),
            len(_top1(group)),
            "" if best is None else f"{100 * means[name]:.1f}",
            "" if best is None else f"{best.model}, {100 * (best.top1 or 0.0):.1f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy against parameters; a colour and a mark per family, hollow where fewer images were used."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    shown = [row for row in rows if row.top1 is not None]
    most = max((row.num_images for row in shown), default=0)
    for number, name in enumerate(sorted({row.family for row in shown})):
        colour, mark = f"C{number % 10}", "osD^vP*X"[number % 8]
        for row in (row for row in shown if row.family == name):
            face = colour if row.num_images == most else "none"
            axis.plot(row.num_params, 100 * (row.top1 or 0.0), mark, color=colour, markerfacecolor=face)
        axis.plot([], [], mark, color=colour, label=name)
    axis.axhline(CHANCE, color="grey", linewidth=1, linestyle="--")
    axis.plot([], [], "--", color="grey", linewidth=1, label="chance")
    axis.set(xscale="log", xlabel="parameters", ylabel="top-1 on test images, %", ylim=(0, 100))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M"))
    axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    if any(row.num_images < most for row in shown):
        axis.set_title(f"filled: {most} images, hollow: fewer", fontsize="medium")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _top1(rows: Iterable[Row]) -> list[float]:
    return [row.top1 for row in rows if row.top1 is not None]


def _range(values: Iterable[float], digits: int) -> str:
    """The smallest and the largest value, or the only one."""
    shown = [f"{value:.{digits}f}" for value in sorted(values)]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]}-{shown[-1]}"
