"""Fine-tune networks from predicted and from random weights: ``python experiments/nshot_finetuning/run.py``."""

from __future__ import annotations

import csv
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Literal

import matplotlib
import matplotlib.pyplot as plt
import torch
import tyro
from recipes import SMOKE, Recipe
from torch import nn

from ppuda_like._files import replacing
from ppuda_like.deepnets import sample_network
from ppuda_like.ghn import GHN, kaiming_init, predicted_init
from ppuda_like.vision import ImageSource, load_images, n_shot, subset, train_net

Init = Literal["kaiming", "predicted", "predicted-orth"]
FIELDS = ("net", "init", "seed", "epoch", "top1")


def network(index: int, width: int, num_classes: int) -> nn.Module:
    """A network of the split ``test`` whose batch normalisations track statistics, as training needs it."""
    config = sample_network("test", index).replace(C=width, num_classes=num_classes)
    return config.replace(norm=config.norm and "bn-track").build("cpu")


def accuracies(
    index: int, init: Init, seed: int, ghn: GHN, recipe: Recipe, train: ImageSource, test: ImageSource, out: Path
) -> dict[int, float]:
    """Top-1 on the test images after each epoch."""
    model = network(index, recipe.width, len(train.class_names))
    generator = torch.Generator().manual_seed(seed)
    if init == "kaiming":
        kaiming_init(model, generator)
    else:
        orth = init == "predicted-orth"
        predicted_init(model, ghn, orth=orth, noise=1e-5 if orth else 0.0, generator=generator)
    folder = out / "runs" / f"{index}-{init}-{seed}"
    run = train_net(model, recipe.config(folder, seed), n_shot(train, recipe.shots, seed), test, progress=False)
    if not run.finished:
        raise SystemExit("stopped; the same command goes on")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {number: line["val_top1"] for number, line in enumerate(lines, start=1)}


def table(rows: list[dict[str, object]], epochs: tuple[int, ...]) -> str:
    """Mean and standard deviation over the seeds, in Markdown."""
    lines = [
        f"| network | weights | {' | '.join(f'epoch {epoch}' for epoch in epochs)} |",
        "|---|---|" + "---|" * len(epochs),
    ]
    for net in dict.fromkeys(row["net"] for row in rows):
        for init in dict.fromkeys(row["init"] for row in rows):
            cells = []
            for epoch in epochs:
                top1 = [
                    100 * float(str(row["top1"]))
                    for row in rows
                    if (row["net"], row["init"], row["epoch"]) == (net, init, epoch)
                ]
                spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
                cells.append(f"{statistics.fmean(top1):.1f} ± {spread:.1f}")
            lines.append(f"| test #{net} | {init} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Mean accuracy by epoch, a panel per network; the band spans the seeds."""
    matplotlib.use("Agg")
    nets = list(dict.fromkeys(row["net"] for row in rows))
    figure, axes = plt.subplots(
        1, len(nets), figsize=(4 * len(nets), 3.6), sharey=True, squeeze=False, constrained_layout=True
    )
    for axis, net in zip(axes[0], nets, strict=True):
        for init in dict.fromkeys(str(row["init"]) for row in rows):
            found = defaultdict(list)
            for row in rows:
                if (row["net"], row["init"]) == (net, init):
                    found[int(str(row["epoch"]))].append(100 * float(str(row["top1"])))
            epochs = sorted(found)
            (line,) = axis.plot(epochs, [statistics.fmean(found[epoch]) for epoch in epochs], label=init)
            axis.fill_between(
                epochs,
                [min(found[e]) for e in epochs],
                [max(found[e]) for e in epochs],
                alpha=0.2,
                color=line.get_color(),
                linewidth=0,
            )
        axis.set(title=f"test #{net}", xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("top-1 on test images, %")
    axes[0][0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(
    ghn: str = "ghn2-cifar10",
    inits: tuple[Init, ...] = ("kaiming", "predicted", "predicted-orth"),
    data: str = "cifar10",
    data_root: Path = Path("data"),
    out: Path = Path("data/nshot_finetuning"),
    smoke: bool = False,
) -> None:
    """Fine-tune each network from each kind of weights, for each seed; runs that are done are not repeated.

    Args:
        ghn: a bundled hypernetwork or a .safetensors file.
        inits: weights to begin with; ``predicted-orth`` are predicted, orthogonal, and with noise of 1e-5.
        data: CIFAR-10: its name, or a folder or archive of its images.
        data_root: folder of data sets.
        out: folder of the runs and results.
        smoke: try everything on digits with next to no training.
    """
    recipe = SMOKE if smoke else Recipe()
    if smoke:
        ghn, data, out = "ghn2-digits", "digits", Path(tempfile.mkdtemp())
    model = GHN.from_pretrained(ghn)
    train, test = (load_images(data, split, root=data_root) for split in ("train", "test"))
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    test = subset(test, order[: recipe.num_images])
    rows: list[dict[str, object]] = []
    for net in recipe.nets:
        for seed in recipe.seeds:
            for init in inits:
                found = accuracies(net, init, seed, model, recipe, train, test, out)
                rows += [{"net": net, "init": init, "seed": seed, "epoch": e, "top1": a} for e, a in found.items()]
                shown = ", ".join(f"{epoch}: {100 * found[epoch]:.1f} %" for epoch in recipe.epochs)
                print(f"test #{net}, {init}, seed {seed}: {shown}", flush=True)
    with replacing(out / "results.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, out / "curves.png")
    print(table(rows, recipe.epochs))
    print(f"results are in {out}")


if __name__ == "__main__":
    tyro.cli(main)
