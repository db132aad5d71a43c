"""Record one forward pass of a model as a computational graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ppuda_like.errors import TraceError
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._inputs import bind_inputs, example_inputs
from ppuda_like.graph._isolate import borrowed
from ppuda_like.graph._recorder import Recorder, to_meta

__all__ = ["trace"]


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


def _with_values(tensor: Tensor) -> Tensor:
    """The tensor itself, or values for an example that is on meta: ones, which every forward can take."""
    return torch.ones(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor


def _record(model: nn.Module, inputs: Any, *, on_meta: bool) -> ComputationalGraph:
    paths: dict[int, str] = {}
    buffers: dict[int, str] = {}
    aliases: dict[int, list[str]] = {}
    modules: dict[str, nn.Module] = {}  # each under its first path
    known: set[int] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        if id(module) not in known:
            known.add(id(module))
            modules[prefix] = module
        for key, parameter in module._parameters.items():
            if parameter is not None:
                aliases.setdefault(id(parameter), []).append(f"{prefix}.{key}" if prefix else key)

    def swap(path: str, tensor: Tensor) -> Tensor:
        is_parameter = id(tensor) in aliases
        if on_meta:
            new = to_meta(tensor)
            if is_parameter:
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        else:
            new = tensor if is_parameter else tensor.clone()
        if is_parameter:
            paths[id(new)] = aliases[id(tensor)][0]
        else:
            buffers[id(new)] = path
        return new

    inputs = tree_map_only(Tensor, to_meta if on_meta else _with_values, inputs)
    args, kwargs, named_inputs = bind_inputs(model, inputs)
    recorder = Recorder(paths, buffers, meta=on_meta)
    for name, tensor in named_inputs:
        recorder.add_input(name, tensor)
    with borrowed(modules, swap), _module_stack(modules, recorder.stack):
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
    return recorder.nodes.build(
        outputs,
        name=type(model).__name__,
        unreached=tuple(path for path in paths.values() if path not in recorder.touched),
        tied=tuple((other, first) for first, *others in aliases.values() for other in others),
        effects=recorder.effects(),
    )


@contextmanager
def _module_stack(modules: Mapping[str, nn.Module], stack: list[str]) -> Iterator[None]:
    """Keep in ``stack`` the paths of the modules whose forward is running, innermost last."""
    path_of = {id(module): path for path, module in modules.items()}
    original = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        path = path_of.get(id(module))
        if path is None:
            return original(module, *args, **kwargs)
        depth = len(stack)
        stack.append(path)
        result = original(module, *args, **kwargs)
        del stack[depth:]  # not after an error: the path tells where it came from
        return result

    # As torch.fx does: hooks on all modules would send every call the slow way.
    nn.Module.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__call__ = original  # type: ignore[method-assign]
