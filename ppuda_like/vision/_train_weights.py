"""The weights of one network as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ppuda_like._runs import checkpoint_file
from ppuda_like.errors import CheckpointError

__all__ = ["load_weights", "save_weights"]


def save_weights(model: nn.Module, path: str | PathLike[str]) -> None:
    """Write the state dict of a network to a safetensors file, which appears complete or stays as it was.

    A tensor that has several names, as tied weights have, is written once; the header's ``tied`` says under which.

    Raises:
        CheckpointError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(nn.Linear(3, 2), Path(folder) / "net.safetensors")
        ...     load_weights(nn.Linear(3, 2), Path(folder) / "net.safetensors")
        ()
    """
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if first.setdefault(id(tensor), name) == name:
            # Tensors that share memory otherwise, such as views, are no longer shared in the file.
            tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
        else:
            tied[name] = first[id(tensor)]
    with checkpoint_file(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={"tied": json.dumps(tied)})


def load_weights(model: nn.Module, path: str | PathLike[str], *, new_classes: int | None = None) -> tuple[str, ...]:
    """Put the tensors of a safetensors file into a network, all of them or none.

    Args:
        model: the network; it keeps its dtypes and its place.
        path: a plain state dict, as :func:`save_weights` and ``ppuda-like predict --out`` write it.
        new_classes: number of classes of a network whose class layers may differ from those of the file: tensors that
            have that many rows in the network, and another number in the file, keep what they hold.

    Returns:
        Names of the tensors that were kept.

    Raises:
        CheckpointError: if the file is missing or broken, names or shapes differ, or it holds NaN or infinity.
    """
    path = Path(path)
    found = _read(path)
    wanted = model.state_dict()
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"the weights in '{path}' are not those of this network: missing {_some(missing)}, "
            f"unexpected {_some(unexpected)}; give the file of the same architecture"
        )
    kept = []
    for name, tensor in wanted.items():
        given = found[name]
        if given.shape != tensor.shape:
            rows = tensor.dim() > 0 and given.dim() == tensor.dim() and given.shape[1:] == tensor.shape[1:]
            if rows and len(tensor) == new_classes:
                kept.append(name)
                continue
            hint = "; a new class layer must be asked for" if rows and new_classes is None else ""
            raise CheckpointError(
                f"'{name}' in '{path}' must have shape {tuple(tensor.shape)} (got {tuple(given.shape)}){hint}"
            )
        if given.is_floating_point() != tensor.is_floating_point():
            raise CheckpointError(f"'{name}' in '{path}' must be of a kind with {tensor.dtype} (got {given.dtype})")
        if not bool(given.isfinite().all()):
            raise CheckpointError(f"'{name}' in '{path}' holds NaN or infinity; the training it comes from diverged")
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name not in kept:
                tensor.copy_(found[name])
    return tuple(kept)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there is no file of weights '{path}'; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is not a complete safetensors file ({error}); get the file again") from error
    try:
        tied = json.loads(header.get("tied", "{}"))
        return found | {name: found[first] for name, first in tied.items()}
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"the header of '{path}' does not say which tensors are tied ({error!r})") from error


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:4]) or "nothing"
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
