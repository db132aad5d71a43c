"""The command ``ppuda-like measure``: parse, call, print."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ppuda_like._cli_options import Images, shared_work
from ppuda_like._memory import keep_freed_memory
from ppuda_like.deepnets import DeepNets
from ppuda_like.ghn import GHN
from ppuda_like.predictors import MeasureConfig, PropertyImages, PropertyTable, measure_properties

__all__ = ["Measure"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Train networks briefly and measure their properties: accuracy, with noise too, inference and convergence time.

    A run that was stopped goes on where it was; a finished file is extended by the networks that it lacks.
    """

    split: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SPLIT")]
    """A split of DeepNets-1M to draw the networks from, or STORE.h5:SPLIT for a dataset."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    config: Annotated[MeasureConfig, tyro.conf.arg(name="")]
    nets: int = 100
    """Networks of the split, from the first."""
    net: tuple[int, ...] = ()
    """Measure the networks of these numbers instead."""
    width: int | None = None
    """Initial width of the networks; by default their own."""
    num_images: int | None = None
    """Images of each kind at most, chosen at random but the same each time; by default all."""
    ghn: str | None = None
    """Measure the accuracy with parameters that this hypernetwork predicts too: a bundled checkpoint or a file."""
    workers: int = 1
    """Processes; 0 for one per core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, tcp://HOST:PORT, or "local" to start one here."""
    out: Path
    """Table to write, a .h5 or .csv file."""

    def run(self) -> None:
        store, _, split = self.split.rpartition(":")
        images = PropertyImages(*(self.images.load(part, self.num_images) for part in ("train", "val", "test")))
        with ExitStack() as stack:
            executor = None
            if self.workers != 1 or self.scheduler is not None:
                executor = stack.enter_context(shared_work(self.workers, self.scheduler, "spawn"))
            else:
                keep_freed_memory()
            table = measure_properties(
                DeepNets(store, split) if store else split,
                self.net or self.nets,
                images,
                self.config,
                width=self.width,
                ghn=None if self.ghn is None else GHN.from_pretrained(self.ghn),
                ghn_name=self.ghn or "",
                executor=executor,
                out=self.out,
            )
        _report(table)
        print(f"wrote {self.out}")


def _report(table: PropertyTable) -> None:
    """Print what is in a table, on the whole."""
    others = {status: table.status.count(status) for status in dict.fromkeys(table.status or ()) if status != "ok"}  # type: ignore[union-attr]
    left = "".join(f", {count} of them {status}" for status, count in others.items())
    print(f"{len(table):,} networks of split {table.split}{left}")
    print(f"  {'property':<14} {'known':>6} {'lowest':>10} {'median':>10} {'highest':>10}")
    for name in table.columns:
        known = table[name][~np.isnan(table[name])]
        spread = np.quantile(known, (0, 0.5, 1)) if len(known) else np.full(3, np.nan)
        print(f"  {name:<14} {len(known):>6,} " + " ".join(f"{value:>10.4g}" for value in spread))
