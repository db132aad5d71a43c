"""Train a network by the protocol of DARTS: ``python experiments/darts_protocol/run.py``."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import recipes
import torch
import tyro
from figures import plot, table

from ppuda_like._files import replacing
from ppuda_like._memory import keep_freed_memory
from ppuda_like.deepnets import Network
from ppuda_like.vision import ImageData, ImageSource, NetTrainResult, evaluate, load_images, n_shot, subset, train_net

Images = tuple[ImageSource, ImageSource, ImageSource]


def split_images(recipe: recipes.Recipe, seed: int, root: Path) -> Images:
    """Images to train on, to draw the learning curve on, and to report on."""
    load = partial(load_images, recipe.data, size=recipe.image_size, root=root)
    train, val, test = load(split="train"), load(split="val"), load(split="test")
    if recipe.shots is not None:
        few = n_shot(train, recipe.shots, seed)
        left = torch.ones(len(train), dtype=torch.bool).index_fill(0, few.index, False).nonzero()[:, 0]
        train, test = few, joined(test, subset(train, left))
    return (joined(train, val), test, test) if recipe.all_images else (train, val, test)


def joined(first: ImageSource, second: ImageSource) -> ImageData:
    """The images of two sources of the same classes, in memory, with the statistics of the first."""
    parts = [source.pixels(torch.arange(len(source))) for source in (first, second)]
    return ImageData(
        images=torch.cat([images for images, _ in parts]),
        labels=torch.cat([labels for _, labels in parts]),
        class_names=tuple(first.class_names),
        mean=first.mean,
        std=first.std,
    )


def train(
    recipe: recipes.Recipe,
    variant: recipes.Variant,
    seed: int,
    data: Images,
    out: Path,
    *,
    device: str,
    workers: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """One run: what it came to, and its learning curve; None if it was stopped."""
    images, val, test = data
    model = recipe.build(variant, len(images.class_names), seed)
    config = recipe.config(
        out / "runs" / f"{variant.replace(' ', '-')}-{seed}", variant, seed, device=device, workers=workers
    )
    result: NetTrainResult = train_net(model, config, images, val)
    if not result.finished:
        return None
    curve = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    found = evaluate(model, test, batch_size=config.val_batch_size)
    run = {"variant": variant, "seed": seed}
    ended = {
        "num_params": inference_params(model),
        "train_top1": curve[-1]["top1"],
        "val_top1": curve[-1]["val_top1"],
        "test_top1": found.top1,
        "test_loss": found.loss,
        "skipped_steps": result.skipped_steps,
        "seconds": result.seconds,
    }
    kept = ("epoch", "loss", "top1", "lr", "drop_path", "val_top1", "val_loss", "seconds")
    return run | ended, [run | {key: line[key] for key in kept if key in line} for line in curve]


def inference_params(model: torch.nn.Module) -> int:
    """Scalars in the parameters, without those of an auxiliary head."""
    head = model.auxiliary_head if isinstance(model, Network) else None
    return sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in (head.parameters() if head else ()))


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """One line per row; a value that a row does not have stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def main(
    recipe: Literal["small", "paper"] = "small",
    arch: str | None = None,
    data: str | None = None,
    data_root: Path = Path("data"),
    variants: tuple[recipes.Variant, ...] = (),
    seeds: tuple[int, ...] = (),
    epochs: int | None = None,
    amp: Literal["none", "bf16", "fp16"] = "none",
    device: str = "cpu",
    workers: int = 0,
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Train with the regularisers of the protocol and without; the same command goes on where it was stopped.

    Args:
        recipe: small, on digits for a CPU, or paper, as published for a GPU.
        arch: DARTS, PDARTS, or SPLIT:INDEX of DeepNets; by default the recipe's, DARTS.
        data: a data set by name, or a folder or archive of images; by default the recipe's.
        data_root: folder of data sets.
        variants: which regularisers are on; by default the recipe's.
        seeds: a run for each; by default the recipe's.
        epochs: of each run; by default the recipe's.
        amp: arithmetic of the forward pass.
        device: where to train.
        workers: processes that prepare images ahead.
        out: folder of the runs and results; data/darts_protocol/RECIPE-ARCH, or with --smoke a temporary one.
        smoke: try everything with next to no training.
    """
    chosen = recipes.smoke() if smoke else {"small": recipes.small, "paper": recipes.paper}[recipe]()
    given: dict[str, Any] = {"arch": arch, "data": data, "variants": variants, "seeds": seeds, "epochs": epochs}
    chosen = replace(chosen, amp=amp, **{key: value for key, value in given.items() if value not in (None, ())})
    if out is None:
        name = f"{recipe}-{chosen.arch.replace(':', '-')}"
        out = Path(tempfile.mkdtemp()) if smoke else Path("data/darts_protocol") / name
    runs: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for seed in chosen.seeds:
        images = split_images(chosen, seed, data_root)
        for variant in chosen.variants:
            found = train(chosen, variant, seed, images, out, device=device, workers=workers)
            if found is None:
                print("stopped; the same command goes on")
                return
            runs.append(found[0])
            curves += found[1]
            print(
                f"{variant}, seed {seed}: top-1 {100 * found[0]['train_top1']:.1f} % in training, "
                f"{100 * found[0]['test_top1']:.1f} % on {len(images[2])} test images, {found[0]['seconds']:.0f} s",
                flush=True,
            )
    write_csv(runs, out / "results.csv")
    write_csv(curves, out / "curves.csv")
    held_out = "test" if chosen.all_images else "validation"
    plot(curves, runs, out / "curves.png", held_out)
    about: dict[str, Any] = {"recipe": asdict(chosen), "device": device, "torch": torch.__version__}
    about |= {"train_images": len(images[0]), "test_images": len(images[2])}
    (out / "results.json").write_text(json.dumps(about, indent=2) + "\n")
    print(table(runs, held_out))
    print(f"results are in {out}")


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    tyro.cli(main)
