"""Fit the bundled predictors to all measured networks: ``python experiments/property_prediction/bundle.py``.

How well each of them orders networks is found first, on halves of the networks that it does not see.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import recipes
import torch
import tyro

from ppuda_like.predictors import (
    FeatureMemory,
    LabelledGraphs,
    Predictor,
    PropertyInfo,
    digits_labels,
    evaluate_predictors,
)
from ppuda_like.predictors._estimate import SCALES

PREDICTOR = "Gaussian process on GRAF + GHN embeddings"
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
            property="val_acc_noise", scale="logit", width=WIDTH, description="accuracy on digits under noise of 0.4"
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
            description="share of that brief training until it converges",
        ),
        images=250,
    ),
}  # fmt: skip


def measured() -> LabelledGraphs:
    """All bundled labels."""
    parts = digits_labels().values()
    names = [bundle.info.property for bundle in BUNDLES.values()]
    return LabelledGraphs(
        graphs=[graph for part in parts for graph in part.graphs],
        labels={name: np.concatenate([part.labels[name] for part in parts]) for name in names},
    )


def main(out: Path = Path("ppuda_like/predictors/checkpoints")) -> None:
    """Fit and write the predictors.

    Args:
        out: where the files go.
    """
    data, memory = measured(), FeatureMemory()
    with tempfile.TemporaryDirectory() as scratch:
        for name, bundle in BUNDLES.items():
            info = bundle.info
            known = data.known(info.property)
            values = known.values(info.property)
            if bundle.images is not None:
                values = np.clip(values, 0.5 / bundle.images, 1 - 0.5 / bundle.images)
            known = LabelledGraphs(graphs=known.graphs, labels={info.property: values})
            scaled = LabelledGraphs(graphs=known.graphs, labels={info.property: SCALES[info.scale][0](values)})
            regressor = recipes.predictors(Path(scratch))[PREDICTOR]
            held = evaluate_predictors(
                {PREDICTOR: regressor}, scaled, info.property, baselines={}, seeds=recipes.SEEDS, memory=memory
            )
            tau, deviation = held.statistic("kendall", PREDICTOR)
            inside = held.statistic("coverage_90", PREDICTOR)[0]
            predictor = Predictor.fit(replace(info, tau=tau, tau_deviation=deviation), known, regressor)
            predictor.save(out / f"{name}.safetensors")
            size = (out / f"{name}.safetensors").stat().st_size / 1e6
            print(f"{name}: {predictor}, {100 * inside:.0f} % in their 90 % intervals, {size:.2f} MB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
