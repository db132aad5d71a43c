"""What one recorded torch call is: its operation name, its tensors, its plain arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SIGNATURES", "call_attributes", "named_arguments", "op_name", "operands", "tensors_in", "written_tensor"]

_ARITHMETIC = "add sub mul div truediv floordiv mod pow matmul and or xor lshift rshift".split()
_SPELLINGS = {f"{prefix}{name}": name for prefix in "ri" for name in _ARITHMETIC} | {
    "concat": "cat",
    "concatenate": "cat",
    "multiply": "mul",
    "rsub": "sub",
    "divide": "div",
    "true_divide": "div",
    "truediv": "div",
    "itruediv": "div",
    "rtruediv": "div",
    "subtract": "sub",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "adaptive_max_pool2d_with_indices": "adaptive_max_pool2d",
    "max_pool2d_with_indices": "max_pool2d",
    "boolean_dispatch": "max_pool2d",
}
_TENSOR_PROPERTIES = frozenset({"T", "mT", "H", "mH", "data", "real", "imag"})

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG_POOL = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_ADAPTIVE_POOL = ("input", "output_size")
SIGNATURES: dict[str, tuple[str, ...]] = {
    **{f"conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": _CONV_TRANSPOSE for d in (1, 2, 3)},
    **{f"max_pool{d}d": _MAX_POOL for d in (1, 2, 3)},
    **{f"avg_pool{d}d": _AVG_POOL for d in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{d}d": _ADAPTIVE_POOL for d in (1, 2, 3) for kind in ("avg", "max")},
    **dict.fromkeys(("mean", "sum", "amax", "amin"), ("input", "dim", "keepdim")),
    **dict.fromkeys(("softmax", "log_softmax"), ("input", "dim")),
    **dict.fromkeys(("cat", "stack"), ("tensors", "dim")),
    "linear": ("input", "weight", "bias"),
    "bilinear": ("input1", "input2", "weight", "bias"),
    "embedding": ("input", "weight"),
    "prelu": ("input", "weight"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "flatten": ("input", "start_dim", "end_dim"),
    "transpose": ("input", "dim0", "dim1"),
    "einsum": ("equation",),
    "dropout": ("input", "p", "training"),
    "multi_head_attention_forward": (
        "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k",
        "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
    ),
}  # fmt: skip
_POSITIONAL_LIST = frozenset({"permute", "view", "reshape", "expand", "repeat", "tile"})


@cache
def _function_name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", type(func).__name__)
    if "boolean_dispatch" in getattr(func, "__qualname__", ""):
        name = inspect.getclosurevars(func).nonlocals["if_false"].__name__.lstrip("_")
    bare = name.split(".")[0].strip("_")
    return _SPELLINGS.get(bare, bare)


def op_name(func: Callable[..., Any]) -> str:
    """Canonical name of a torch function or tensor method; ``""`` for a property that yields no tensor.

    >>> op_name(torch.Tensor.__iadd__), op_name(torch.relu_), op_name(torch.nn.functional.conv2d)
    ('add', 'relu', 'conv2d')
    """
    if type(func) is MethodWrapperType:
        owner = getattr(func.__self__, "__name__", "")
        if func.__name__ == "__get__":
            return owner if owner in _TENSOR_PROPERTIES else ""
        return owner
    return _function_name(func)


@cache
def _inplace_position(func: Callable[..., Any]) -> int | None:
    if not inspect.isfunction(func):
        return None
    names = list(inspect.signature(func).parameters)
    return names.index("inplace") if "inplace" in names else None


@cache
def _mutates_by_name(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name == "__setitem__" or (name[2] == "i" and name[3:].strip("_") in _ARITHMETIC)
    return name.endswith("_") and not name.endswith("__")


def written_tensor(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[tuple[str, Tensor]]
) -> Tensor | None:
    """The tensor that the call writes into, if any: ``out``, or the first of its :func:`operands` if it is in place."""
    out = kwargs.get("out")
    if isinstance(out, Tensor):
        return out
    position = _inplace_position(func)
    flag = kwargs.get("inplace") or (position is not None and len(args) > position and bool(args[position]))
    return tensors[0][1] if tensors and (flag or _mutates_by_name(func)) else None


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists, mappings and dataclasses, in order."""
    found: list[Tensor] = []
    _collect(value, found)
    return found


_LEAVES = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size, slice})


def _collect(value: Any, found: list[Tensor]) -> None:
    kind = type(value)
    if kind in _LEAVES:
        return
    if issubclass(kind, Tensor):
        found.append(value)
    elif issubclass(kind, list | tuple):
        for item in value:
            _collect(item, found)
    elif issubclass(kind, Mapping):
        for item in value.values():
            _collect(item, found)
    elif hasattr(kind, "__dataclass_fields__"):
        for name in kind.__dataclass_fields__:
            _collect(getattr(value, name), found)


def operands(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """Each tensor of a call with the name of the argument it stands in (``""`` where that is not known)."""
    signature = SIGNATURES.get(name, ())
    found: list[tuple[str, Tensor]] = []
    for position, value in enumerate(args):
        kind = type(value)
        if kind in _LEAVES:
            continue
        role = signature[position] if position < len(signature) else ""
        if kind is Tensor or kind is nn.Parameter:
            found.append((role, value))
        else:
            found += [(role, tensor) for tensor in tensors_in(value)]
    for key, value in kwargs.items():
        if type(value) not in _LEAVES:
            found += [(key, tensor) for tensor in tensors_in(value)]
    return found


def call_attributes(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The plain arguments of a call (numbers, strings, lists of them) by name, for the operations we know."""
    if name in _POSITIONAL_LIST:
        sizes = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        return {"dims": list(sizes)} if all(type(size) is int for size in sizes) else {}
    found: dict[str, Any] = {}
    for key, value in named_arguments(name, args, kwargs).items():
        _keep_plain(found, key, value)
    if "kernel_size" in found:
        found["kernel_size"] = _expand(found["kernel_size"], int(name[-2]))
    return found


def _keep_plain(found: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, bool | int | float | str):
        found[key] = value
    elif isinstance(value, list | tuple) and all(isinstance(item, int | float) or item is None for item in value):
        found[key] = list(value)


def _expand(size: int | list[int], dims: int) -> list[int]:
    if isinstance(size, int):
        return [size] * dims
    return list(size) * dims if len(size) == 1 else list(size)


def named_arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, as far as the operation's signature is known."""
    return dict(zip(SIGNATURES.get(name, ()), args, strict=False)) | dict(kwargs)
