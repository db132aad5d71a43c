"""Record one forward pass of a model as a computational graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ppuda_like.errors import TraceError
from ppuda_like.graph._calls import (
    call_attributes,
    call_flops,
    op_name,
    operands,
    predict_result,
    tensors_in,
    written_tensor,
)
from ppuda_like.graph._graph import ComputationalGraph, Shape, make_edge_index
from ppuda_like.graph._inputs import bind_inputs, example_inputs
from ppuda_like.graph._isolate import borrowed

__all__ = ["trace"]

_FACTORIES = frozenset(
    "arange empty empty_strided eye full linspace logspace ones rand randn randint randperm tensor as_tensor "
    "scalar_tensor tril_indices triu_indices zeros hann_window hamming_window".split()
)


def trace(
    model: nn.Module,
    input_shape: Sequence[int] | None = None,
    inputs: Any = None,
    *,
    strict: bool = False,
) -> ComputationalGraph:
    """The computational graph of a model: every tensor operation of one forward pass.

    The forward pass runs on the meta device: no memory for weights or activations, no arithmetic, whatever device the
    model is on.  The model is left exactly as it was.  The graph is that of the model's current mode: a model in
    training mode shows its auxiliary heads.  Parameters are known by identity, so functional use, weight tying,
    parametrizations and parameter lists are all seen.

    Where forward needs values (a branch on data, ``.item()``), it is run once more on real tensors, and a warning says
    so; such a model must hold real weights.

    Args:
        model: any module.
        input_shape: shape of the only input, batch included; the default is what the model says about itself, and
            one image of 3 x 224 x 224 where it says nothing.
        inputs: example inputs instead of a shape: a tensor, a tuple of positional inputs, or a mapping of named ones.
        strict: refuse a model with parameters that forward never touches, instead of listing them as ``unreached``.

    Returns:
        The full trace (``vocabulary`` is None).

    Raises:
        TraceError: if forward fails, returns no tensor made by a recorded operation, or (``strict``) leaves parameters
            untouched.

    Example:
        >>> graph = trace(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4))
        >>> graph.ops, graph.num_params, graph.macs
        (('input', 'linear', 'relu', 'linear'), 58, 48)
    """
    if not isinstance(model, nn.Module):
        raise TraceError(f"'model' must be a torch.nn.Module (got {type(model).__name__}); build the network first")
    if isinstance(model, torch.jit.ScriptModule):
        raise TraceError(
            "a scripted module runs outside Python and leaves no record; trace the module it was made from"
        )
    if input_shape is not None and inputs is not None:
        raise TraceError("give 'input_shape' or 'inputs', not both")
    if inputs is None:
        inputs = example_inputs(model, input_shape)
    try:
        graph = _record(model, inputs, on_meta=True)
    except _ForwardError as meta_error:
        if any(tensor.is_meta for tensor in model.state_dict().values()):
            why = f"{meta_error}; the model is on the meta device, so it cannot be run on values"
            raise TraceError(why) from meta_error
        try:
            with torch.random.fork_rng(devices=[]):
                graph = _record(model, inputs, on_meta=False)
        except _ForwardError as error:
            raise TraceError(str(error)) from error
        warnings.warn(
            f"{type(model).__name__} was traced by running it on real tensors, since its forward needs values: "
            f"{meta_error}. The graph holds for this input only.",
            stacklevel=2,
        )
    if strict and graph.unreached:
        raise TraceError(
            f"forward uses the parameters {', '.join(graph.unreached)} of {graph.name} in no recorded operation; "
            "remove them, or trace in the mode that uses them"
        )
    return graph


class _ForwardError(TraceError):
    """Forward raised."""


def _on_meta(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _with_values(tensor: Tensor) -> Tensor:
    """The tensor itself, or values for an example that is on meta: ones, which every forward can take."""
    return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor


def _record(model: nn.Module, inputs: Any, *, on_meta: bool) -> ComputationalGraph:
    paths: dict[int, str] = {}
    aliases: dict[int, list[str]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(path)

    def swap(path: str, tensor: Tensor) -> Tensor:
        is_parameter = id(tensor) in aliases
        if on_meta:
            new = _on_meta(tensor)
            if is_parameter:
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        else:
            new = tensor if is_parameter else tensor.clone()
        if is_parameter:
            paths[id(new)] = aliases[id(tensor)][0]
        return new

    inputs = tree_map_only(Tensor, _on_meta if on_meta else _with_values, inputs)
    args, kwargs, named_inputs = bind_inputs(model, inputs)
    recorder = _Recorder(paths, on_meta=on_meta)
    for name, tensor in named_inputs:
        recorder.add_input(name, tensor)
    with borrowed(model, swap), _module_stack(model, recorder.stack):
        try:
            with recorder:
                result = model(*args, **kwargs)
        except Exception as error:  # whatever user code raises is reported with the place it came from
            where = f"in '{recorder.stack[-1]}'" if recorder.stack and recorder.stack[-1] else "in its forward"
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named_inputs)
            raise _ForwardError(
                f"{type(model).__name__} failed {where} on inputs [{shapes}]: {type(error).__name__}: {error}"
            ) from error
        outputs = recorder.outputs(result)
    if not outputs:
        raise TraceError(
            f"{type(model).__name__} returned no tensor that a recorded operation made from its inputs or parameters "
            f"(got {type(result).__name__}); forward must return tensors, in tuples, mappings or dataclasses"
        )
    return recorder.graph(
        outputs,
        name=type(model).__name__,
        unreached=tuple(path for path in paths.values() if path not in recorder.touched),
        tied=tuple((other, first) for first, *others in aliases.values() for other in others),
    )


@contextmanager
def _module_stack(model: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep in ``stack`` the paths of the modules whose forward is running, innermost last."""
    path_of = {id(module): path for path, module in model.named_modules()}

    def enter(module: nn.Module, args: Any) -> None:
        if id(module) in path_of:
            stack.append(path_of[id(module)])

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        if id(module) in path_of:
            stack.pop()

    handles = (
        nn.modules.module.register_module_forward_pre_hook(enter),
        nn.modules.module.register_module_forward_hook(leave),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Recorder(TorchFunctionMode):
    """Writes down each torch call that consumes a tensor made from an input or a parameter."""

    def __init__(self, paths: dict[int, str], *, on_meta: bool) -> None:
        super().__init__()
        self.paths = paths
        self.on_meta = on_meta
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
        if not name or name in ("size", "dim", "numel", "is_floating_point", "stride", "is_contiguous"):
            return func(*args, **kwargs)
        consumed = operands(name, args, kwargs)
        if self.on_meta:
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
            quick = predict_result(name, args, kwargs) if self.on_meta and written is None else None
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
            self._stand_ins[id(tensor)] = _on_meta(tensor)
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
