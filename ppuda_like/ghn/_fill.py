"""Writing predicted parameters into a model: all of them or none."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import lowered
from ppuda_like.ghn._report import PredictionReport, TensorReport
from ppuda_like.ghn._targets import Target, class_layer_nodes
from ppuda_like.ghn._tiling import write_tiled
from ppuda_like.graph import ComputationalGraph, trace

if TYPE_CHECKING:
    from ppuda_like.ghn._hypernetwork import GHN

__all__ = ["fill_model"]


class _Slot(NamedTuple):
    """Where a parameter lives: every module attribute that holds it, and all of its names."""

    parameter: nn.Parameter
    names: list[str]
    owners: list[tuple[nn.Module, str]]


@torch.no_grad()
def fill_model(
    ghn: GHN,
    model: nn.Module,
    *,
    graph: ComputationalGraph | None,
    input_shape: Sequence[int] | None,
    inputs: Any,
    predict_class_layers: bool,
    bn_train: bool,
) -> PredictionReport:
    """See :meth:`GHN.fill`."""
    start = time.perf_counter()
    full = trace(model, input_shape=input_shape, inputs=inputs) if graph is None else graph
    graph = lowered(full)
    batch = ghn.prepare(graph, predict_class_layers=predict_class_layers)
    modules = list(_walk(model))
    slots = _slots(modules)
    by_name = {name: slot for slot in slots for name in slot.names}
    for target in batch.targets[0]:
        _check_target(target, by_name, graph)
    predicted = {id(by_name[target.name].parameter) for target in batch.targets[0]}
    _check_values(modules, slots, predicted)

    # From here on nothing is written before everything is known to be sound.
    tiles = [(target, tile) for group, found in ghn.tiles(batch) for target, tile in _finite(group, found)]
    device = ghn.op_embedding.weight.device
    made = {
        id(slot.parameter): torch.empty_like(slot.parameter, device=device)
        for slot in slots
        if slot.parameter.is_meta and id(slot.parameter) in predicted
    }
    for target, tile in tiles:
        parameter = by_name[target.name].parameter
        tensor = made.get(id(parameter), parameter)
        write_tiled(tensor, tile.to(tensor.device))
    _install(slots, made)
    _reset_statistics(modules, device)
    if bn_train:
        for _, module in modules:
            if isinstance(module, _BatchNorm):
                module.train()
    return PredictionReport(
        model=graph.name or type(model).__name__,
        tensors=tuple(_describe(slots, batch.targets[0], full, graph)),
        milliseconds=1e3 * (time.perf_counter() - start),
    )


def _walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every path to every module, as ``named_modules(remove_duplicate=False)`` in less time for deep models."""
    todo = [("", model)]
    while todo:
        path, module = todo.pop()
        yield path, module
        prefix = f"{path}." if path else ""
        todo += [(prefix + key, child) for key, child in reversed(module._modules.items()) if child is not None]


def _slots(modules: Sequence[tuple[str, nn.Module]]) -> list[_Slot]:
    """The parameters of a model, shared ones once, with all of their names and places."""
    found: dict[int, _Slot] = {}
    for path, module in modules:
        for key, parameter in module._parameters.items():
            if parameter is not None:
                slot = found.setdefault(id(parameter), _Slot(parameter, [], []))
                slot.names.append(f"{path}.{key}" if path else key)
                slot.owners.append((module, key))
    return list(found.values())


def _check_target(target: Target, by_name: Mapping[str, _Slot], graph: ComputationalGraph) -> None:
    if target.name not in by_name:
        raise PredictionError(
            f"the graph of {graph.name or 'the network'} holds a parameter '{target.name}' that the model does not "
            "have; pass the graph of this model, or none to have it traced"
        )
    parameter = by_name[target.name].parameter
    if parameter.shape != target.shape:
        raise PredictionError(
            f"parameter '{target.name}' has shape {tuple(parameter.shape)} in the model and {target.shape} in the "
            "graph; pass the graph of this model, or none to have it traced"
        )
    if parameter.is_inference() and not torch.is_inference_mode_enabled():
        raise PredictionError(
            f"parameter '{target.name}' was made in inference mode and can only be written there; fill the model "
            "inside torch.inference_mode(), or make it outside"
        )


def _check_values(modules: Sequence[tuple[str, nn.Module]], slots: Sequence[_Slot], predicted: set[int]) -> None:
    """Refuse a model on the meta device if something in it would be left without a value."""
    without = [slot.names[0] for slot in slots if slot.parameter.is_meta and id(slot.parameter) not in predicted]
    for path, module in modules:
        if module._buffers:
            own = ("running_mean", "running_var", "num_batches_tracked") if isinstance(module, _NormBase) else ()
            without += [
                f"{path}.{key}" if path else key
                for key, buffer in module._buffers.items()
                if buffer is not None and buffer.is_meta and key not in own
            ]
    if without:
        raise PredictionError(
            f"the model is on the meta device and these tensors are not predicted, so they would have no values: "
            f"{', '.join(without[:8])}{' ...' if len(without) > 8 else ''}; build the model on a real device"
        )


def _finite(group: Sequence[tuple[int, Target]], tiles: Tensor) -> Iterator[tuple[Target, Tensor]]:
    # The sum of a block is not finite if an entry is not, and takes no memory.
    if not math.isfinite(float(tiles.sum())) and not bool(torch.isfinite(tiles).all()):
        bad = next(target for (_, target), tile in zip(group, tiles, strict=True) if not torch.isfinite(tile).all())
        raise PredictionError(
            f"the prediction for '{bad.name}' is not finite, and the model was left as it was; check the GHN's weights "
            "for NaN or infinity, or predict in a wider dtype"
        )
    return zip((target for _, target in group), tiles, strict=True)


def _install(slots: Sequence[_Slot], made: Mapping[int, Tensor]) -> None:
    """Put new parameters in the place of those on the meta device."""
    for slot in slots:
        tensor = made.get(id(slot.parameter))
        if tensor is not None:
            parameter = nn.Parameter(tensor, requires_grad=slot.parameter.requires_grad)
            for module, key in slot.owners:
                module._parameters[key] = parameter


def _reset_statistics(modules: Sequence[tuple[str, nn.Module]], device: torch.device) -> None:
    """Give running statistics on the meta device the values they start with."""
    for _, module in modules:
        if isinstance(module, _NormBase) and module.running_mean is not None and module.running_mean.is_meta:
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[key] = torch.empty_like(buffer, device=device)
            module.reset_running_stats()


def _describe(
    slots: Sequence[_Slot], targets: Sequence[Target], full: ComputationalGraph, graph: ComputationalGraph
) -> Iterator[TensorReport]:
    by_name = {target.name: target for target in targets}
    last = {name for node in class_layer_nodes(graph) for name in graph.param_names[node]}
    used_by = {name: op for op, names in zip(full.ops, full.param_names, strict=True) for name in names}
    for slot in slots:
        name, shape = slot.names[0], tuple(slot.parameter.shape)
        target = next((by_name[alias] for alias in slot.names if alias in by_name), None)
        if target is not None:
            yield TensorReport(name, shape, target.status, target.rule)
            continue
        why = "not among the primitives"
        if last.intersection(slot.names):
            why = "class layer, left alone as asked"
        elif set(graph.unreached).intersection(slot.names):
            why = "the forward pass does not use it"
        elif full.vocabulary is None:
            op = next((used_by[alias] for alias in slot.names if alias in used_by), None)
            why = f"used by '{op}', which is not among the primitives" if op else why
        yield TensorReport(name, shape, "kept", why)
