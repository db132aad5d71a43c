"""The commands ``ppuda-like predict-property`` and ``ppuda-like rank``: parse, call, print."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ppuda_like._cli_options import only_split, shared_work
from ppuda_like._factories import build_for_images
from ppuda_like._files import replacing
from ppuda_like.deepnets import DeepNets, where
from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import trace
from ppuda_like.predictors import Estimate, Predictor, PropertyInfo, Ranked, list_predictors, rank

__all__ = ["PredictProperty", "Rank"]

Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Store = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]


@dataclass(frozen=True, kw_only=True)
class PredictProperty:
    """Accuracy, robustness, speed and convergence of a model that was never trained, with intervals."""

    model: Model
    """A torchvision name, package.module:factory, or file.py:factory."""
    predictor: tuple[str, ...] = ()
    """Bundled predictors or .safetensors files; by default all bundled ones."""
    level: float = 0.9
    """Probability of the intervals."""

    def run(self) -> None:
        names = self.predictor or tuple(list_predictors())
        predictors = [Predictor.from_pretrained(name) for name in names]
        graphs = {}
        rows = []
        for name, predictor in zip(names, predictors, strict=True):
            info = predictor.info
            at = (info.input_shape, info.num_classes)
            if at not in graphs:
                model = build_for_images(self.model, info.num_classes, min(info.input_shape[-2:]))
                graphs[at] = trace(model.eval(), info.input_shape).lower("ppuda")
            estimate = predictor.predict([graphs[at]], level=self.level)[0]
            rows.append((name, info, estimate))
        for (shape, classes), graph in graphs.items():
            print(
                f"{self.model} for {'x'.join(map(str, shape[1:]))} images and {classes} classes: "
                f"{graph.num_params:,} parameters, {graph.macs:,} MACs, {graph.num_nodes} nodes"
            )
        print(_table(rows))
        outside = sorted({quantity for _, _, estimate in rows for quantity in estimate.outside})
        if outside:
            print(
                f"Outside of what was learnt from: {', '.join(outside)}. These estimates are extrapolations, and their "
                "intervals promise nothing."
            )


def _table(rows: Sequence[tuple[str, PropertyInfo, Estimate]]) -> str:
    cells = [("predictor", "property", "estimate", f"{100 * rows[0][2].level:.0f} % interval", "tau when tested")]
    for name, info, estimate in rows:
        between = f"{_show(estimate.low, info)} .. {_show(estimate.high, info)}"
        tau = f"{info.tau:.2f} +- {info.tau_deviation:.2f}"
        cells.append((name, info.description or info.property, _show(estimate.value, info), between, tau))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _show(value: float, info: PropertyInfo) -> str:
    return f"{100 * value:.1f} %" if info.scale == "logit" else f"{value:.3g} {info.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Search a dataset of networks by a predicted property."""

    dataset: Store
    """A store of networks."""
    split: str | None = None
    """One of its splits; by default the only one."""
    property: str = "digits-accuracy"
    """A bundled predictor or a .safetensors file."""
    top: int = 10
    """How many networks to show."""
    where: str | None = None
    """Condition on the stored figures of the networks, at their own width: "num_params < 1e6 and depth <= 40"."""
    level: float = 0.9
    """Probability of the intervals."""
    workers: int = 1
    """Processes; 0 for one per core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, tcp://HOST:PORT, or "local" to start one here."""
    out: Path | None = None
    """Write all networks in their order, not only the first, to a .csv file."""

    def run(self) -> None:
        if self.top < 1:
            raise PpudaLikeError(f"'--top' must be at least 1 (got {self.top})")
        predictor = Predictor.from_pretrained(self.property)
        split = self.split or only_split(self.dataset)
        nets = DeepNets(self.dataset, split)
        if self.where is not None:
            nets = where(nets, self.where)
        with ExitStack() as stack:
            executor = None
            if self.workers != 1 or self.scheduler is not None:
                executor = stack.enter_context(shared_work(self.workers, self.scheduler, "spawn"))
            ranked = rank(predictor, nets, top=None, level=self.level, executor=executor)
        if self.out is not None:
            _write(ranked, self.out)
        info = predictor.info
        print(f"{info.description or info.property}, {len(nets):,} networks of {self.dataset}:{split}, the best first")
        for place, found in enumerate(ranked[: self.top], start=1):
            estimate = found.estimate
            note = f", outside of what was learnt from: {', '.join(estimate.outside)}" if estimate.outside else ""
            print(
                f"{place:4}  network {found.net:6}  {_show(estimate.value, info):>8}  "
                f"({_show(estimate.low, info)} .. {_show(estimate.high, info)})  "
                f"{found.num_params:,} parameters, {found.macs:,} MACs{note}"
            )
        if self.out is not None:
            print(f"wrote {self.out}")
        width = "" if info.width is None else f" --width {info.width}"
        winner = f"{self.dataset}:{split}:{ranked[0].net}{width}"
        print(f"train the first: ppuda-like train-net --arch {winner} --preset darts --out runs/winner")


def _write(ranked: Sequence[Ranked], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("net", "value", "low", "high", "num_params", "macs", "outside"))
        for found in ranked:
            of = found.estimate
            outside = " ".join(of.outside)
            writer.writerow((found.net, of.value, of.low, of.high, found.num_params, found.macs, outside))
