"""Train hypernetworks for CIFAR-10 and compare them split by split: ``python experiments/ppuda_table/run.py``."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import recipes
import torch
import tyro

from ppuda_like._memory import keep_freed_memory
from ppuda_like.ghn import GHN, GHNConfig, eval_ghn, train_ghn
from ppuda_like.vision import ImageSource, load_images, subset

GHNS = {
    "ghn2": GHNConfig.ghn2(),
    "ghn3": GHNConfig.ghn3("T", kernel=11),
    "ghn1": GHNConfig.ghn1(),
    "mlp": GHNConfig.mlp(),
}
Name = Literal["ghn2", "ghn3", "ghn1", "mlp"]
# Networks of each split, and test images: an image costs sixteen times as much in a network of `wide`.
SPLITS = {"test": (100, 1_000), "deep": (50, 500), "dense": (50, 256), "bnfree": (50, 500), "wide": (50, 128)}
TORCHVISION = ("resnet50", "resnet18")
TORCHVISION_IMAGES = 1_000


def train(ghn: Name, data: str, out: Path, minutes: float | None, smoke: bool) -> None:
    """Train, or continue what was stopped."""
    config = recipes.smoke(GHNS[ghn], out / ghn) if smoke else recipes.narrow(GHNS[ghn], data, out / ghn)
    result = train_ghn(replace(config, max_minutes=minutes))
    print(json.dumps(asdict(result), default=str, indent=2))


def evaluate(ghn: Name, checkpoint: str, images: ImageSource, out: Path, share: float, most_images: int) -> None:
    """Accuracy by split: one CSV each, and a table in JSON; what is there already is not repeated."""
    table_path = out / f"{ghn}.json"
    table = json.loads(table_path.read_text()) if table_path.exists() else {}
    model = GHN.from_pretrained(checkpoint)
    for split, (most, num_images) in {"torchvision": (len(TORCHVISION), TORCHVISION_IMAGES), **SPLITS}.items():
        if split in table:
            continue
        which = TORCHVISION if split == "torchvision" else split
        some = subset(images, torch.arange(max(16, min(most_images, round(num_images * share)))))
        found = eval_ghn(model, which, max(1, round(most * share)), some, csv_path=out / f"{ghn}_{split}.csv")
        table[split] = {
            "nets": len(found.nets),
            "images": len(some),
            "top1": found.mean,
            "standard_error": found.standard_error,
            "best": found.best.top1,
        }
        if split == "torchvision":
            table[split] = {net.net: net.top1 for net in found.nets} | {"images": len(some)}
        print(ghn, split, json.dumps(table[split]), flush=True)
        table_path.write_text(json.dumps(table, indent=2) + "\n")


def report(ghns: tuple[Name, ...], out: Path) -> str:
    """Accuracies of the hypernetworks that have been evaluated, in Markdown: mean ± standard error, and the best."""
    rows = [
        f"| | {' | '.join(SPLITS)} | {' | '.join(TORCHVISION)} |",
        "|---|" + "---|" * (len(SPLITS) + len(TORCHVISION)),
    ]
    for ghn in ghns:
        path = out / f"{ghn}.json"
        table = json.loads(path.read_text()) if path.exists() else {}
        cells = [_cell(table.get(split)) for split in SPLITS]
        found = table.get("torchvision", {})
        cells += [f"{100 * found[net]:.1f}" if net in found else "" for net in TORCHVISION]
        rows.append(f"| {ghn} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(found: dict[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{100 * found['top1']:.1f} ± {100 * found['standard_error']:.1f} ({100 * found['best']:.1f})"


def plot(runs: dict[str, Path], out: Path) -> None:
    """Accuracy on the training networks, and at validations, against steps and against minutes."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, constrained_layout=True)
    for name, folder in runs.items():
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        trained = [line for line in lines if line.get("top1") is not None]
        steps, minutes = [line["step"] for line in trained], [line["minutes"] for line in trained]
        checked = [line for line in lines if "val_top1" in line]
        at_steps = [line["step"] for line in checked]
        for axis, x, at in (
            (axes[0], steps, at_steps),
            (axes[1], minutes, np.interp(at_steps, steps, minutes)),  # a validation's step need not be a logged one
        ):
            (curve,) = axis.plot(x, smooth([100 * line["top1"] for line in trained]), label=f"{name}, training batches")
            axis.plot(
                at,
                [100 * line["val_top1"] for line in checked],
                "o",
                color=curve.get_color(),
                label=f"{name}, validation",
            )
    axes[0].set(xlabel="steps", ylabel="top-1, %")
    axes[1].set(xlabel="minutes")
    axes[0].legend(frameon=False, loc="lower right")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(out / "curves.png", dpi=120)
    plt.close(figure)


def smooth(values: list[float], width: int = 5) -> list[float]:
    """Mean of each value and up to ``width - 1`` before it."""
    return [sum(values[max(0, i + 1 - width) : i + 1]) / min(i + 1, width) for i in range(len(values))]


def main(
    stages: tuple[Literal["train", "evaluate", "plot"], ...] = ("train", "evaluate", "plot"),
    ghns: tuple[Name, ...] = ("ghn2", "ghn3"),
    data: str = "cifar10",
    data_root: Path = Path("data"),
    out: Path = Path("data/ppuda_table"),
    minutes: float | None = None,
    share: float = 1.0,
    most_images: int = 1_000,
    smoke: bool = False,
) -> None:
    """Train hypernetworks, evaluate them on unseen networks, and draw their learning curves.

    Args:
        stages: what to do.
        ghns: which hypernetworks.
        data: CIFAR-10: its name, or a folder or archive of its images.
        data_root: folder of data sets.
        out: folder of the runs and results.
        minutes: stop each training after that long, to be continued by the same command.
        share: of the networks of each split, and of the images, to evaluate on.
        most_images: to evaluate on.
        smoke: try everything on digits with next to no training.
    """
    if smoke:
        data, share, out = "digits", 0.01, Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    if "train" in stages:
        for ghn in ghns:
            train(ghn, data, out, minutes, smoke)
    if "evaluate" in stages:
        images = load_images(data, "test", root=data_root)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        for ghn in ghns:
            evaluate(ghn, str(out / ghn / "ghn.safetensors"), subset(images, order), out, share, most_images)
    if "plot" in stages:
        plot({ghn: out / ghn for ghn in ghns}, out)
        (out / "results.md").write_text(report(ghns, out) + "\n")
        print(report(ghns, out))
    print(f"results are in {out}")


if __name__ == "__main__":
    keep_freed_memory()
    tyro.cli(main)
