"""Reading and writing the weights of hypernetworks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ppuda_like._bundled import Bundled
from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError, PredictionError
from ppuda_like.ghn._config import GHNConfig

__all__ = ["list_pretrained", "read_ppuda", "read_pretrained", "write_pretrained"]

FORMAT = "1"
BUNDLED = Bundled(Path(__file__).parent / "checkpoints", "checkpoint")
Parts = tuple[GHNConfig, dict[str, Tensor]]


def list_pretrained() -> list[str]:
    """Names of the checkpoints that come with the package, for :meth:`GHN.from_pretrained`."""
    return BUNDLED.names()


def read_ppuda(path: str | PathLike[str], *, num_classes: int | None) -> Parts:
    """Configuration and weights of a PPUDA checkpoint; see :meth:`GHN.from_ppuda`."""
    path = _existing(Path(path))
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError) as error:
        raise CheckpointError(
            f"'{path}' is not a complete PPUDA checkpoint: torch could not read it "
            f"({str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__}); "
            "get the file again"
        ) from error
    if not isinstance(found, Mapping) or not {"state_dict", "config"} <= set(found):
        keys = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise CheckpointError(
            f"'{path}' is not a PPUDA checkpoint: wanted a dict with 'state_dict' and 'config' (got {keys}); "
            "files of this package are read by GHN.from_pretrained"
        )
    return _checked(path, found["config"], found["state_dict"], num_classes)


def read_pretrained(path_or_name: str | PathLike[str], *, num_classes: int | None, dtype: torch.dtype | None) -> Parts:
    """Configuration and weights of a file of this package; see :meth:`GHN.from_pretrained`."""
    path = _existing(BUNDLED.resolve(path_or_name))
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is not a complete safetensors file ({error}); get the file again") from error
    if header.get("format") != FORMAT or "config" not in header:
        raise CheckpointError(
            f"'{path}' was not written by GHN.save_pretrained: wanted a header with format {FORMAT} and a config "
            f"(got format {header.get('format')!r}, names {sorted(header)})"
        )
    try:
        config = json.loads(header["config"])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"the config in the header of '{path}' is not JSON ({error})") from error
    config, state = _checked(path, config, state, num_classes)
    return config, {key: value.to(dtype or _widened(value.dtype)) for key, value in state.items()}


def write_pretrained(
    path: str | PathLike[str], config: GHNConfig, state: Mapping[str, Tensor], *, dtype: torch.dtype | None
) -> None:
    """Write a file of this package; see :meth:`GHN.save_pretrained`."""
    tensors = {key: value.detach().to("cpu", dtype or value.dtype).contiguous() for key, value in state.items()}
    header = {"format": FORMAT, "config": json.dumps(config.to_dict(), sort_keys=True)}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata=header)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file '{path}'; check the path")
    return path


def _widened(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _checked(path: Path, config: Any, state: Any, num_classes: int | None) -> Parts:
    """The parts, once they are known to fit together."""
    from ppuda_like.ghn._hypernetwork import GHN

    if not isinstance(config, Mapping) or not isinstance(state, Mapping):
        raise CheckpointError(f"'{path}' is not a GHN checkpoint: its config and its weights must be dicts")
    try:
        found = GHNConfig.from_dict({str(key): value for key, value in config.items()})
    except PredictionError as error:
        raise CheckpointError(f"'{path}' holds a config that is not a GHN's: {error}") from error
    if num_classes is not None and found.num_classes != num_classes:
        raise CheckpointError(
            f"'{path}' predicts class layers of {found.num_classes} classes, {num_classes} were asked for; use a "
            "checkpoint for that many, or predict_class_layers=False and a last layer of your own"
        )
    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in GHN(found).state_dict().items()}
    tensors = {str(key): value for key, value in state.items()}
    wrong = sorted(set(wanted) ^ set(tensors))
    if wrong:
        raise CheckpointError(
            f"the weights in '{path}' are not those of its config: "
            f"missing {sorted(set(wanted) - set(tensors))}, unexpected {sorted(set(tensors) - set(wanted))}"
        )
    for key, value in tensors.items():
        if not isinstance(value, Tensor) or tuple(value.shape) != wanted[key] or not value.is_floating_point():
            got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"'{key}' in '{path}' must be floating point of shape {wanted[key]} (got {got})")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"'{key}' in '{path}' holds NaN or infinity; the file is damaged, or training diverged"
            )
    return found, tensors
