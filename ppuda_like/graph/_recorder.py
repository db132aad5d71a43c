"""The recorder of torch calls behind :func:`ppuda_like.graph.trace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ppuda_like.graph._calls import call_attributes, op_name, operands, tensors_in, written_tensor
from ppuda_like.graph._edges import make_edge_index
from ppuda_like.graph._flops import call_flops
from ppuda_like.graph._graph import ComputationalGraph, Shape
from ppuda_like.graph._results import predict_result

__all__ = ["Recorder", "to_meta"]

_FACTORIES = frozenset(
    "arange empty empty_strided eye full linspace logspace ones rand randn randint randperm tensor as_tensor "
    "scalar_tensor tril_indices triu_indices zeros hann_window hamming_window".split()
)
# Questions about a tensor that yield no tensor; forward passes ask them often.
_QUESTIONS = frozenset({"size", "dim", "numel", "is_floating_point", "stride", "is_contiguous"})


def to_meta(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and dtype on the meta device."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


class Recorder(TorchFunctionMode):
    """Writes down each torch call that consumes a tensor made from an input or a parameter."""

    def __init__(self, paths: dict[int, str], *, meta: bool) -> None:
        super().__init__()
        self.paths = paths
        self.meta = meta
        self.stack: list[str] = []
        self.touched: set[str] = set()
        self.ops: list[str] = []
        self.names: list[str] = []
        self.param_names: list[tuple[str, ...]] = []
        self.param_shapes: list[tuple[Shape, ...]] = []
        self.out_shapes: list[Shape] = []
        self.attributes: list[dict[str, Any]] = []
        self.flops: list[int] = []
        self.edges: list[tuple[int, int]] = []
        self.inputs: list[int] = []
        self._maker: dict[int, int] = {}  # id of a tensor -> node that made it
        self._writer: dict[int, int] = {}  # storage -> node that last wrote into it in place
        self._alive: list[Any] = []  # ids are only unique among living tensors
        self._stand_ins: dict[int, Tensor] = {}  # id of a constant -> its stand-in on meta

    def add_input(self, name: str, tensor: Tensor) -> None:
        self.inputs.append(len(self.ops))
        self._maker[id(tensor)] = self._add("input", name, tensor.shape, {}, 0)
        self._alive.append(tensor)

    def _add(self, op: str, name: str, shape: Sequence[int], attributes: dict[str, Any], flops: int) -> int:
        self.ops.append(op)
        self.names.append(name)
        self.param_names.append(())
        self.param_shapes.append(())
        self.out_shapes.append(tuple(shape))
        self.attributes.append(attributes)
        self.flops.append(flops)
        return len(self.ops) - 1

    def _sources(self, tensor: Tensor) -> list[int]:
        found = [self._maker[id(tensor)]] if id(tensor) in self._maker else []
        if self._writer:
            writer = self._writer.get(tensor.untyped_storage()._cdata)
            if writer is not None and (not found or writer > found[0]):
                found.append(writer)
        return found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs) if kwargs else {}
        name = op_name(func)
        if not name or name in _QUESTIONS:
            return func(*args, **kwargs)
        consumed = operands(name, args, kwargs)
        if self.meta:
            if name in _FACTORIES:
                kwargs["device"] = "meta"
            if any(not tensor.is_meta for _, tensor in consumed):
                args, kwargs = tree_map_only(Tensor, self._stand_in, (args, kwargs))
                consumed = operands(name, args, kwargs)
        sources: list[int] = []
        parameters: dict[str, Shape] = {}
        roles: list[str] = []
        for role, tensor in consumed:
            path = self.paths.get(id(tensor))
            if path is None:
                sources += self._sources(tensor)
            else:
                parameters[path] = tuple(tensor.shape)
                roles.append(role)
        if not sources and not parameters:
            return func(*args, **kwargs)
        written = written_tensor(func, args, kwargs, consumed)

        def run() -> Any:
            quick = predict_result(name, args, kwargs) if self.meta and written is None else None
            return func(*args, **kwargs) if quick is None else quick

        result, flops = call_flops(name, consumed, run)
        made = tensors_in(result) if written is None else [written]
        if not made:
            return result
        if written is None and len(made) == 1 and any(made[0] is tensor for _, tensor in consumed):
            return result  # handed through: dropout in eval mode, .contiguous(), .to() the same dtype
        node = self._add(name, self._name(name), made[0].shape, call_attributes(name, args, kwargs), flops)
        self.edges += [(source, node) for source in sources]
        if parameters:
            self.touched.update(parameters)
            self.param_names[node] = tuple(parameters)
            self.param_shapes[node] = tuple(parameters.values())
            if len(roles) == len(parameters) and any(roles):
                self.attributes[node]["roles"] = roles
        for tensor in made:
            self._maker[id(tensor)] = node
            if written is not None:
                self._writer[tensor.untyped_storage()._cdata] = node
        self._alive.append(made)
        return result

    def _stand_in(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self._stand_ins:
            self._alive.append(tensor)
            self._stand_ins[id(tensor)] = to_meta(tensor)
        return self._stand_ins[id(tensor)]

    def _name(self, op: str) -> str:
        return (self.stack[-1] if self.stack else "") or op

    def outputs(self, result: Any) -> tuple[int, ...]:
        nodes: dict[int, None] = {}
        for tensor in tensors_in(result):
            nodes.update(dict.fromkeys(self._sources(tensor)[-1:]))
        return tuple(nodes)

    def graph(self, outputs: tuple[int, ...], **facts: Any) -> ComputationalGraph:
        return ComputationalGraph(
            ops=tuple(self.ops),
            names=tuple(self.names),
            param_names=tuple(self.param_names),
            param_shapes=tuple(self.param_shapes),
            out_shapes=tuple(self.out_shapes),
            attributes=tuple(self.attributes),
            flops=tuple(self.flops),
            edge_index=make_edge_index(self.edges),
            inputs=tuple(self.inputs),
            outputs=outputs,
            **facts,
        )
