"""Fit the bundled predictors to all measured networks: ``python experiments/property_prediction/bundle.py``.

It takes the accuracy of each from the comparison that run.py made, where it was held to networks that it had not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import recipes
import torch
import tyro

from ppuda_like.predictors import Comparison, GraphRegressor, LabelledGraphs, Predictor, PropertyInfo, digits_labels

PREDICTOR = "graph network + GRAF"
WIDTH = 8


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A predictor to bundle.

    Attributes:
        info: what it predicts.
        images: that a share is measured on, so that 0 and 1 stand for half an image; None for other properties.
    """

    info: PropertyInfo
    images: int | None = None


BUNDLES = {
    "digits-accuracy": Bundle(
        info=PropertyInfo(
            property="val_acc", scale="logit", width=WIDTH, description="accuracy on digits, trained briefly"
        ),
        images=250,
    ),
    "digits-robustness": Bundle(
        info=PropertyInfo(
            property="val_acc_noise", scale="logit", width=WIDTH, description="the same, under noise of 0.4"
        ),
        images=250,
    ),
    "digits-speed": Bundle(
        info=PropertyInfo(
            property="time", unit="s", scale="log", higher_is_better=False, width=WIDTH,
            description="inference of one image, one CPU thread",
        ),
    ),
    "digits-convergence": Bundle(
        info=PropertyInfo(
            property="converge_time", scale="logit", higher_is_better=False, width=WIDTH,
            description="share of that training until it converges",
        ),
        images=250,
    ),
}  # fmt: skip


def main(
    results: Path = Path("data/property_prediction"),
    out: Path = Path("ppuda_like/predictors/checkpoints"),
) -> None:
    """Fit and write the predictors.

    Args:
        results: folder of run.py's comparisons.
        out: where the files go.
    """
    parts = digits_labels().values()
    names = [bundle.info.property for bundle in BUNDLES.values()]
    data = LabelledGraphs(
        graphs=[graph for part in parts for graph in part.graphs],
        labels={name: np.concatenate([part.labels[name] for part in parts]) for name in names},
    )
    for name, bundle in BUNDLES.items():
        info = bundle.info
        known = data.known(info.property)
        if bundle.images is not None:
            half = 0.5 / bundle.images
            clipped = np.clip(known.values(info.property), half, 1 - half)
            known = LabelledGraphs(graphs=known.graphs, labels={info.property: clipped})
        comparison = Comparison.load(results / f"{info.property}.json")
        tau, deviation = comparison.statistic("kendall", PREDICTOR)
        described = PropertyInfo(**{**vars(info), "tau": tau, "tau_deviation": deviation})
        regressor: GraphRegressor = recipes.predictors(results)[PREDICTOR]
        predictor = Predictor.fit(described, known, regressor)
        predictor.save(out / f"{name}.safetensors")
        print(name, predictor, f"{(out / f'{name}.safetensors').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
