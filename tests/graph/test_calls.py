"""Shortcuts for names and results agree with torch, on random arguments."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ppuda_like.graph._calls import call_attributes, op_name, operands, tensors_in, written_tensor
from ppuda_like.graph._results import predict_result

sizes = st.integers(1, 6)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def assert_predicted(func: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Where a result is predicted, it is torch's; where torch refuses, none is predicted. Whether one was.

    Statistics of a single value are no reason to refuse: a trace asks for shapes, and its default batch is one image.
    """
    predicted = predict_result(op_name(func), args, kwargs)
    refusal = ""
    try:
        result = func(*args, **kwargs)
    except (RuntimeError, ValueError) as error:
        refusal = str(error)
    if refusal:
        assert predicted is None or "Expected more than 1 value per channel" in refusal
        return False
    if predicted is None:
        return False
    assert (predicted.shape, predicted.dtype, predicted.device) == (result.shape, result.dtype, result.device)
    assert predicted.is_contiguous()
    assert result.is_contiguous()
    return True


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(st.data())
def test_conv2d(data: st.DataObject) -> None:
    draw = data.draw
    groups = draw(st.sampled_from([1, 2, 3]))
    x = meta(draw(sizes), groups * draw(sizes) + draw(st.sampled_from([0, 0, 0, 1])), draw(sizes), draw(sizes))
    weight = meta(groups * draw(sizes), max(1, x.size(1) // groups), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    bias = draw(st.sampled_from([None, meta(weight.size(0)), meta(weight.size(0) + 1)]))
    pair = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = st.one_of(
        st.integers(0, 3), st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from(["same", "valid"])
    )
    assert_predicted(F.conv2d, x, weight, bias, draw(pair), draw(padding), draw(pair), groups)


def test_conv2d_is_predicted() -> None:
    assert assert_predicted(F.conv2d, meta(1, 4, 8, 8), meta(6, 2, 3, 3), stride=(2,), padding=[1, 0], groups=2)
    channels_last = meta(1, 4, 8, 8).to(memory_format=torch.channels_last)
    assert not assert_predicted(F.conv2d, channels_last, meta(6, 4, 3, 3))


@given(st.lists(st.tuples(sizes, sizes, sizes), min_size=1, max_size=3), st.integers(-4, 3))
def test_cat(shapes: list[tuple[int, int, int]], dim: int) -> None:
    tensors = [meta(*shape) for shape in shapes]
    if not -3 <= dim < 3:
        assert predict_result("cat", (tensors, dim), {}) is None
    else:
        assert_predicted(torch.cat, tensors, dim)
        assert_predicted(torch.cat, tensors, dim=dim)


@pytest.mark.parametrize("func", [F.relu, F.silu, F.gelu, torch.sigmoid, F.hardswish, F.dropout, torch.add, torch.mul])
@given(st.tuples(sizes, sizes, sizes), st.sampled_from([torch.float32, torch.bfloat16, torch.int64]), st.booleans())
def test_elementwise(func: Callable[..., Any], shape: tuple[int, ...], dtype: torch.dtype, transposed: bool) -> None:
    x = meta(*shape, dtype=dtype)
    x = x.transpose(0, 2) if transposed else x
    seconds: list[tuple[Any, ...]] = [()]
    if func in (torch.add, torch.mul):
        seconds = [(x,), (2,), (2.5,), (meta(1, dtype=dtype),), (meta(*x.shape),), (meta(*x.shape).transpose(0, 1),)]
    for second in seconds:
        assert_predicted(func, x, *second)


@given(st.tuples(sizes, sizes, sizes, sizes), st.integers(0, 1), st.booleans())
def test_norms(shape: tuple[int, ...], wrong: int, training: bool) -> None:
    x, n = meta(*shape), shape[1] + wrong
    assert_predicted(F.batch_norm, x, meta(n), meta(n), meta(n), meta(n), training)
    assert_predicted(F.layer_norm, x, (shape[3] + wrong,), meta(shape[3]), meta(shape[3]))
    assert_predicted(F.group_norm, x, shape[1], meta(n), meta(n))


def test_names() -> None:
    names = {
        Tensor.__iadd__: "add", Tensor.__radd__: "add", torch.relu_: "relu", F.conv2d: "conv2d", Tensor.__rsub__: "sub",
        Tensor.__truediv__: "div", torch.concat: "cat", Tensor.__setitem__: "setitem", Tensor.__matmul__: "matmul",
        F.max_pool2d: "max_pool2d", F.adaptive_max_pool2d: "adaptive_max_pool2d", Tensor.T.__get__: "T",
        Tensor.shape.__get__: "",
    }  # fmt: skip
    assert {op_name(func): name for func, name in names.items()} == {name: name for name in names.values()}


def test_attributes_and_operands() -> None:
    x, w = meta(1, 2, 4, 4), meta(2, 2, 3, 3)
    assert call_attributes("conv2d", (x, w, None, 2), {"groups": 1}) == {"stride": 2, "groups": 1}
    assert call_attributes("max_pool2d", (x, 3), {}) == {"kernel_size": [3, 3]}
    assert call_attributes("avg_pool3d", (x, (2,)), {}) == {"kernel_size": [2, 2, 2]}
    assert call_attributes("view", (x, 1, -1), {}) == call_attributes("view", (x, (1, -1)), {}) == {"dims": [1, -1]}
    assert [role for role, _ in operands("conv2d", (x, w), {"bias": w})] == ["input", "weight", "bias"]
    assert [role for role, _ in operands("cat", ([x, w], 1), {})] == ["tensors", "tensors"]
    assert tensors_in({"a": [x, (w, 1)], "b": None}) == [x, w]


def test_writes() -> None:
    x, y = meta(2), meta(2)
    both = [("", x), ("", y)]
    assert written_tensor(Tensor.add_, (x, y), {}, both) is x
    assert written_tensor(Tensor.__iadd__, (x, y), {}, both) is x
    assert written_tensor(Tensor.__setitem__, (x, 0, y), {}, both) is x
    assert written_tensor(F.relu, (x, True), {}, both[:1]) is x
    assert written_tensor(torch.add, (x, y), {"out": y}, both) is y
    for func in (torch.add, Tensor.__add__, F.relu):
        assert written_tensor(func, (x,), {}, both) is None
