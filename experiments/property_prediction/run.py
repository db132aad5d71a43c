"""Predict four properties of generated networks: ``python experiments/property_prediction/run.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import recipes
import torch
import tyro
from matplotlib.figure import Figure

from ppuda_like._cli_options import shared_work
from ppuda_like._files import replacing
from ppuda_like.predictors import (
    Comparison,
    FeatureMemory,
    LabelledGraphs,
    PropertyTable,
    digits_table,
    evaluate_predictors,
    feature_importance,
    measure_scores,
    plot_embedding,
    plot_importance,
    plot_learning_curves,
    plot_predictions,
    property_splits,
)
from ppuda_like.vision import digits

Stage = Literal["scores", "tables", "curves", "pictures"]
Name = Literal["val_acc", "val_acc_noise", "time", "converge_time"]


def table(name: str) -> PropertyTable:
    """A file that ``ppuda-like measure`` wrote, or the bundled networks of a split."""
    return PropertyTable.load(name) if Path(name).suffix else digits_table(name)


def together(tables: Sequence[PropertyTable]) -> LabelledGraphs:
    """The networks of one or more tables, with the properties that all of them have."""
    parts = [found.labelled() for found in tables]
    names = [name for name in parts[0].labels if all(name in part.labels for part in parts)]
    return LabelledGraphs(
        graphs=[graph for part in parts for graph in part.graphs],
        labels={name: np.concatenate([np.asarray(part.labels[name]) for part in parts]) for name in names},
        name=" and ".join(part.name for part in parts),
    )


def compare(
    name: str, data: LabelledGraphs, test: LabelledGraphs | None, predictors: dict[str, Any], path: Path, **options: Any
) -> Comparison:
    """Compare predictors of one property; what is there already is not repeated."""
    if path.with_suffix(".json").exists():
        return Comparison.load(path.with_suffix(".json"))
    known = recipes.learnt(data, name)
    scored = None if test is None else recipes.learnt(test, name)
    columns = [recipes.COLUMN] if recipes.COLUMN in known.labels else []
    return evaluate_predictors(
        predictors,
        known,
        name,
        test=scored,
        columns=columns,
        higher_is_better=recipes.PROPERTIES[name].higher_is_better,
        out=path,
        **options,
    )


def draw(name: str, data: LabelledGraphs, predictors: dict[str, Any], out: Path, repeats: int) -> None:
    """Predictions and importance of features on the first split, and what embeddings look like."""
    known, label = recipes.learnt(data, name), recipes.PROPERTIES[name].label
    (split,) = property_splits(len(known), seeds=[0])
    train, test = known.select(split.train), known.select(split.test)
    truth = test.values(name)
    figure = Figure(figsize=(12.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    network = predictors["graph network + GRAF"].fit(list(train.graphs), train.values(name))
    mean, std = network.predict(list(test.graphs), return_std=True)
    plot_predictions(truth, mean, std, axes[0], label=label)
    rows = recipes.embedding(out).fit(known.graphs).transform(known.graphs)
    for axis, method in ((axes[1], "pca"), (axes[2], "tsne")):
        plot_embedding(rows, known.values(name), axis, method=method, label=label)
    with replacing(out / f"{name}.png") as temporary:
        figure.savefig(temporary, dpi=110)
    boosting = predictors["gradient boosting on GRAF"].set_params(boosting__random_state=0)
    boosting.fit(list(train.graphs), train.values(name))
    importance = feature_importance(boosting, test.graphs, truth, repeats=repeats)
    plot_importance(importance, out / f"{name}_importance.png", title=f"gradient boosting on GRAF, {label}")


def score(tables: Sequence[PropertyTable], out: Path, executor: Executor | None) -> None:
    """Measure training-free scores of the networks of all tables on one batch of digits."""
    images, targets = digits("train").batch(torch.arange(32))
    for found in tables:
        measure_scores(found.configs(), images, targets, out / "scores.h5", ghn="ghn2-digits", executor=executor)


def main(
    labels: tuple[str, ...] = ("train", "test"),
    test_labels: tuple[str, ...] = (),
    stages: tuple[Stage, ...] = ("tables", "curves", "pictures"),
    properties: tuple[Name, ...] = ("val_acc", "val_acc_noise", "time", "converge_time"),
    out: Path | None = None,
    workers: int = 1,
    smoke: bool = False,
) -> None:
    """Compare predictors, draw learning curves and pictures; the same command goes on where it was stopped.

    Args:
        labels: networks: files that ``ppuda-like measure`` wrote, or splits of those that come with the package.
        test_labels: other networks to score on; half of the networks, in turn by seed, where none are given.
        stages: what to do; "scores" measures training-free scores, which the tables then hold predictors on.
        properties: which of them.
        out: folder of the results; data/property_prediction, or with --smoke a temporary one.
        workers: processes to share the fits out to.
        smoke: one property, of few networks, with stand-ins for measured values and next to no training.
    """
    if out is None:
        out = Path(tempfile.mkdtemp() if smoke else "data/property_prediction")
    out.mkdir(parents=True, exist_ok=True)
    if smoke:
        properties = properties[:1]
    tables = [] if smoke else [table(name) for name in labels]
    held_out = [table(name) for name in test_labels]
    data = recipes.stand_in(32) if smoke else together(tables)
    test = together(held_out) if held_out else None
    with ExitStack() as stack:
        executor = stack.enter_context(shared_work(workers, None, "spawn")) if workers > 1 else None
        if "scores" in stages:
            score((*tables, *held_out), out, executor)
        scores = out / "scores.h5" if (out / "scores.h5").exists() else None
        predictors = recipes.predictors(out, scores, smoke)
        options: dict[str, Any] = {"memory": FeatureMemory(), "executor": executor, "seeds": recipes.SEEDS}
        if smoke:
            options |= {"seeds": 2, "baselines": recipes.small_baselines()}
        for name in properties:
            if "tables" in stages:
                found = compare(name, data, test, predictors, out / f"{name}.csv", **options)
                (out / f"{name}.md").write_text(f"{found.table()}\n")
                print(f"\n{found}", flush=True)
            if "curves" in stages and name in recipes.CURVE_PROPERTIES:
                chosen = {key: predictors[key] for key in recipes.CURVES}
                fewer = {"train_sizes": recipes.CURVE_SIZES, "seeds": recipes.CURVE_SEEDS}
                if smoke:
                    fewer = {"train_sizes": (12, None)}
                found = compare(name, data, test, chosen, out / f"{name}_curves.csv", **(options | fewer))
                title = f"{recipes.PROPERTIES[name].label}\n{found.protocol}"
                plot_learning_curves(found, out / f"{name}_curves.png", title=title)
            if "pictures" in stages:
                draw(name, data, predictors, out, repeats=1 if smoke else 10)
    print(f"\nresults are in {out}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
