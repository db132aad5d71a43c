"""The relaxed network of any model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import GraphError, PpudaLikeError
from ppuda_like.graph import CutError, Partition, Shape, Unit, trace, units
from ppuda_like.search.blocks._auxiliary import LIGHT, auxiliary
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._relaxed import RelaxedNet
from ppuda_like.search.blocks._search_config import BlockSearchConfig
from ppuda_like.search.blocks._split import split

__all__ = ["relaxed_net"]


def relaxed_net(
    model: nn.Module, config: BlockSearchConfig, image_size: int, num_classes: int
) -> tuple[RelaxedNet, tuple[Unit, ...]]:
    """The relaxed network of a model, which is copied, and its units.

    Raises:
        CutError: if the model is one unit, or cannot be cut between all its units.
        GraphError: if it computes something else in training than in evaluation, but for the modules that torch knows.
        PpudaLikeError: if a candidate cannot be built for what crosses a boundary.
    """
    model = copy.deepcopy(model).train()
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    graph = trace(model, inputs=torch.zeros(2, 3, image_size, image_size, dtype=dtype))
    found = units(graph)
    if len(found) < 2:
        raise CutError("units", f"{type(model).__name__} is a single unit; there is no boundary to search for")
    blocks = split(model, Partition.at_units(graph, range(len(found) - 1), among=found))
    if blocks.only_mode is not None:
        raise GraphError(
            f"{type(model).__name__} computes something else in training than in evaluation; the search needs both: "
            "leave that to modules, such as nn.Dropout for functional.dropout, or to none"
        )
    if config.boundaries >= len(found):
        raise PpudaLikeError(
            f"'boundaries' must be at most {len(found) - 1}, one less than units of the network (got "
            f"{config.boundaries})"
        )
    candidates = [
        _candidates(unit, shapes[-1], config, num_classes, derived_seed(config.seed, "boundary", i))
        for i, (unit, shapes) in enumerate(zip(found, blocks.shapes, strict=False))
    ]
    return RelaxedNet(blocks, candidates, num_classes), found


def _candidates(
    unit: Unit, shape: Shape, config: BlockSearchConfig, num_classes: int, seed: int
) -> Sequence[AuxiliaryNet]:
    try:
        return [
            auxiliary(name, shape, num_classes, seed=seed, **({"features": config.features} if name in LIGHT else {}))
            for name in config.candidates
        ]
    except PpudaLikeError as error:
        raise PpudaLikeError(f"at the boundary behind unit '{unit.name}': {error}") from error
