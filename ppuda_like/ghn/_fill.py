"""Writing predicted parameters into a model: all of them or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class _Slot:
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
    slots = _slots(model)
    by_name = {name: slot for slot in slots for name in slot.names}
    for target in batch.targets[0]:
        _check_target(target, by_name, graph)
    predicted = {id(by_name[target.name].parameter) for target in batch.targets[0]}
    _check_values(model, slots, predicted)

    # From here on nothing is written before everything is known to be sound.
    tiles = [(target, tile) for group, found in ghn.tiles(batch) for target, tile in _finite(group, found)]
    device = ghn.embed.weight.device
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
    _reset_statistics(model, device)
    if bn_train:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train()
    return PredictionReport(
        model=graph.name or type(model).__name__,
        tensors=tuple(_describe(slots, batch.targets[0], full, graph)),
        milliseconds=1e3 * (time.perf_counter() - start),
    )
