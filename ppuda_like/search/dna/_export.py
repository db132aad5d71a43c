"""Found networks with weights cut from the supernet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ppuda_like.search.dna._network import BlockNetwork, build_network
from ppuda_like.search.dna._space import Architecture
from ppuda_like.search.dna._supernet import Supernet

__all__ = ["CutNetwork", "cut_network"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CutNetwork:
    """A network of a space, with weights of the supernet's operations.

    Attributes:
        network: in evaluation mode, on the CPU.
        whole: names of the tensors that are those of the supernet.
        cut: names of those that are leading parts of larger ones.
        drawn: names of those that the supernet does not have, drawn at random.
    """

    network: BlockNetwork
    whole: tuple[str, ...]
    cut: tuple[str, ...]
    drawn: tuple[str, ...]


def cut_network(
    supernet: Supernet, architecture: Architecture, *, drop_connect: float = 0.0, seed: int = 0
) -> CutNetwork:
    """The network of an architecture, its weights taken from the supernet: a start for its training.

    Where the supernet has the teacher's width and the network that of the cell, a tensor takes the leading entries of
    every dimension of the supernet's.  Tensors that the supernet lacks, those of a head mostly, are drawn as
    :func:`build_network` does.  Running statistics begin anew, since those of a supernet are of whatever path came
    last: the network is to be trained, or its batch norms recalibrated.

    Args:
        supernet: with weights.
        architecture: of its space.
        drop_connect: see :class:`BlockNetwork`.
        seed: of the weights that are drawn.

    Raises:
        CodeError: if the space has no such architecture.

    Example:
        >>> from ppuda_like.search.dna import cifar_space
        >>> space = cifar_space(depths=(2, 2, 2, 2))
        >>> found = cut_network(Supernet(space, (32, 48, 80, 160)), space.parse("00 11 22 33"))
        >>> len(found.whole), len(found.cut), len(found.drawn)
        (72, 45, 5)
    """
    space = supernet.space
    network = build_network(space.definition(architecture), drop_connect=drop_connect, seed=seed)
    sources = _sources(supernet, architecture, network)
    whole: list[str] = []
    cut: list[str] = []
    drawn: list[str] = []
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            source = sources.get(name)
            if source is None or any(a < b for a, b in zip(source.shape, parameter.shape, strict=True)):
                drawn.append(name)
                continue
            parameter.copy_(source[tuple(slice(size) for size in parameter.shape)])
            (whole if source.shape == parameter.shape else cut).append(name)
    return CutNetwork(network=network.eval(), whole=tuple(whole), cut=tuple(cut), drawn=tuple(drawn))


def _sources(supernet: Supernet, architecture: Architecture, network: BlockNetwork) -> dict[str, Tensor]:
    """The supernet's tensor for each parameter of the network, by the name of the latter."""
    first = list(supernet.cell(0, architecture.cells[0]).first)
    pairs: list[tuple[str, nn.Module]] = [("stem", first[0])]
    pairs += [(f"stages.0.{i}", module) for i, module in enumerate(first[1:])]
    begin = len(network.stages) - len(architecture.paths)  # a stage of layers that are not chosen, or none
    for stage, (number, path) in enumerate(zip(architecture.cells, architecture.paths, strict=True)):
        cell = supernet.cell(stage, number)
        pairs += [(f"stages.{begin + stage}.{i}", cell.layer(i, op)) for i, op in enumerate(path)]
    if supernet.head is not None:
        pairs.append(("head", supernet.head))
    return {
        f"{prefix}.{name}": parameter.cpu() for prefix, module in pairs for name, parameter in module.named_parameters()
    }
