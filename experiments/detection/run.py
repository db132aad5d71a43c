"""Detectors on predicted and on random backbones: ``python experiments/detection/run.py --smoke``."""

from __future__ import annotations

import csv
import json
import platform
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import recipes
import torch
import tyro

from ppuda_like.vision import detector, generate_pedestrians, penn_fudan, train_detector

COLUMNS = ("backbone", "init", "seed", "epoch", "loss", "val_ap", "val_ap50", "val_ap75", "skipped_steps")


def run(
    out: Path = Path("data/detection"),
    data: Path | None = None,
    ghn: str = recipes.Comparison.ghn,
    epochs: int = 4,
    smoke: bool = False,
    device: str = "cpu",
) -> None:
    """Train each backbone from each of its initial weights; the same command goes on where it was stopped.

    Args:
        out: folder of the runs and of results.csv, results.json and results.png.
        data: Penn-Fudan, for the published recipe with ResNet-50; drawn figures otherwise.
        ghn: the hypernetwork; the bundled ones know small networks only.
        epochs: of each run on drawn figures.
        smoke: a very short run of everything.
        device: where to train.
    """
    comparison = recipes.smoke() if smoke else recipes.generated(epochs) if data is None else recipes.published()
    comparison = replace(comparison, ghn=ghn)
    out = out / "smoke" if smoke else out
    if data is None:
        data = out / "pedestrians"
        if not data.is_dir():
            generate_pedestrians(data, comparison.num_images, size=comparison.image_size)
    train, test = (penn_fudan(data, split, num_test=comparison.num_test) for split in ("train", "test"))
    rows: list[dict[str, Any]] = []
    for backbone in comparison.backbones:
        for seed in comparison.seeds:
            for init in comparison.inits:
                model = recipes.build(backbone, seed, small_input=comparison.small_input)
                recipes.fill(model, init, comparison.ghn)
                made = detector(model, config=comparison.parts, seed=seed).to(device)
                config = recipes.training(comparison, out, backbone, init, seed)
                result = train_detector(made, config, train, test)
                if not result.finished:
                    print("stopped; the same command goes on")
                    return
                found = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
                rows += [{"backbone": backbone, "init": init, "seed": seed, **line} for line in found]
                last = found[-1]
                print(
                    f"{backbone}, {init}, seed {seed}: loss {last['loss']:.3f}, AP {100 * last['val_ap']:.1f} %, "
                    f"AP50 {100 * last['val_ap50']:.1f} %, {result.seconds:.0f} s, {result.skipped_steps} skipped",
                    flush=True,
                )
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    table = list(summary(rows))
    for line in table:
        print(
            f"{line['backbone']}, {line['init']}: AP50 {100 * line['ap50']:.1f} % +- {100 * line['ap50_std']:.1f}, "
            f"AP {100 * line['ap']:.1f} %, {line['runs']} runs"
        )
    about = {
        "comparison": asdict(comparison),
        "data": train.name,
        "train_images": len(train),
        "test_images": len(test),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    (out / "results.json").write_text(json.dumps({**about, "results": table}, indent=2) + "\n")
    plot(rows, out / "results.png")
    print(f"wrote {out}/results.csv, results.json, results.png")


def summary(rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Mean and standard deviation over seeds after the last epoch."""
    last = max(row["epoch"] for row in rows)
    for backbone, init in dict.fromkeys((row["backbone"], row["init"]) for row in rows):
        ends = [row for row in rows if (row["backbone"], row["init"], row["epoch"]) == (backbone, init, last)]
        ap50 = [row["val_ap50"] for row in ends]
        yield {
            "backbone": backbone,
            "init": init,
            "runs": len(ends),
            "epochs": last,
            "ap50": statistics.fmean(ap50),
            "ap50_std": statistics.stdev(ap50) if len(ap50) > 1 else 0.0,
            "ap": statistics.fmean(row["val_ap"] for row in ends),
            "ap75": statistics.fmean(row["val_ap75"] for row in ends),
        }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """AP50 by epoch: a panel per backbone, a line per run."""
    from matplotlib.figure import Figure

    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    figure = Figure(figsize=(4 * len(backbones), 3), layout="constrained")
    panels = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
    colours = {"predicted": "tab:blue", "random": "tab:orange"}
    for panel, backbone in zip(panels, backbones, strict=True):
        mine = [row for row in rows if row["backbone"] == backbone]
        labelled = set()
        for init, seed in dict.fromkeys((row["init"], row["seed"]) for row in mine):
            line = [row for row in mine if (row["init"], row["seed"]) == (init, seed)]
            panel.plot(
                [row["epoch"] for row in line],
                [100 * row["val_ap50"] for row in line],
                color=colours[init],
                marker=".",
                label=None if init in labelled else init,
            )
            labelled.add(init)
        panel.set(title=backbone, xlabel="epoch")
        panel.legend(frameon=False)
    panels[0].set_ylabel("AP50, %")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(run)
