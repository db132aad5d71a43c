"""Files of fitted Gaussian processes: the features and properties learnt from, and the hyper-parameters found."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ppuda_like.errors import CheckpointError
from ppuda_like.predictors._features_json import features_from_json, features_to_json
from ppuda_like.predictors._predictor_file import PredictorFile, checked_tensor, write_predictor_file
from ppuda_like.predictors._regressors import BoundedGaussianProcess, gaussian_process

__all__ = ["KIND", "gaussian_process_from_file", "write_gaussian_process"]

KIND = "gaussian-process"


def write_gaussian_process(path: str | PathLike[str], pipeline: Pipeline, about: Mapping[str, Any]) -> None:
    """Write a fitted pipeline of :func:`gaussian_process`.

    Raises:
        CheckpointError: if it is another pipeline, or its features cannot be saved.
    """
    steps = [type(step) for _, step in pipeline.steps]
    if steps[1:] != [type(step) for _, step in gaussian_process().steps[1:]]:
        raise CheckpointError(
            "a pipeline can be saved that gaussian_process made "
            f"(got the steps {', '.join(kind.__name__ for kind in steps)})"
        )
    check_is_fitted(pipeline)
    features, scale, process = (step for _, step in pipeline.steps)
    targets = process.y_train_ * process._y_train_std + process._y_train_mean
    arrays = {"rows": process.X_train_, "targets": targets, "mean": scale.mean_, "scale": scale.scale_}
    content = PredictorFile(
        kind=KIND,
        arguments={"features": features_to_json(features)},
        fitted={"kernel": [float(value) for value in process.kernel_.theta]},
        about=dict(about),
        tensors={name: torch.from_numpy(np.array(values, dtype=np.float64)) for name, values in arrays.items()},
    )
    write_predictor_file(path, content)


def gaussian_process_from_file(content: PredictorFile) -> Pipeline:
    """The pipeline of a file, fitted.

    Raises:
        CheckpointError: if the parts of the file do not fit together.
        KeyError, TypeError, ValueError: likewise.
    """
    rows = checked_tensor(content.tensors, "rows", (None, None), torch.float64).numpy()
    targets = checked_tensor(content.tensors, "targets", (len(rows),), torch.float64).numpy()
    mean, deviation = (
        checked_tensor(content.tensors, name, (rows.shape[1],), torch.float64).numpy() for name in ("mean", "scale")
    )
    if not len(rows) or not (deviation > 0).all():
        raise CheckpointError("it must hold at least one network, and scales above 0")
    pipeline = gaussian_process(features_from_json(content.arguments["features"]))
    scale, process = pipeline.named_steps["scale"], pipeline.named_steps["process"]
    scale.mean_, scale.scale_, scale.var_ = mean, deviation, deviation**2
    scale.n_features_in_, scale.n_samples_seen_ = rows.shape[1], len(rows)
    theta = np.array(content.fitted["kernel"], dtype=np.float64)
    if theta.shape != process.kernel.theta.shape or not np.isfinite(theta).all() or np.abs(theta).max() > 50:
        raise CheckpointError(f"its kernel must have {len(process.kernel.theta)} logarithms (got {theta.tolist()})")
    # With the hyper-parameters given, a fit only solves for the weights of the networks learnt from.
    found = BoundedGaussianProcess(process.kernel.clone_with_theta(theta), optimizer=None, normalize_y=True)
    pipeline.steps[-1] = ("process", found.fit(rows, targets))
    return pipeline
