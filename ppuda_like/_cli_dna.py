"""The command ``ppuda-like dna``: parse, call, print."""

from __future__ import annotations

import csv
import typing
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import tyro

from ppuda_like._cli_dna_run import SPACES, DnaRun, load_space, read_ratings
from ppuda_like._cli_options import Images, shared_work
from ppuda_like._cli_train_net import Changes, report_accuracy
from ppuda_like._files import replacing
from ppuda_like._memory import keep_freed_memory
from ppuda_like._ranks import process_group, ranks
from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna import (
    CostTable,
    DistilConfig,
    FeatureFiles,
    Found,
    Front,
    LatencyTable,
    NetworkDefinition,
    RankingReport,
    RateConfig,
    Ratings,
    Space,
    build_network,
    cache_features,
    cost_table,
    cut_network,
    distil,
    dna_network,
    list_dna_networks,
    measure_latency,
    plot_front,
    predicted_losses,
    rank_report,
    ranking_networks,
    ranking_space,
    rate,
    regress_accuracy,
    retrain,
    retrain_config,
    search,
    sensitivity,
)
from ppuda_like.vision import NetTrainConfig, default_augmentation

__all__ = ["Dna"]

_HINTS = typing.get_type_hints(DistilConfig)
_SPACE_HELP = f"{', '.join(SPACES)}, a .json file of a space, or a folder of a search."
_RATED = "A folder of a search or of ratings, or files (.npz, .json, published .yaml), one for each cell."
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Rated = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RATINGS", help=_RATED)]
OptionalSpace = Annotated[str | None, tyro.conf.arg(help=f"The space of the ratings: {_SPACE_HELP}")]

# The options of the distillation: every value of the config, of which only those that are given replace the recipe's.
DistilChanges = TypedDict(  # type: ignore[misc]  # the keys are not literal
    "DistilChanges",
    {known.name: _HINTS[known.name] for known in fields(DistilConfig) if known.name != "out"},
    total=False,
)
DistilChanges.__doc__ = DistilConfig.__doc__


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train all operations of a space to imitate a teacher; a run that was stopped goes on where it was."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEACHER")]
    """A torchvision name, package.module:factory, or file.py:factory."""
    weights: Path
    """Of the teacher, a .safetensors file as train-net writes it."""
    out: Path
    """Folder of the search."""
    space: Annotated[str, tyro.conf.arg(help=_SPACE_HELP)] = "cifar"
    taps: tuple[str, ...] = ()
    """Modules of the teacher whose outputs the stages imitate; by default they are found on its graph."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    num_images: int | None = None
    """Images of the training split to use; by default all."""
    held_out: int = 256
    """Of these, drawn at random to rate paths with; they do not train."""
    cache: bool = False
    """Keep the teacher's features on disk, for images that do not vary; they are read in place of its passes."""
    processes: int = 0
    """Train stages in so many processes of their own; 0 for all in this one, which shares passes of the teacher."""
    preset: Literal["default", "published"] = "default"
    """The recipe, where the options below do not say otherwise."""
    changes: Annotated[DistilChanges, tyro.conf.arg(name="")]

    def run(self) -> None:
        keep_freed_memory()
        run = DnaRun.begin(
            out=self.out,
            model=self.model,
            weights=self.weights,
            taps=self.taps,
            space=load_space(self.space),
            images=self.images,
            num_images=self.num_images,
            held_out=self.held_out,
        )
        config = self._config(run)
        with process_group(config.device) as device:
            self._train(run, replace(config, device=device))

    def _train(self, run: DnaRun, config: DistilConfig) -> None:
        group, teacher = ranks(), run.teacher()
        teacher.widths(run.space)  # refuses taps that do not fit, before anything is written
        train, _ = run.split()
        if group.first:
            print(
                f"{run.space.name}: {run.space.size:,} networks; {self.model} is imitated behind {', '.join(run.taps)}"
            )
            run.keep()
            if self.cache:
                cache_features(teacher, train, self.out / "features", device=config.device)
        group.wait()
        features = FeatureFiles(self.out / "features") if self.cache else None
        with shared_work(self.processes, None, "spawn") if self.processes else nullcontext() as executor:
            result = distil(teacher, run.space, config, train, features=features, executor=executor)
        if not group.first:
            return
        for cell in result.cells:
            skipped = f", {cell.skipped_steps} skipped" if cell.skipped_steps else ""
            print(f"stage {cell.stage}, cell {cell.cell}: {cell.steps} steps{skipped}, loss {cell.loss:.4g}")
        if result.finished:
            print(f"go on with: ppuda-like dna rate {self.out}")
        else:
            print("stopped; the same command goes on from there")

    def _config(self, run: DnaRun) -> DistilConfig:
        changes: dict[str, Any] = dict(self.changes)
        augment = "none" if self.cache else default_augmentation(self.images.data, self.images.image_size)
        if self.preset == "default":
            return DistilConfig(**{"out": run.supernet_folder, "augment": augment} | changes)
        return DistilConfig.published(run.supernet_folder, **({"augment": "none"} if self.cache else {}) | changes)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Rate every path of the trained operations on the images held out; an interrupted rating goes on."""

    folder: Folder
    """Of the search."""
    batch_size: int = 64
    """Images over which a distance is taken."""
    calibration: int = 64
    """Training images that give batch norms their statistics."""
    batches: int = 8
    """In memory at a time."""
    stages: tuple[int, ...] | None = None
    """Numbers of those to rate; by default all."""
    device: str = "cpu"
    """Where teacher and operations run."""
    seed: int = 0
    """Of operations that draw at random."""

    def run(self) -> None:
        keep_freed_memory()
        run = DnaRun.load(self.folder)
        config = RateConfig(
            out=run.ratings_folder,
            batch_size=self.batch_size,
            calibration=self.calibration,
            batches=self.batches,
            stages=self.stages,
            device=self.device,
            seed=self.seed,
        )
        train, held = run.split()
        for found in rate(run.supernet(), run.teacher(), config, held, train):
            values = found.measures["relative_l1"]
            print(
                f"stage {found.stage}, cell {found.cell}: {len(values):,} paths, relative L1 {values.min():.4f} to "
                f"{values.max():.4f}"
            )
        print(f"go on with: ppuda-like dna search {self.folder}")


@dataclass(frozen=True, kw_only=True)
class Search:
    """Find the exactly best network of a space under one limit, or two at once."""

    ratings: Rated = ()
    space: OptionalSpace = None
    flops: float | None = None
    """Most FLOPs, as the published counter has them: multiply-accumulates, batch norms and poolings."""
    macs: float | None = None
    """Most multiply-accumulates of convolutions and linear layers."""
    params: float | None = None
    """Most parameters."""
    latency: float | None = None
    """Most milliseconds for an image, the times of the parts added up."""
    latency_table: Path | None = None
    """Times of all parts, a .json file; measured on this machine and written where it is not there."""
    measure: str = "relative_l1"
    """Rating to search by."""
    combine: Literal["sum", "product"] = "sum"
    """Of the stages' ratings."""
    weights: tuple[float, ...] | None = None
    """Of the stages; by default 1."""
    top: int = 1
    """How many of the best networks to print."""
    draws: int = 100
    """Searches with ratings drawn anew within their standard errors, where these are known; 0 for none."""
    out: Path | None = None
    """Folder to write the best network (network.json), the front (front.csv) and its picture (front.png) to."""

    def run(self) -> None:
        ratings = read_ratings(self.ratings, None if self.space is None else load_space(self.space), self.measure)
        limits = self._limits()
        table = self._table(ratings.space)
        names = tuple(limits) or ("flops_counter",)
        found = search(
            ratings, names, table=table, limits=limits, combine=self.combine, weights=self.weights, keep=self.top
        )
        best = found.top(self.top, limits)
        within = " and ".join(f"{name} <= {limit:,.0f}" for name, limit in limits.items()) or "any budget"
        print(f"{ratings.space.name}, {ratings.space.size:,} networks, {within}:")
        for network in best:
            costs = ", ".join(f"{name} {cost:,}" for name, cost in network.costs.items())
            print(f"  {network}  predicted loss {network.loss:.6f}; {costs}")
        print(best[0].definition)
        if self.draws and limits and _errors_known(ratings):
            options: dict[str, Any] = {"combine": self.combine, "weights": self.weights}
            print(sensitivity(ratings, limits, draws=self.draws, table=table, **options))
        if self.out is not None:
            # The picture shows every budget, not only those below the limits.
            whole = search(ratings, names, table=table, combine=self.combine, weights=self.weights)
            _write_search(self.out, best[0], whole)

    def _limits(self) -> dict[str, float]:
        given = {"flops_counter": self.flops, "macs": self.macs, "params": self.params}
        limits = {name: limit for name, limit in given.items() if limit is not None}
        if self.latency is not None:
            limits["latency_ns"] = 1e6 * self.latency
        return limits

    def _table(self, space: Space) -> CostTable | None:
        if self.latency is None:
            return None
        path = self.latency_table
        if path is not None and path.exists():
            return cost_table(space, {"latency_ns": LatencyTable.load(path)})
        times = measure_latency(space)
        if path is not None:
            times.save(path)
        return cost_table(space, {"latency_ns": times})


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """Train a found network; a run that was stopped goes on from its last checkpoint."""

    network: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NETWORK")]
    """A network.json of a search, a published network (DNA_a to DNA_d), or operations as text with --space."""
    out: Path
    """Folder that the run writes to."""
    space: OptionalSpace = None
    supernet: Path | None = None
    """A folder of a search whose supernet the initial weights are cut from; NETWORK is operations as text then."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    drop_connect: float = 0.2
    """Probability of dropping the last residual branch of the network; it grows linearly with depth."""
    preset: Literal["published", "sgd50", "imagenet", "finetune"] = "published"
    """The recipe, where the options below do not say otherwise; "published" is that for ImageNet."""
    changes: Annotated[Changes, tyro.conf.arg(name="")]

    def run(self) -> None:
        config = self._config()
        keep_freed_memory()
        train, val, test = (self.images.load(split) for split in ("train", "val", "test"))
        network = self._definition(len(train.class_names))
        model = build_network(network, drop_connect=self.drop_connect, seed=config.seed)
        if self.supernet is not None:
            run = DnaRun.load(self.supernet)
            architecture = run.space.parse(self.network)
            cut = cut_network(run.supernet(), architecture, drop_connect=self.drop_connect, seed=config.seed)
            print(
                f"tensors of the supernet: {len(cut.whole)} whole, {len(cut.cut)} in part; {len(cut.drawn)} are drawn"
            )
            model = cut.network
        print(network)
        model, result = retrain(model, config, train, val)
        if not result.finished:
            print(f"stopped after {result.epochs} of {config.epochs} epochs; the same command goes on from there")
            return
        report_accuracy(model, test, config, result)

    def _config(self) -> NetTrainConfig:
        make = retrain_config if self.preset == "published" else getattr(NetTrainConfig, self.preset)
        config: NetTrainConfig = make(self.out, **self.changes)
        if "augment" in self.changes:
            return config
        return replace(config, augment=default_augmentation(self.images.data, self.images.image_size))

    def _definition(self, num_classes: int) -> NetworkDefinition:
        if self.supernet is not None or self.space is not None:
            space = load_space(str(self.supernet or self.space))
            found = space.definition(space.parse(self.network))
        elif self.network in list_dna_networks():
            found = dna_network(self.network)
        elif self.network.endswith(".json"):
            found = NetworkDefinition.load(self.network)
        else:
            raise CodeError(
                f"'{self.network}' is no network: give a .json file, one of {', '.join(list_dna_networks())}, or "
                "operations as text with --space or --supernet"
            )
        head = replace(found.head, num_classes=num_classes)
        return replace(found, head=head, image_size=self.images.image_size)


@dataclass(frozen=True, kw_only=True)
class Report:
    """How well ratings order trained networks, beside their sizes; without ACCURACIES the published 23 networks."""

    accuracies: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="ACCURACIES")] = None
    """A .csv file with the columns architecture, operations as text, and accuracy."""
    ratings: Annotated[tuple[Path, ...], tyro.conf.arg(help=_RATED)] = ()
    space: OptionalSpace = None
    measure: str = "relative_l1"
    """Rating that is to order the networks."""
    band: float = 0.05
    """Networks whose MACs differ by this share at most are compared by themselves too."""
    regress: bool = False
    """Fit the accuracies by the ratings of the stages, in the manner of DONNA, and print weights for a search."""

    def run(self) -> None:
        if self.accuracies is None:
            print(_published_ranking(self.band).table())
            return
        space = None if self.space is None else load_space(self.space)
        ratings = read_ratings(self.ratings, space, self.measure)
        space, table = ratings.space, cost_table(ratings.space)
        texts, accuracies = _read_accuracies(self.accuracies)
        numbers = np.array([space.numbers(space.parse(text)) for text in texts])
        sizes = {name: table.costs_of(numbers, [name])[:, 0] for name in ("macs", "params")}
        losses = {f"ratings ({self.measure})": predicted_losses(ratings, numbers)}
        scores = {}
        if self.regress:
            rows = np.stack([ratings.values(stage)[numbers[:, stage]] for stage in range(len(space.stages))], axis=1)
            found = regress_accuracy(rows, accuracies)
            scores["regression, left out"] = found.left_out
        print(rank_report(accuracies, sizes, losses=losses, scores=scores, band=self.band).table())
        if self.regress:
            print(f"weights for 'dna search': --weights {' '.join(f'{weight:.4g}' for weight in found.weights)}")


def _published_ranking(band: float) -> RankingReport:
    space, networks = ranking_space(), ranking_networks()
    numbers = np.array([space.numbers(network.architecture) for network in networks])
    table = cost_table(space)
    sizes = {name: table.costs_of(numbers, [name])[:, 0] for name in ("flops_counter", "params")}
    order = {"published order": [network.place for network in networks]}
    return rank_report([network.accuracy for network in networks], sizes, losses=order, band=band)


def _read_accuracies(path: Path) -> tuple[list[str], list[float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Mapping[str, str]] = list(csv.DictReader(file))
        return [row["architecture"] for row in rows], [float(row["accuracy"]) for row in rows]
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' must have columns 'architecture' and 'accuracy', a number: {error}") from error


def _errors_known(ratings: Ratings) -> bool:
    return all(ratings.measure in cell.standard_errors for cell in ratings.cells)


def _write_search(out: Path, best: Found, front: Front) -> None:
    out.mkdir(parents=True, exist_ok=True)
    best.definition.save(out / "network.json")
    with replacing(out / "front.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "loss", *front.cost_names])
        writer.writerows([str(found), found.loss, *(found.costs[name] for name in front.cost_names)] for found in front)
    plot_front(front, out / "front.png", marked={"found": best})
    print(f"wrote network.json, front.csv ({len(front)} networks) and front.png to {out}")


@dataclass(frozen=True, kw_only=True)
class Dna:
    """Search networks block by block with a teacher: train, rate, search, retrain, report."""

    command: Annotated[
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Rate, tyro.conf.subcommand("rate")]
        | Annotated[Search, tyro.conf.subcommand("search")]
        | Annotated[Retrain, tyro.conf.subcommand("retrain")]
        | Annotated[Report, tyro.conf.subcommand("report")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        self.command.run()
