"""The command ``ppuda-like dataset``: parse, call, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ppuda_like._cli_options import only_split, shared_work
from ppuda_like.deepnets import DeepNets, check, export_ppuda, generate, import_ppuda, plot_stats, statistics
from ppuda_like.deepnets._sampler import SampledSplit
from ppuda_like.errors import DataError
from ppuda_like.graph import draw

__all__ = ["Dataset"]

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Draw networks at random and write them to a store; a run that was stopped goes on where it was."""

    out: File
    """The store; a split is added to it if it exists."""
    split: SampledSplit = "train"
    """Which networks."""
    num_nets: int = 1_000
    """How many."""
    seed: int | None = None
    """Of the random streams; by default that of the split."""
    workers: int = 0
    """Processes; 0 for one per core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, tcp://HOST:PORT, or "local" to start one here."""
    deduplicate: bool = False
    """Pass over networks whose graph equals that of an earlier one."""
    resume: bool = True
    """Go on with what an earlier run left; otherwise start anew and replace the split."""

    def run(self) -> None:
        with shared_work(self.workers, self.scheduler) as executor:
            made = generate(
                self.split,
                self.num_nets,
                self.out,
                seed=self.seed,
                executor=executor,
                resume=self.resume,
                deduplicate=self.deduplicate,
            )
        left = f", {made.resumed:,} of them from an earlier run" if made.resumed else ""
        passed = f"; {made.duplicates:,} duplicates were passed over" if self.deduplicate else ""
        print(f"{made.path}: {made.num_nets:,} networks of split {made.split}{left}{passed}")


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What the networks of a store are like."""

    file: File
    """The store."""
    split: str | None = None
    """One of its splits; by default all."""
    out: Path | None = None
    """Draw histograms to a .png, .svg or .pdf file, for one split."""

    def run(self) -> None:
        found = statistics(self.file, self.split)
        if self.out is not None and len(found) != 1:
            raise DataError(f"a picture shows one split; choose one with --split ({', '.join(found)})")
        print("\n\n".join(stats.summary() for stats in found.values()))
        if self.out is not None:
            plot_stats(next(iter(found.values())), self.out)
            print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Show:
    """Print one network of a store, and draw its graph."""

    file: File
    """The store."""
    i: Annotated[int, tyro.conf.Positional, tyro.conf.arg(metavar="I")]
    """Number of the network in its split."""
    split: str | None = None
    """Its split; may be left out where the store holds one."""
    out: Path | None = None
    """Draw the graph to a .png, .svg, .pdf or .dot file."""
    rows: int = 40
    """Rows of the table of nodes at most; 0 for all."""

    def run(self) -> None:
        dataset = DeepNets(self.file, self.split or only_split(self.file))
        if not 0 <= self.i < len(dataset):
            raise DataError(f"{self.file}: split '{dataset.split}' has networks 0..{len(dataset) - 1} (got {self.i})")
        config = dataset.config(self.i)
        print(f"network {self.i} of split {dataset.split}")
        for name, value in config.to_dict().items():
            if name != "genotype":
                print(f"  {name:18}{value}")
        for kind, reduction in (("normal", False), ("reduce", True)):
            edges, concat = config.genotype.cell(reduction)
            steps = [edges[place : place + 2] for place in range(0, len(edges), 2)]
            text = ";  ".join(" + ".join(f"{op}({state})" for op, state in step) for step in steps)
            print(f"  {kind + ' cell':18}{text}  ->  {', '.join(map(str, concat))}")
        for name, column in dataset.table().items():
            if name not in config.to_dict():
                value = column[self.i]
                print(f"  {name:28}{value:016x}" if name == "structure_hash" else f"  {name:28}{value:,}")
        graph = dataset.graph(self.i)
        print(graph.summary(max_rows=self.rows or None))
        if self.out is not None:
            draw(graph, self.out)
            print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Check:
    """Verify a store: its checksums, every pointer, and every network against its arguments."""

    file: File
    """The store."""
    split: str | None = None
    """One of its splits; by default all."""
    workers: int = 0
    """Processes; 0 for one per core."""

    def run(self) -> None:
        with shared_work(self.workers, None) as executor:
            found = check(self.file, self.split, executor=executor)
        for problem in found.problems[:50]:
            print(problem)
        if len(found.problems) > 50:
            print(f"... and {len(found.problems) - 50:,} more")
        if found.problems:
            raise DataError(f"'{self.file}' has {len(found.problems):,} problems; generate or import it anew")
        sizes = ", ".join(f"{size:,} of {name}" for name, size in found.num_nets.items())
        print(f"{self.file}: sound ({sizes})")


@dataclass(frozen=True, kw_only=True)
class Import:
    """Read a file of the released DeepNets-1M; each graph is rebuilt from the arguments of its network."""

    hdf5: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="HDF5")]
    """deepnets1m_*.hdf5"""
    meta: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="META")]
    """The JSON file beside it, deepnets1m_*_meta.json."""
    out: File
    """The store to write."""
    split: str | None = None
    """One of its splits; by default all."""

    def run(self) -> None:
        print(import_ppuda(self.hdf5, self.meta, self.out, split=self.split).table())


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a store in the format of the released DeepNets-1M."""

    file: File
    """The store."""
    hdf5: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="HDF5")]
    """The HDF5 file to write."""
    meta: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="META")]
    """The JSON file to write beside it."""
    split: str | None = None
    """One of its splits; by default all."""

    def run(self) -> None:
        export_ppuda(self.file, self.hdf5, self.meta, split=self.split)
        print(f"wrote {self.hdf5} and {self.meta}")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Generate, look at, verify and exchange datasets of networks."""

    command: Annotated[
        Annotated[Generate, tyro.conf.subcommand("generate")]
        | Annotated[Stats, tyro.conf.subcommand("stats")]
        | Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Import, tyro.conf.subcommand("import")]
        | Annotated[Export, tyro.conf.subcommand("export")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        self.command.run()
