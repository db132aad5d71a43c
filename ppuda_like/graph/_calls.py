"""What one recorded torch call is: its operation name, its attributes, its cost, and the shape of its result."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

__all__ = ["call_attributes", "call_flops", "op_name", "operands", "predict_result", "tensors_in", "written_tensor"]

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
_SIGNATURES: dict[str, tuple[str, ...]] = {
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
    signature = _SIGNATURES.get(name, ())
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
    for key, value in zip(_SIGNATURES.get(name, ()), args, strict=False):
        _keep_plain(found, key, value)
    for key, value in kwargs.items():
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


# ------------------------------------------------------------------------------------------------------- cost


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up torch's registered FLOP formulas over the operators that a call runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


_CONVOLUTIONS = frozenset(name for name in _SIGNATURES if name.startswith("conv"))
# Calls whose operators have FLOP formulas beyond the two computed directly below.
_COUNTED = frozenset(
    "matmul bmm mm mv dot addmm addbmm baddbmm einsum tensordot bilinear chain_matmul multi_dot "
    "scaled_dot_product_attention multi_head_attention_forward lstm gru rnn_tanh rnn_relu lstm_cell gru_cell "
    "rnn_tanh_cell rnn_relu_cell deform_conv2d convolution _convolution inner kron apply".split()
)


def call_flops(name: str, tensors: Sequence[tuple[str, Tensor]], run: Callable[[], Any]) -> tuple[Any, int]:
    """Run a call and count its floating-point operations by torch's formulas: (result, FLOPs).

    Args:
        name: operation name.
        tensors: its :func:`operands`.
        run: the call.
    """
    if name == "linear":
        result = run()
        return result, 2 * result.numel() * dict(tensors)["weight"].size(-1)
    if name in _CONVOLUTIONS:
        result = run()
        by_role = dict(tensors)
        if result.dim() == by_role["input"].dim() == by_role["weight"].dim():
            x, weight = by_role["input"], by_role["weight"]
            transposed = "transpose" in name
            return result, conv_flop_count(list(x.shape), list(weight.shape), list(result.shape), transposed=transposed)
    if name in _COUNTED or name in _CONVOLUTIONS:
        with _FlopCounter() as counter:
            result = run()
        return result, counter.total
    return run(), 0


# ------------------------------------------------------------------------------------------------- result shape

# On the meta device most operators run as Python decompositions that take hundreds of microseconds. These keep the
# shape, dtype and (for a contiguous input) the layout of their first argument, so their result can be made at once.
_SHAPE_KEEPING = frozenset(
    "relu relu6 hardtanh silu gelu sigmoid hardsigmoid hardswish tanh leaky_relu elu selu celu mish softplus "
    "batch_norm layer_norm group_norm dropout dropout1d dropout2d dropout3d alpha_dropout softmax log_softmax".split()
)
_BINARY = frozenset({"add", "sub", "mul"})


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
    return torch.empty(first.shape, dtype=first.dtype, device="meta")


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
    return torch.empty(shape, dtype=first.dtype, device="meta")


def _predict_conv2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    named = dict(zip(_CONV, args, strict=False)) | dict(kwargs)
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
    return torch.empty((x.size(0), weight.size(0), *sizes), dtype=x.dtype, device="meta")


def _affine_fits(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether weight and bias have the size that the input asks for; torch words the error where they do not."""
    first = args[0]
    operands = dict(zip(_SIGNATURES[name], args, strict=False)) | dict(kwargs)
    size = first.shape[1] if name != "layer_norm" else math.prod(operands["normalized_shape"])
    if name == "layer_norm" and tuple(first.shape[-len(operands["normalized_shape"]) :]) != tuple(
        operands["normalized_shape"]
    ):
        return False
    if name == "group_norm" and first.shape[1] % operands["num_groups"]:
        return False
    keys = ("weight", "bias", "running_mean", "running_var")
    return all(operands.get(key) is None or operands[key].numel() == size for key in keys)
