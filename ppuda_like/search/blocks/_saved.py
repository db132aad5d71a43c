"""Trained blocks in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks._auxiliary import auxiliary
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._split import split
from ppuda_like.vision import load_weights, save_weights

__all__ = ["load_blocks", "save_blocks"]

_FORMAT = 1
_FACTS, _WEIGHTS = "blocks.json", "blocks.safetensors"


def save_blocks(
    folder: str | PathLike[str],
    model: BlockwiseModel,
    auxiliaries: Sequence[AuxiliaryNet],
    names: Sequence[str],
    num_classes: int,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write blocks and their auxiliary networks to ``blocks.safetensors``, and what they are to ``blocks.json``.

    Args:
        folder: where to.
        model: the blocks.
        auxiliaries: one for each boundary.
        names: theirs, in ``AUXILIARIES``.
        num_classes: number of classes that they tell apart.
        options: with which they were built.

    Raises:
        CheckpointError: if there is not one name for each auxiliary network, or a file cannot be written.
    """
    if not len(names) == len(auxiliaries) == model.num_blocks - 1:
        raise CheckpointError(
            f"{model.num_blocks} blocks have {model.num_blocks - 1} auxiliary networks, each with a name "
            f"(got {len(auxiliaries)} networks, {len(names)} names)"
        )
    graph = model.partition.graph
    facts = {
        "format": _FORMAT,
        "input_shapes": [graph.out_shapes[node] for node in graph.inputs],
        "training": model.training if model.only_mode is None else model.only_mode,
        "num_classes": num_classes,
        "auxiliaries": [*names],
        "options": dict(options or {}),
        "partition": json.loads(model.partition.to_json()),
    }
    folder = Path(folder)
    save_weights(_together(model, auxiliaries), folder / _WEIGHTS)
    with replacing(folder / _FACTS) as path:
        path.write_text(json.dumps(facts) + "\n")


def load_blocks(model: nn.Module, folder: str | PathLike[str]) -> tuple[BlockwiseModel, list[AuxiliaryNet]]:
    """Blocks and auxiliary networks that :func:`save_blocks` wrote, with their weights.

    Args:
        model: the network that was cut, built anew; its weights are replaced.
        folder: where they are.

    Returns:
        The blocks of ``model``, and the auxiliary network of each boundary, in evaluation mode.

    Raises:
        CheckpointError: if a file is missing or broken, or of another network.
        GraphError: if the network has another graph.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from ppuda_like.search.blocks import auxiliaries_for
        >>> def net():
        ...     return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> blocks = split(net(), Partition.at(trace(net(), (2, 4)), ["1"]))
        >>> with tempfile.TemporaryDirectory() as out:
        ...     save_blocks(out, blocks, auxiliaries_for(blocks, "linear", 2), ["linear"], 2)
        ...     model, auxiliaries = load_blocks(net(), out)
        >>> x = torch.ones(2, 4)
        >>> model(x).equal(blocks(x)), len(auxiliaries)
        (True, 1)
    """
    folder = Path(folder)
    facts = _facts(folder / _FACTS)
    model.train(facts["training"])
    # A trace does not depend on the batch, but for the shapes it records.
    graph = trace(model, facts["input_shapes"][0])
    blocks = split(model, Partition.from_json(json.dumps(facts["partition"]), graph))
    names = facts["auxiliaries"]
    if len(names) != blocks.num_blocks - 1:
        raise CheckpointError(
            f"'{folder / _FACTS}' names {len(names)} auxiliary networks of {blocks.num_blocks} blocks; train them anew"
        )
    auxiliaries = [
        auxiliary(name, shapes[-1], facts["num_classes"], **facts["options"])
        for name, shapes in zip(names, blocks.shapes, strict=True)
    ]
    load_weights(_together(blocks, auxiliaries), folder / _WEIGHTS)
    for one in (model, blocks, *auxiliaries):
        one.eval()
    return blocks, auxiliaries


def _together(model: BlockwiseModel, auxiliaries: Sequence[AuxiliaryNet]) -> nn.Module:
    return nn.ModuleDict({"blocks": model.blocks, "auxiliaries": nn.ModuleList(auxiliaries)})


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no '{path}'; give the folder of a finished training of blocks") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is no JSON file ({error}); train the blocks anew") from error
    kinds = {
        "input_shapes": list,
        "training": bool,
        "num_classes": int,
        "auxiliaries": list,
        "options": dict,
        "partition": dict,
    }
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise CheckpointError(f"'{path}' must hold a JSON object with \"format\": {_FORMAT}; train the blocks anew")
    wrong = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
    if wrong or len(found["input_shapes"]) != 1:
        raise CheckpointError(f"'{path}' lacks {', '.join(wrong) or 'its one input'}; train the blocks anew")
    return found
