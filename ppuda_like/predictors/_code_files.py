"""Files of fitted regressors on codes: safetensors with their arguments as JSON in the header."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ppuda_like.errors import CheckpointError
from ppuda_like.predictors._code_arrays import Scale
from ppuda_like.predictors._code_ensemble import CodeEnsemble
from ppuda_like.predictors._code_mlp import CodeMlp
from ppuda_like.predictors._code_predictor import CodePredictor
from ppuda_like.predictors._code_process import Process
from ppuda_like.predictors._normal_scores import NormalScores
from ppuda_like.predictors._predictor_file import PredictorFile, checked_tensor, write_predictor_file

__all__ = ["CODE_KINDS", "code_regressor_from_file", "write_code_regressor"]

_ENSEMBLE, _MLP = "code-ensemble", "code-perceptron"
CODE_KINDS = (_ENSEMBLE, _MLP)
"""Kinds of files that :func:`code_regressor_from_file` reads."""

_SCALES = ("row", "target")


def write_code_regressor(
    path: str | PathLike[str], regressor: CodeEnsemble | CodePredictor, about: Mapping[str, Any]
) -> None:
    """Write a fitted regressor; the file appears complete or not at all.

    Raises:
        CheckpointError: if its ``random_state`` is an object that no file can hold.
        NotFittedError: before it was fitted.
    """
    arguments = regressor.get_params(deep=False)
    if not isinstance(arguments["random_state"], int | None):
        raise CheckpointError(
            f"a regressor can be saved whose 'random_state' is a number or None (got {arguments['random_state']!r})"
        )
    if isinstance(regressor, CodeEnsemble):
        check_is_fitted(regressor, "processes_")
        kind, tensors = _ENSEMBLE, dict[str, Tensor]()
        for number, process in enumerate(regressor.processes_):
            tensors |= {f"process.{number}.{name}": value for name, value in process._asdict().items()}
        if regressor._scores is not None:
            tensors |= {f"scores.{name}": value for name, value in regressor._scores._asdict().items()}
        fitted: dict[str, Any] = {"members": len(regressor.processes_)}
    else:
        check_is_fitted(regressor, "network_")
        kind = _MLP
        tensors = {f"network.{name}": value for name, value in regressor.network_.state_dict().items()}
        fitted = {}
    for name in _SCALES:
        columns = np.stack(getattr(regressor, f"_{name}_scale")).astype(np.float64)
        tensors[f"{name}_scale"] = torch.from_numpy(columns)
    fitted["one_target"] = regressor._one_target
    write_predictor_file(
        path, PredictorFile(kind=kind, arguments=arguments, fitted=fitted, about=dict(about), tensors=tensors)
    )


def code_regressor_from_file(content: PredictorFile) -> CodeEnsemble | CodePredictor:
    """The regressor of a file, fitted.

    Raises:
        CheckpointError: if the parts of the file do not fit together.
        KeyError, TypeError, ValueError: likewise.
    """
    made: CodeEnsemble | CodePredictor
    kind = CodeEnsemble if content.kind == _ENSEMBLE else CodePredictor
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    if set(content.arguments) != known:
        raise CheckpointError(f"its arguments differ from the known ones in {sorted(set(content.arguments) ^ known)}")
    made = kind(**content.arguments)
    scales = [_scale(content.tensors, name) for name in _SCALES]
    made._row_scale, made._target_scale = scales
    made.n_features_in_ = len(scales[0].mean)
    made._one_target = bool(content.fitted["one_target"])
    if made._one_target and len(scales[1].mean) != 1:
        raise CheckpointError(f"it says to have one target, and has {len(scales[1].mean)}")
    if isinstance(made, CodeEnsemble):
        made.processes_ = _processes(content, len(scales[0].mean), len(scales[1].mean))
        made._scores = _normal_scores(content.tensors, len(scales[1].mean)) if made.ranks else None
    else:
        made.network_ = _network(made, content.tensors, len(scales[0].mean), len(scales[1].mean))
    return made


def _scale(tensors: dict[str, Tensor], name: str) -> Scale:
    mean, std, varies = checked_tensor(tensors, f"{name}_scale", (3, None), torch.float64).numpy()
    if not len(std) or not (std > 0).all():
        raise CheckpointError(f"'{name}_scale' must divide by positive numbers (got {std.min(initial=0)})")
    return Scale(mean, std, varies > 0)


def _normal_scores(tensors: dict[str, Tensor], targets: int) -> NormalScores:
    shape = (targets, None)
    values, scores = (checked_tensor(tensors, f"scores.{name}", shape, torch.float64) for name in ("values", "scores"))
    if values.shape != scores.shape or values.shape[1] < 2:
        raise CheckpointError(f"its scores must be two of each value (got {values.shape} and {scores.shape})")
    if not bool((values.diff() >= 0).all() and (scores.diff() >= 0).all()):
        raise CheckpointError("its scores and their values must ascend")
    return NormalScores(values, scores)


def _processes(content: PredictorFile, columns: int, targets: int) -> tuple[Process, ...]:
    members = content.fitted["members"]
    if not isinstance(members, int) or not 1 <= members <= len(content.tensors):
        raise CheckpointError(f"'members' must be the number of its processes (got {members!r})")
    found = []
    for number in range(members):
        rows, known = (len(content.tensors[f"process.{number}.{name}"]) for name in ("rows", "basis"))
        shapes: dict[str, tuple[int, ...]] = {
            "rates": (columns,),
            "rows": (rows, columns),
            "weights": (rows, targets),
            "basis": (known, known),
            "amplitude": (targets,),
            "noise": (),
        }
        process = Process(
            **{
                name: checked_tensor(content.tensors, f"process.{number}.{name}", shape, torch.float64)
                for name, shape in shapes.items()
            }
        )
        if known > rows or not bool((process.amplitude > 0).all()) or not float(process.noise) > 0:
            raise CheckpointError(f"process {number} must have positive variances, of rows that it has")
        found.append(process)
        if found[0].rows.shape != process.rows.shape or found[0].basis.shape != process.basis.shape:
            raise CheckpointError(f"process {number} must have as many rows as the first, and as many that explain")
    return tuple(found)


def _network(regressor: CodePredictor, tensors: dict[str, Tensor], columns: int, targets: int) -> CodeMlp:
    groups, dropouts = regressor._heads(targets)
    network = CodeMlp(columns, groups, dropouts, torch.Generator())
    state = network.state_dict()
    wrong = sorted({f"network.{name}" for name in state} ^ {name for name in tensors if name.startswith("network.")})
    if wrong:
        raise CheckpointError(f"its tensors differ from those of its arguments in {wrong[:5]}")
    network.load_state_dict(
        {
            name: checked_tensor(tensors, f"network.{name}", tuple(value.shape), value.dtype)
            for name, value in state.items()
        }
    )
    return network.eval().requires_grad_(False)
