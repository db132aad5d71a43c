"""The results of common calls on the meta device, made without asking torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ppuda_like.graph._calls import named_arguments

__all__ = ["meta_empty", "predict_result", "written_in_place"]

_META = torch.device("meta")

# On the meta device most operators run as Python decompositions that take hundreds of microseconds. These keep the
# shape, dtype and (for a contiguous input) the layout of their first argument, so their result can be made at once.
_SHAPE_KEEPING = frozenset(
    "relu relu6 hardtanh silu gelu sigmoid hardsigmoid hardswish tanh leaky_relu elu selu celu mish softplus "
    "batch_norm layer_norm group_norm dropout dropout1d dropout2d dropout3d alpha_dropout softmax log_softmax".split()
)
_BINARY = frozenset({"add", "sub", "mul"})


def meta_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A contiguous tensor on the meta device, in a third of the time of ``torch.empty``."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size or 1
    return torch.empty_strided(shape, strides[::-1], dtype=dtype, device=_META)


def predict_result(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The meta tensor that a common call on meta tensors would make, or None where torch has to be asked."""
    if name == "cat":
        return _predict_cat(args, kwargs)
    if name == "conv2d":
        return _predict_conv2d(args, kwargs)
    if not args or not isinstance(args[0], Tensor):
        return None
    first = args[0]
    if name in _BINARY and len(args) == 2 and not kwargs:
        second = args[1]
        if isinstance(second, Tensor):
            if second.shape != first.shape or second.dtype != first.dtype or not second.is_contiguous():
                return None
        elif type(second) is not int and not (type(second) is float and first.is_floating_point()):
            return None
    elif name not in _SHAPE_KEEPING or "dtype" in kwargs or not first.is_floating_point():
        return None
    if not first.is_contiguous() or (name == "batch_norm" and first.dim() < 2):
        return None
    if name in ("batch_norm", "layer_norm", "group_norm") and not _affine_fits(name, args, kwargs):
        return None
    return meta_empty(first.shape, first.dtype)


def written_in_place(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call known to write into its first argument changes nothing but values, so that it need not run."""
    first = args[0] if args else None
    if not isinstance(first, Tensor) or "out" in kwargs or not first.is_contiguous():
        return False
    if name in _BINARY:
        number = type(args[1]) if len(args) == 2 and not kwargs else None
        return number is int or (number is float and first.is_floating_point())
    return name in _SHAPE_KEEPING and first.is_floating_point()


def _predict_cat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    tensors = args[0] if args else ()
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if not tensors or len(args) > 2 or not kwargs.keys() <= {"dim"}:
        return None
    first = tensors[0]
    if not -first.dim() <= dim < first.dim():
        return None
    shape = list(first.shape)
    dim %= first.dim()
    shape[dim] = 0
    for tensor in tensors:
        size = list(tensor.shape)
        if len(size) != len(shape) or tensor.dtype != first.dtype or not tensor.is_contiguous():
            return None
        shape[dim] += size[dim]
        size[dim] = shape[dim]
        if size != shape:
            return None
    return meta_empty(shape, first.dtype)


def _predict_conv2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    named = named_arguments("conv2d", args, kwargs)
    x, weight = named["input"], named["weight"]
    padding = named.get("padding", 0)
    if x.dim() != 4 or weight.dim() != 4 or x.dtype != weight.dtype or isinstance(padding, str):
        return None
    bias = named.get("bias")
    fits = x.size(1) == weight.size(1) * named.get("groups", 1) and (bias is None or bias.numel() == weight.size(0))
    if not fits or not x.is_contiguous() or not weight.is_contiguous():
        return None
    sizes = []
    for axis in (0, 1):
        stride, pad, dilation = (
            value if type(value) is int else value[axis % len(value)]
            for value in (named.get("stride", 1), padding, named.get("dilation", 1))
        )
        sizes.append((x.size(2 + axis) + 2 * pad - dilation * (weight.size(2 + axis) - 1) - 1) // stride + 1)
    if min(sizes) < 1:
        return None
    return meta_empty((x.size(0), weight.size(0), *sizes), x.dtype)


def _affine_fits(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether weight and bias have the size that the input asks for; torch words the error where they do not."""
    first = args[0]
    operands = named_arguments(name, args, kwargs)
    size = first.shape[1] if name != "layer_norm" else math.prod(operands["normalized_shape"])
    if name == "layer_norm" and tuple(first.shape[-len(operands["normalized_shape"]) :]) != tuple(
        operands["normalized_shape"]
    ):
        return False
    if name == "group_norm" and first.shape[1] % operands["num_groups"]:
        return False
    keys = ("weight", "bias", "running_mean", "running_var")
    return all(operands.get(key) is None or operands[key].numel() == size for key in keys)
