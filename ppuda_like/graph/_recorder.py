"""The recorder of torch calls behind :func:`ppuda_like.graph.trace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ppuda_like.graph._builder import GraphBuilder
from ppuda_like.graph._calls import call_attributes, op_name, operands, tensors_in, written_tensor
from ppuda_like.graph._effects import Effects, MemoryMap, dtype_name
from ppuda_like.graph._flops import call_flops
from ppuda_like.graph._graph import Shape
from ppuda_like.graph._results import meta_empty, predict_result, written_in_place

__all__ = ["Recorder", "to_meta"]

_FACTORIES = frozenset(
    "arange empty empty_strided eye full linspace logspace ones rand randn randint randperm tensor as_tensor "
    "scalar_tensor tril_indices triu_indices zeros hann_window hamming_window".split()
)
# Questions about a tensor that yield no tensor; forward passes ask them often.
_QUESTIONS = frozenset({"size", "dim", "numel", "is_floating_point", "stride", "is_contiguous"})
# Questions about values: what forward does next may depend on the answer.
_READS = frozenset("item tolist bool int float index complex numpy equal allclose is_nonzero contains".split())
# These hand their first argument through where they have nothing to do.
_DROPOUTS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split())


def to_meta(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and dtype on the meta device."""
    return meta_empty(tensor.shape, tensor.dtype)


class Recorder(TorchFunctionMode):
    """Writes down each torch call that consumes a tensor made from an input or a parameter."""

    def __init__(self, paths: dict[int, str], buffers: dict[int, str], *, meta: bool) -> None:
        super().__init__()
        self.paths = paths
        self.buffers = buffers
        self.meta = meta
        self.stack: list[str] = []
        self.touched: set[str] = set()
        self.nodes = GraphBuilder()
        self._maker: dict[int, int] = {}  # id of a tensor -> node that made it
        self._writer: dict[int, int] = {}  # storage -> node that last wrote into it in place
        self._alive: list[Any] = []  # ids are only unique among living tensors
        self._stand_ins: dict[int, Tensor] = {}  # id of a constant -> its stand-in on meta
        self._memory = MemoryMap()
        self._effects: list[Effects] = []  # of each node
        self._read: set[int] = set()  # nodes whose values forward reads

    def add_input(self, name: str, tensor: Tensor) -> None:
        """Make an example input a node."""
        self._maker[id(tensor)] = self.nodes.add("input", name, tensor.shape)
        self._note([tensor], ())
        self._alive.append(tensor)

    def effects(self) -> tuple[Effects, ...]:
        """The effects of each node."""
        for node in self._read:
            self._effects[node] = self._effects[node]._replace(read=True)
        return tuple(self._effects)

    def _note(self, made: Sequence[Tensor], consumed: Sequence[tuple[str, Tensor]], *, writes: bool = False) -> None:
        """Write down the effects of the node just added."""
        others = [tensor for _, tensor in consumed if id(tensor) not in self._maker]
        places = [self._memory.place(tensor, others) for tensor in made]
        self._effects.append(
            Effects(
                tuple([dtype_name(tensor.dtype) for tensor in made]),
                tuple([number for number, _ in places]),
                sum([size for _, size in places]),
                writes,
                tuple([self.buffers[id(tensor)] for tensor in others if id(tensor) in self.buffers]),
            )
        )

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
        written = written_tensor(func, args, kwargs, consumed)

        def run() -> Any:
            quick = None
            if self.meta:
                if written is None:
                    quick = predict_result(name, args, kwargs)
                elif written_in_place(name, args, kwargs):
                    quick = written
            return func(*args, **kwargs) if quick is None else quick

        if not sources and not parameters:
            return run() if written is not None else func(*args, **kwargs)
        result, flops = call_flops(name, consumed, run)
        made = tensors_in(result) if written is None else [written]
        if not made:
            if name in _READS:
                self._read.update(sources)
            return result
        if written is None and len(made) == 1 and any(made[0] is tensor for _, tensor in consumed):
            return result  # handed through: dropout in eval mode, .contiguous(), .to() the same dtype
        attributes = call_attributes(name, args, kwargs)
        if len(roles) == len(parameters) and any(roles):
            attributes["roles"] = roles
        self.touched.update(parameters)
        idle = name in _DROPOUTS and not (attributes.get("training", True) and attributes.get("p", 0.5))
        if idle and written is None:
            self._memory.same(made[0], consumed[0][1])  # which a shortcut on meta does not show
        self._note(made, consumed, writes=written is not None and not idle)
        node = self.nodes.add(
            name,
            self._name(name),
            made[0].shape,
            sources=sources,
            parameters=parameters.items(),
            attributes=attributes,
            flops=flops,
        )
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
        """The nodes that made the tensors in what forward returned."""
        nodes: dict[int, None] = {}
        for tensor in tensors_in(result):
            nodes.update(dict.fromkeys(self._sources(tensor)[-1:]))
        return tuple(nodes)
