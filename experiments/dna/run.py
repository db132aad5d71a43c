"""From a teacher to retrained networks, all of it: ``python experiments/dna/run.py --smoke``."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import recipes
import torch
import tyro

from ppuda_like._figures import finished, new_axes
from ppuda_like._files import replacing
from ppuda_like._memory import keep_freed_memory
from ppuda_like._seeds import derived_seed
from ppuda_like.search.dna import (
    Architecture,
    Found,
    Front,
    Ratings,
    Teacher,
    cost_table,
    distil,
    load_supernet,
    plot_front,
    predicted_losses,
    rank_report,
    rate,
    retrain,
    search,
    sensitivity,
)
from ppuda_like.vision import ImageSource, evaluate, load_images, subset, train_net

NEAR = 0.97  # networks drawn for comparison have this share of the budget at least


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images, by what they are for."""

    teacher: ImageSource
    supernet: ImageSource
    network: ImageSource
    val: ImageSource
    rating: ImageSource
    test: ImageSource


class StoppedError(Exception):
    """A training was interrupted; the same command goes on."""


def images_of(recipe: recipes.Recipe, data: str, root: Path) -> Images:
    train, val, test = (
        load_images(data, split, recipe.space.image_size, root=root) for split in ("train", "val", "test")
    )
    return Images(
        teacher=train,
        supernet=drawn(train, recipe.supernet_images),
        network=drawn(train, recipe.network_images),
        val=val,
        rating=drawn(val, recipe.rating_images),
        test=drawn(test, recipe.test_images),
    )


def drawn(images: ImageSource, count: int) -> ImageSource:
    """So many images, at random but always the same."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(derived_seed(0, "images")))
    return subset(images, order[:count].sort().values)


def trained_teacher(recipe: recipes.Recipe, images: Images, out: Path) -> tuple[Teacher, dict[str, Any]]:
    model = recipe.build_teacher()
    result = train_net(model, recipe.teacher_config(out), images.teacher, images.val)
    if not result.finished:
        raise StoppedError
    about = {"parameters": sum(p.numel() for p in model.parameters()), "seconds": result.seconds}
    about["accuracy"] = 100 * evaluate(model, images.test, batch_size=250).top1
    return Teacher(model.to(memory_format=torch.contiguous_format).eval(), recipes.TAPS, name="small ResNet"), about


def rated(
    recipe: recipes.Recipe, teacher: Teacher, images: Images, out: Path, seed: int
) -> tuple[Ratings, dict[str, Any]]:
    """Ratings of all paths by a supernet of a seed."""
    config = recipe.distil_config(out, seed)
    begin = time.process_time()
    if not distil(teacher, recipe.space, config, images.supernet).finished:
        raise StoppedError
    between = time.process_time()
    supernet = load_supernet(config.out, recipe.space, teacher)
    cells = rate(supernet, teacher, recipe.rate_config(out, seed), images.rating, images.supernet)
    seconds = {"distil": between - begin, "rate": time.process_time() - between}
    return Ratings(space=recipe.space, cells=cells), once(out / f"seconds{seed}.json", seconds)


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def once(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What was found first: a second call, which finds everything there, is quick and says nothing of the cost."""
    if not path.exists():
        write(path, json.dumps(found, indent=1))
    return dict(json.loads(path.read_text()))


def compared(recipe: recipes.Recipe, winners: Mapping[str, Architecture]) -> dict[str, Architecture]:
    """The networks to train: those found, and others drawn at random with nearly the MACs of the budget."""
    space, table = recipe.space, cost_table(recipe.space)
    numbers = space.sample(20_000, np.random.default_rng(0))
    macs = table.costs_of(numbers, ["macs"])[:, 0]
    near = numbers[(macs <= recipe.budget) & (macs >= NEAR * recipe.budget)]
    others = dict.fromkeys(space.architecture(row) for row in near.tolist())
    for winner in winners.values():
        others.pop(winner, None)
    chosen = list(others)[: recipe.random]
    if len(chosen) < recipe.random:
        raise SystemExit(f"only {len(chosen)} random networks have {NEAR:.0%} to 100% of {recipe.budget:,} MACs")
    return {**winners, **{f"random {place}": architecture for place, architecture in enumerate(chosen)}}


def accuracies(
    recipe: recipes.Recipe, networks: Mapping[str, Architecture], images: Images, out: Path, seed: int
) -> dict[str, float]:
    """Top-1 of each network in per cent on the test images; networks that are the same are trained once."""
    known: dict[Architecture, float] = {}
    for name, architecture in networks.items():
        if architecture not in known:
            known[architecture] = accuracy(recipe, name, architecture, images, out, seed)
            print(f"{name}, seed {seed}: {known[architecture]:.2f} %", flush=True)
    return {name: known[architecture] for name, architecture in networks.items()}


def accuracy(
    recipe: recipes.Recipe, name: str, architecture: Architecture, images: Images, out: Path, seed: int
) -> float:
    config = recipe.network_config(out, name.replace(" ", "-"), seed)
    network, result = retrain(recipe.space.definition(architecture), config, images.network, drop_connect=0.0)
    if not result.finished:
        raise StoppedError
    found: dict[str, Any] = {"architecture": recipe.space.format(architecture), "seconds": result.seconds}
    done = config.out / "accuracy.json"
    if not done.exists():
        found["accuracy"] = 100 * evaluate(network, images.test, batch_size=250).top1
    found = once(done, found)
    if found["architecture"] != recipe.space.format(architecture):
        raise SystemExit(
            f"'{config.out}' holds another network, {found['architecture']}; delete it or take another folder"
        )
    return float(found["accuracy"])


def report(
    recipe: recipes.Recipe,
    ratings: Sequence[Ratings],
    networks: Mapping[str, Architecture],
    found: Sequence[Mapping[str, float]],
    teacher: Mapping[str, Any],
    out: Path,
) -> str:
    """The tables, of as many seeds as are trained, and the pictures beside them."""
    seeds = recipe.seeds[: len(found)]
    space, table = recipe.space, cost_table(recipe.space)
    numbers = np.array([space.numbers(architecture) for architecture in networks.values()])
    losses = {f"rating {seed}": predicted_losses(r, numbers) for seed, r in zip(recipe.supernets, ratings, strict=True)}
    costs = {name: table.costs_of(numbers, [name])[:, 0] for name in ("macs", "params")}
    mean = {name: float(np.mean([accuracies[name] for accuracies in found])) for name in networks}
    lines = [
        "| network | operations | M MACs | K parameters | " + " | ".join(losses) + " | "
        + " | ".join(f"top-1, seed {seed}" for seed in seeds) + " | mean |",
        "|" + "---|" * (5 + len(losses) + len(seeds)),
    ]  # fmt: skip
    for place, name in sorted(enumerate(networks), key=lambda pair: -mean[pair[1]]):
        row = [
            name,
            space.format(networks[name]),
            f"{costs['macs'][place] / 1e6:.3f}",
            f"{costs['params'][place] / 1e3:.1f}",
        ]
        row += [f"{values[place]:.4f}" for values in losses.values()]
        row += [f"{accuracies[name]:.2f}" for accuracies in found] + [f"{mean[name]:.2f}"]
        lines.append(f"| {' | '.join(row)} |")
    at_random = [mean[name] for name in networks if name.startswith("random")]
    lines += ["", f"Teacher: {teacher['accuracy']:.2f} %, {teacher['parameters'] / 1e3:.0f} K parameters."]
    for name in networks:
        if not name.startswith("random"):
            beaten = sum(mean[name] > value for value in at_random)
            lines.append(
                f"{name}: {mean[name]:.2f} %; random networks {np.mean(at_random):.2f} % on average, "
                f"{max(at_random):.2f} % the best; better than {beaten} of {len(at_random)}."
            )
    between = [name for name in networks if name.startswith("random")]
    lines += ["", "Ratings against accuracy, among the random networks:", ""]
    places = [place for place, name in enumerate(networks) if name in between]
    lines.append(
        rank_report(
            [mean[name] for name in between],
            {name: values[places] for name, values in costs.items()},
            losses={name: values[places] for name, values in losses.items()},
        ).table()
    )
    if len(ratings) > 1:
        everything = space.sample(5_000, np.random.default_rng(1))
        first, second = (predicted_losses(r, everything) for r in ratings[:2])
        lines += [
            "",
            f"Predicted losses of 5,000 networks by two supernets correlate by {np.corrcoef(first, second)[0, 1]:.3f}.",
        ]
    for seed, r in zip(recipe.supernets, ratings, strict=True):
        lines.append(f"Supernet {seed}: {sensitivity(r, {'macs': recipe.budget})}.")
    pictures(recipe, ratings[0], networks, mean, out)
    return "\n".join(lines)


def pictures(
    recipe: recipes.Recipe, ratings: Ratings, networks: Mapping[str, Architecture], mean: Mapping[str, float], out: Path
) -> None:
    space, table = recipe.space, cost_table(recipe.space)
    front: Front = search(ratings, "macs")
    many = space.sample(3_000, np.random.default_rng(2))
    marked: dict[str, Found] = {"found": front.best({"macs": recipe.budget})}
    numbers = np.array([space.numbers(architecture) for architecture in networks.values()])
    losses, macs = predicted_losses(ratings, numbers), table.costs_of(numbers, ["macs"])[:, 0]
    with replacing(out / "pareto.png") as path:
        axis = plot_front(
            front, others=(table.costs_of(many, ["macs"])[:, 0], predicted_losses(ratings, many)), marked=marked
        )
        axis.scatter(macs / 1e6, losses, s=14, color="#d98c00", zorder=3, label="trained")
        axis.legend(frameon=False, fontsize="small")
        finished(axis, path)
        axis.figure.canvas.print_figure(path, dpi=120)
    axis = new_axes(out / "ratings.png", (5.4, 4.0))
    for name, loss in zip(networks, losses, strict=True):
        at_random = name.startswith("random")
        axis.scatter(loss, mean[name], color="#8a8a8a" if at_random else "#c0392b", s=22)
        if not at_random:
            axis.annotate(name, (loss, mean[name]), xytext=(5, 5), textcoords="offset points", fontsize="small")
    axis.set(xlabel="predicted loss", ylabel="top-1 of the trained network, %")
    axis.grid(alpha=0.3)
    finished(axis, out / "ratings.png")


def main(
    data: str = "digits",
    data_root: Path = Path("data"),
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Train a teacher and supernets, rate all paths, search, and train what was found beside random networks.

    What is done already is not done again, and what was interrupted goes on.

    Args:
        data: images, as ppuda-like train-net takes them.
        data_root: folder of data sets.
        out: folder of the results; data/dna, or with --smoke a temporary one.
        smoke: a small teacher and space, and next to no training.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    out = Path(tempfile.mkdtemp() if smoke else "data/dna") if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    recipe = recipes.smoke() if smoke else recipes.full()
    images = images_of(recipe, data, data_root)
    try:
        teacher, about = trained_teacher(recipe, images, out)
        print(f"teacher: {about['accuracy']:.2f} % of {len(images.test):,} test images", flush=True)
        ratings, seconds, winners = [], {}, {}
        for seed in recipe.supernets:
            found, took = rated(recipe, teacher, images, out, seed)
            winner = search(found, "macs").best({"macs": recipe.budget})
            print(
                f"found by supernet {seed}: {winner}, {winner.costs['macs']:,} MACs, predicted loss {winner.loss:.4f}",
                flush=True,
            )
            ratings.append(found)
            seconds[f"supernet {seed}"] = took
            winners[f"found {seed}"] = winner.architecture
        networks = compared(recipe, winners)
        trained: list[dict[str, float]] = []
        for seed in recipe.seeds:
            trained.append(accuracies(recipe, networks, images, out, seed))
            text = report(recipe, ratings, networks, trained, about, out)
            write(out / "results.md", text)
            facts = {"teacher": about, "seconds": seconds, "accuracies": trained, "budget": recipe.budget}
            facts |= {"supernet_images": len(images.supernet), "network_images": len(images.network)}
            facts |= {"rating_images": len(images.rating), "test_images": len(images.test), "torch": torch.__version__}
            write(out / "results.json", json.dumps(facts, indent=1))
    except StoppedError:
        print("stopped; the same command goes on")
        return
    print(text)
    print(f"results are in {out}")


if __name__ == "__main__":
    tyro.cli(main)
