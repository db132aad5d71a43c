"""Train and evaluate the bundled hypernetwork: ``python experiments/ghn2_digits/run.py train`` (or ``evaluate``)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import recipes
import tyro

from ppuda_like._memory import keep_freed_memory
from ppuda_like.ghn import GHN, eval_ghn, train_ghn
from ppuda_like.vision import digits


def train(out: Path = Path("data/ghn2_digits"), minutes: float | None = None) -> None:
    """Train on narrow networks, then on wider ones; or continue what was interrupted.

    Args:
        out: folder of the runs.
        minutes: stop each of them after that long, to be continued by the same command.
    """
    narrow = recipes.narrow(out / "narrow")
    for config in (narrow, recipes.wide(out / "wide", narrow.out / "ghn.safetensors")):
        result = train_ghn(replace(config, max_minutes=minutes))
        print(json.dumps(asdict(result), default=str, indent=2))
        if not result.finished:
            break


def evaluate(
    checkpoint: Path = Path("data/ghn2_digits/wide/ghn.safetensors"),
    out: Path = Path("data/ghn2_digits"),
    nets: int = 100,
) -> None:
    """Accuracy on unseen networks and test images, one CSV per kind of network, and a table in JSON.

    Args:
        checkpoint: the hypernetwork.
        out: folder of the results.
        nets: networks per split.
    """
    ghn = GHN.from_pretrained(checkpoint)
    data = digits("test")
    table = {}
    for name, split, width in (
        ("test_C16", "test", 16),
        ("test_C32", "test", 32),
        ("torchvision", ("resnet18", "resnet50", "resnet34", "wide_resnet50_2", "vgg11_bn", "densenet121"), None),
    ):
        found = eval_ghn(ghn, split, nets, data, width=width, csv_path=out / f"{name}.csv")
        table[name] = {"mean": found.mean, "standard_error": found.standard_error, "best": found.best.top1}
        if width is None:
            table[name] = {net.net: net.top1 for net in found.nets}
        print(name, json.dumps(table[name]), flush=True)
    (out / "results.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    keep_freed_memory()
    tyro.extras.subcommand_cli_from_dict({"train": train, "evaluate": evaluate})
