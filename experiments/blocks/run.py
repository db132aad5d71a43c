"""Blocks: published searches, a search of our own, asynchronous training: ``python experiments/blocks/run.py``."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import figures
import published
import recipes
import torch
import tyro

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    BlockSearchResult,
    BlockTrainConfig,
    auxiliaries_for,
    evaluate_blocks,
    pipeline,
    search_blocks,
    sedona_net,
    split,
    train_blocks,
)
from ppuda_like.vision import ImageSource

Stage = Literal["published", "digits", "async", "cifar10"]
FIXTURES = Path(__file__).parents[2] / "tests" / "search" / "blocks" / "fixtures"


def decoded(folder: Path, out: Path, *, smoke: bool) -> None:
    """What the published searches decode to, and how their blocks balance beside uniform and balanced ones."""
    found = published.load(folder)
    write(out / "decode.md", published.decode_table(found))
    published.draw_logits(found, out / "decode.png")
    names = list(found)[:1] if smoke else list(found)
    write(out / "balance.md", published.balance_table(found, names))
    write(out / "others.md", published.others_table(recipes.OTHERS[:1] if smoke else recipes.OTHERS))
    published.draw_balance(
        {name: found[name] for name in names}, out / "balance.png", (2, 4) if smoke else range(1, 17)
    )


class Records:
    """Results of runs by name, a JSON object per line; what is there is not run again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: dict[str, dict[str, Any]] = {one["run"]: one for one in map(json.loads, lines)}

    def add(self, name: str, **values: Any) -> None:
        """Keep the results of a run, and print them."""
        self.found[name] = {"run": name, **values}
        with replacing(self.path) as path:
            path.write_text("".join(json.dumps(one) + "\n" for one in self.found.values()))
        print(json.dumps(self.found[name]), flush=True)


def compare(task: recipes.Task, data: tuple[ImageSource, ImageSource], out: Path, work: Path) -> None:
    """Search once, then train in every way with every seed, seed by seed."""
    searched = search(task, data[0], work)
    records = Records(out / f"{task.name}.jsonl")
    for seed in task.seeds:
        for number, way in runs(task):
            name = f"{way.name}, {number} blocks, seed {seed}"
            if name not in records.found:
                values = train(task, way, number, seed, searched, data, work / task.name / "runs")
                records.add(name, way=way.name, blocks=number, seed=seed, **values)
    table = figures.comparison_table(records.found.values(), recipes.WAYS, task)
    write(out / f"{task.name}.md", [*table, "", *figures.searched_table(searched, task)])
    figures.draw_comparison(records.found.values(), recipes.WAYS, task, out / f"{task.name}.png")
    log = task.searched(work).out / "search.jsonl"
    figures.draw_search([json.loads(line) for line in log.read_text().splitlines()], out / f"{task.name}_search.png")


def runs(task: recipes.Task) -> Iterator[tuple[int, recipes.Way]]:
    """Every way to train with every number of blocks; the whole network once."""
    for way in recipes.WAYS:
        yield from [(1, way)] if way.cuts == "whole" else [(number, way) for number in task.blocks]


def search(task: recipes.Task, train: ImageSource, work: Path) -> BlockSearchResult:
    """The search, which goes on where it was stopped."""
    config = task.searched(work)
    result = config.out / "result.npz"
    if result.exists() and (found := BlockSearchResult.load(result)).finished:
        return found
    net = sedona_net(task.network, len(train.class_names), image_size=task.size)
    begin = time.process_time()
    found = search_blocks(net, config, train)
    if not found.finished:
        raise KeyboardInterrupt
    print(f"searched {task.name} in {time.process_time() - begin:.0f} CPU seconds", flush=True)
    return found


def train(
    task: recipes.Task,
    way: recipes.Way,
    number: int,
    seed: int,
    searched: BlockSearchResult,
    data: tuple[ImageSource, ImageSource],
    work: Path,
) -> dict[str, Any]:
    """Train a network once in one way; what it is worth on the images to measure on, after the last step."""
    names: str | Sequence[str] = way.auxiliary or ()
    net = sedona_net(task.network, len(data[0].class_names), image_size=task.size, seed=seed)
    graph = trace(net.train(), (2, 3, task.size, task.size))
    if way.cuts == "searched":
        chosen = searched.decode(number, tolerance=0)
        partition, names = Partition.at_units(graph, chosen.boundaries), chosen.auxiliaries
    else:
        partition = Partition.uniform(graph, number)
    folder = work / f"{way.name.split(':')[0]}-{way.method}-{number}-{seed}".replace(" ", "-").replace(",", "")
    return measured(partition, net, names, task.training(folder, seed, way.method), data)


def measured(
    partition: Partition,
    net: torch.nn.Module,
    names: str | Sequence[str],
    config: BlockTrainConfig,
    data: tuple[ImageSource, ImageSource],
) -> dict[str, Any]:
    """Train blocks and evaluate them."""
    train, test = data
    num_classes = len(train.class_names)
    blocks = split(net, partition)
    auxiliaries = auxiliaries_for(blocks, names, num_classes, seed=config.training.seed)
    begin = time.process_time()
    result = train_blocks(blocks, auxiliaries, config, train)
    if not result.finished:
        raise KeyboardInterrupt
    seconds = time.process_time() - begin
    found = evaluate_blocks(blocks, auxiliaries, test, batch_size=250)
    costs = pipeline(partition, names, num_classes)
    values: dict[str, Any] = {"top1": found.top1[-1], "of_blocks": found.top1, "ensemble": found.weighted[-1]}
    values |= {"steps": result.steps, "skipped": sum(result.skipped), "cpu_seconds": round(seconds, 1)}
    values |= {"ideal_speedup": costs.ideal_speedup(), "overhead": costs.overhead()}
    if result.replay:
        values["replay"] = [
            {"read": one.read, "reread": one.reread, "lost": one.lost, "mean_age": one.mean_age}
            for one in result.replay
        ]
    return values


def asynchronous(study: recipes.Study, data: tuple[ImageSource, ImageSource], out: Path, work: Path) -> None:
    """Accuracy of asynchronous training against the size of buffers and the pace of one block, and in sync."""
    task, records = study.task, Records(out / "async.jsonl")
    for seed in task.seeds:
        for pace in (None, *study.paces()):
            name = "in sync" if pace is None else f"{pace.size} batches, slow-down {pace.slow_down:g}"
            if f"{name}, seed {seed}" in records.found:
                continue
            net = sedona_net(task.network, len(data[0].class_names), image_size=task.size, seed=seed)
            partition = Partition.uniform(trace(net.train(), (2, 3, task.size, task.size)), study.num_blocks)
            folder = work / "async" / f"{name}-{seed}".replace(" ", "-").replace(",", "")
            if pace is None:
                config = task.training(folder, seed, "sync")
            else:
                config = task.training(folder, seed, "async", replay=pace.replay)
            values = measured(partition, net, "mlp", config, data)
            setting = {} if pace is None else {"size": pace.size, "slow_down": pace.slow_down}
            records.add(f"{name}, seed {seed}", setting=setting, seed=seed, **values)
    write(out / "async.md", figures.async_table(records.found.values(), study))
    figures.draw_async(records.found.values(), study, out / "async.png")


def write(path: Path, rows: Sequence[str]) -> None:
    text = "\n".join(rows).strip() + "\n"
    print(text, flush=True)
    with replacing(path) as temporary:
        temporary.write_text(text)


def main(
    stages: tuple[Stage, ...] = ("published", "digits", "async", "cifar10"),
    searches: Path = FIXTURES,
    cifar: Path | None = None,
    data_root: Path = Path("data"),
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Decode published searches and balance their blocks; search, and compare ways to train; train asynchronously.

    The same command goes on where it was stopped.

    Args:
        stages: what to do.
        searches: folder of the published searches, as .npz files.
        cifar: folder of CIFAR-10 as images; without it, what torchvision downloaded under the data root.
        data_root: folder of data sets.
        out: folder of the results; data/blocks, or with --smoke a temporary one.
        smoke: a few steps on digits, and a few of the published searches' cuts.
    """
    if out is None:
        out = Path(tempfile.mkdtemp() if smoke else "data/blocks")
    out.mkdir(parents=True, exist_ok=True)
    work = out / "work"
    study = recipes.SMOKE_STUDY if smoke else recipes.Study()
    digits = recipes.SMOKE if smoke else recipes.DIGITS
    if "published" in stages:
        decoded(searches, out, smoke=smoke)
    if "digits" in stages:
        compare(digits, loaded(digits, cifar, data_root), out, work)
    if "async" in stages:
        asynchronous(study, loaded(study.task, cifar, data_root), out, work)
    if "cifar10" in stages and not smoke:
        compare(recipes.CIFAR, loaded(recipes.CIFAR, cifar, data_root), out, work)
    print(f"results are in {out}")


def loaded(task: recipes.Task, cifar: Path | None, root: Path) -> tuple[ImageSource, ImageSource]:
    if cifar is not None and not cifar.is_dir():
        raise DataError(f"there is no folder '{cifar}' of images")
    return task.load("train", cifar, root), task.load("test", cifar, root)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
