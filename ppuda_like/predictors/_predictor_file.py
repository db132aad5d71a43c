"""The header that all files of fitted predictors share: safetensors with their description as JSON."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError

__all__ = ["PredictorFile", "checked_tensor", "read_predictor_file", "write_predictor_file"]

FORMAT = "1"


class PredictorFile(NamedTuple):
    """What a file holds.

    Attributes:
        kind: of the regressor.
        arguments: what it is made with, JSON values.
        fitted: what fitting gave it, JSON values.
        about: facts that go with it, JSON values.
        tensors: its tensors.
    """

    kind: str
    arguments: dict[str, Any]
    fitted: dict[str, Any]
    about: dict[str, Any]
    tensors: dict[str, Tensor]


def write_predictor_file(path: str | PathLike[str], content: PredictorFile) -> None:
    """Write a file; it appears complete or not at all."""
    header = {"format": FORMAT, "kind": content.kind}
    header |= {name: json.dumps(getattr(content, name), sort_keys=True) for name in ("arguments", "fitted", "about")}
    with replacing(path) as partial:
        save_file({name: value.contiguous() for name, value in content.tensors.items()}, partial, metadata=header)


def read_predictor_file(path: str | PathLike[str]) -> PredictorFile:
    """Read a file.

    Raises:
        CheckpointError: if it is missing, damaged or of something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file '{path}' of a predictor; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is not a complete safetensors file ({error}); get the file again") from error
    if header.get("format") != FORMAT or not {"kind", "arguments", "fitted", "about"} <= set(header):
        raise CheckpointError(
            f"'{path}' was not written by a predictor's save: wanted a header of format {FORMAT} "
            f"(got format {header.get('format')!r}, names {sorted(header)})"
        )
    try:
        found = {name: json.loads(header[name]) for name in ("arguments", "fitted", "about")}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the header of '{path}' is not JSON ({error})") from error
    if not all(isinstance(value, dict) for value in found.values()):
        raise CheckpointError(f"the header of '{path}' must hold JSON objects")
    return PredictorFile(kind=header["kind"], tensors=tensors, **found)


def checked_tensor(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of a file.

    Args:
        tensors: of the file.
        name: which.
        shape: that it must have, None for any size.
        dtype: that it must have.

    Raises:
        KeyError: if it is not there.
        CheckpointError: if it has another shape or type, or a value that is not finite.
    """
    found = tensors[name]
    fits = found.dim() == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, found.shape, strict=True)
    )
    if not fits or found.dtype != dtype:
        raise CheckpointError(f"'{name}' must be {dtype} of shape {shape} (got {found.dtype} {tuple(found.shape)})")
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"'{name}' holds NaN or infinity")
    return found
