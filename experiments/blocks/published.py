"""The published searches of SEDONA: what they decode to, and how their blocks balance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import recipes
import torch
import torchvision
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppuda_like._files import replacing
from ppuda_like.graph import ComputationalGraph, Partition, Unit, trace, uniform_ends, units
from ppuda_like.search.blocks import BlockSearchResult, Decoded, Pipeline, ending_costs, pipeline, sedona_net

CLASSES, SIZE, WIDTH = 1000, 224, 4
WIDE = {"features": 512 * WIDTH}
NOISE = 1e-4  # a margin in probability below this is none
TAIL = 15  # the unit from which on the published logits halve from one to the next


def load(folder: Path) -> dict[str, BlockSearchResult]:
    """The published searches."""
    return {name: BlockSearchResult.load(folder / f"{name}.npz") for name in recipes.SEARCHED}


def decode_table(found: dict[str, BlockSearchResult]) -> list[str]:
    """A line per network and number of blocks; 0 stands for all cuts that are at least as likely as not."""
    columns = ["network", "blocks", "end after units", "units per block", "auxiliary depth", "margin", "uniform cuts"]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, search in found.items():
        num_units = len(search.alpha) + 1
        for number in (2, 3, 4, 8, 0):
            one = search.decode(number, tolerance=0)  # the table tells of small margins
            ends = (-1, *one.boundaries, num_units - 1)
            row = [recipes.SEARCHED[name], str(number or f"0: {one.num_blocks}"), _listed(one.boundaries)]
            row += [_listed(np.diff(ends).tolist()), _listed([name.removeprefix("light-") for name in one.auxiliaries])]
            row += [f"{one.margin:.2g}" + (", noise" if number and one.margin < NOISE else "") if number else ""]
            row += [_listed(uniform_ends(num_units, one.num_blocks)) if number else ""]
            rows.append(f"| {' | '.join(row)} |")
    return rows


def draw_logits(found: dict[str, BlockSearchResult], path: Path) -> None:
    """Probabilities of cuts with those that four blocks take, and how logits fade with depth."""
    figure = Figure(figsize=(15, 6), layout="constrained")
    axes = figure.subplots(2, len(found))
    for top, bottom, (name, search) in zip(*axes, found.items(), strict=True):
        places = np.arange(len(search.alpha))
        chosen = list(search.decode(4, tolerance=0).boundaries)
        top.bar(places, 1 / (1 + np.exp(-search.alpha)), width=0.9, color="#b0b7c3")
        top.bar(chosen, 1 / (1 + np.exp(-search.alpha[chosen])), width=0.9, color="#c2410c", label="cut for 4 blocks")
        top.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        top.set(title=recipes.SEARCHED[name], ylim=(0, 1), ylabel="probability of a cut")
        size = np.abs(search.alpha)
        bottom.semilogy(places, np.maximum(size, 1e-16), ".", color="#1d4ed8", base=2, label="size of the logit")
        if len(places) > 2 * TAIL:
            tail = places[TAIL:][size[TAIL:] > 0]
            slope, start = np.polyfit(tail, np.log2(size[tail]), 1)
            bottom.plot(tail, 2 ** (start + slope * tail), color="black", label=f"times {2**slope:.2f} a unit")
        bottom.set(xlabel="after unit", ylabel="|logit|")
        for axis in (top, bottom):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        bottom.legend(frameon=False)
    axes[0][0].legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def balance_table(found: dict[str, BlockSearchResult], names: Sequence[str] = tuple(recipes.SEARCHED)) -> list[str]:
    """Ideal speed-ups of pipelines of the searched networks, of published, uniform and balanced cuts."""
    columns = [
        "network",
        "cuts",
        "auxiliary networks",
        *[f"{n} blocks" for n in recipes.NUMBERS],
        "largest of four blocks, %",
    ]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name in names:
        for cuts, reader in KINDS:
            costs = [of_searched(name, found[name], cuts, reader, number) for number in recipes.NUMBERS]
            cells = [f"{one.ideal_speedup():.2f} ({100 * one.overhead():+.1f} %)" for one in costs]
            row = [recipes.SEARCHED[name], cuts, reader, *cells, f"{100 * max(costs[1].shares()):.1f}"]
            rows.append(f"| {' | '.join(row)} |")
    return rows


KINDS = (
    ("published", "searched"),
    ("published scores, balanced", "searched"),
    ("uniform", "mlp-sr"),
    ("balanced", "mlp-sr"),
    ("uniform", "light-4"),
    ("balanced", "light-4"),
)


def of_searched(name: str, search: BlockSearchResult, cuts: str, reader: str, number: int) -> Pipeline:
    """Costs of a searched network in blocks."""
    graph, among = graph_of(name), units_of(name)
    options = {"pool": "fit"} if reader == "mlp-sr" else WIDE
    if cuts.startswith("published"):
        found = decoded(name, search, number, math.inf if "balanced" in cuts else 0.0)
        return pipeline(Partition.at_units(graph, found.boundaries, among=among), found.auxiliaries, CLASSES, options)
    if cuts == "uniform":
        return pipeline(Partition.uniform(graph, number, among=among), reader, CLASSES, options)
    costs, ending = unit_costs(name), ending_of(name, reader)
    return pipeline(Partition.balanced(graph, number, costs, ending=ending, among=among), reader, CLASSES, options)


def decoded(name: str, search: BlockSearchResult, number: int, weight: float) -> Decoded:
    """A search decoded with the heaviest block taken into account, in shares of the network."""
    costs = unit_costs(name)
    return search.decode(number, costs=[one / sum(costs) for one in costs], weight=weight, tolerance=0)


@cache
def graph_of(name: str) -> ComputationalGraph:
    """A network as SEDONA has it for ImageNet."""
    with torch.device("meta"):
        net = sedona_net(name, CLASSES, image_size=SIZE, feat_mult=WIDTH)
    return trace(net.eval(), (1, 3, SIZE, SIZE))


@cache
def units_of(name: str) -> tuple[Unit, ...]:
    return units(graph_of(name))


@cache
def unit_costs(name: str) -> tuple[int, ...]:
    among = units_of(name)
    each = Partition.at_units(graph_of(name), range(len(among) - 1), among=among)
    return tuple(one.macs for one in each.costs())


@cache
def ending_of(name: str, reader: str) -> tuple[int, ...]:
    return tuple(ending_costs(units_of(name), reader, CLASSES, {"pool": "fit"} if reader == "mlp-sr" else WIDE))


def others_table(names: Sequence[str] = recipes.OTHERS) -> list[str]:
    """Ideal speed-ups of pipelines of torchvision's networks, each cut with the same auxiliary network."""
    columns = ["network", "units", *[f"{n} blocks, uniform; balanced" for n in recipes.NUMBERS]]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name in names:
        options = {"init_weights": False} if name == "googlenet" else {}
        with torch.device("cpu" if name.startswith("regnet") else "meta"):  # which computes while it is built
            model = torchvision.models.get_model(name, weights=None, **options)
        graph = trace(model.eval(), (1, 3, SIZE, SIZE))
        among = units(graph)
        ending = ending_costs(among, "light-1", CLASSES)
        row = [name, str(len(among))]
        for number in recipes.NUMBERS:
            if number > len(among):
                row.append("too few units")
                continue
            even = Partition.uniform(graph, number, among=among)
            light = Partition.balanced(graph, number, ending=ending, among=among)
            row.append("; ".join(f"{pipeline(one, 'light-1', CLASSES).ideal_speedup():.2f}" for one in (even, light)))
        rows.append(f"| {' | '.join(row)} |")
    return rows


def draw_balance(found: dict[str, BlockSearchResult], path: Path, numbers: Sequence[int]) -> None:
    """Ideal speed-up against the number of blocks."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    shown = (
        ("published", "searched", "#c2410c"),
        ("uniform", "light-4", "#6b7280"),
        ("balanced", "light-4", "#1d4ed8"),
    )
    for axis, (name, search) in zip(np.atleast_1d(axes), found.items(), strict=True):
        axis.plot(numbers, numbers, color="black", linewidth=0.8, linestyle=":", label="as many as blocks")
        for cuts, reader, color in shown:
            values = [of_searched(name, search, cuts, reader, number).ideal_speedup() for number in numbers]
            axis.plot(numbers, values, ".-", color=color, label=f"{cuts} cuts, {reader}")
        axis.set(title=recipes.SEARCHED[name], xlabel="blocks", ylim=(0, 12))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    np.atleast_1d(axes)[0].set_ylabel("ideal speed-up of a pipeline")
    figure.legend(
        *np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _listed(numbers: Sequence[object]) -> str:
    return ", ".join(map(str, numbers))
