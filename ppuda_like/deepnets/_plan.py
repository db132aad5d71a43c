"""The widths and sizes of a network, from its arguments alone."""

from __future__ import annotations

from dataclasses import dataclass

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._genotype import Genotype

__all__ = ["CellPlan", "NetworkPlan", "alive_cells", "plan_network"]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """What one cell is built from.

    Attributes:
        c_prev_prev: channels of the first input.
        c_prev: channels of the second input.
        channels: channels of each state.
        c_out: channels of the output.
        reduction: whether the cell is of the reducing kind.
        stride: of the operations that read the inputs.
        shrink_first: whether the first input has twice the resolution of the second.
    """

    c_prev_prev: int
    c_prev: int
    channels: int
    c_out: int
    reduction: bool
    stride: int
    shrink_first: bool


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What a network is built from.

    Attributes:
        c_stem: channels that the stem makes.
        cells: the cells in order.
        size: height and width of the last feature map.
        features: what the classifier reads.
        aux_cell: the cell whose output the auxiliary classifier reads.
    """

    c_stem: int
    cells: tuple[CellPlan, ...]
    size: int
    features: int
    aux_cell: int


def plan_network(config: NetworkConfig) -> NetworkPlan:
    """The widths and sizes of a network."""
    genotype, n_cells = config.genotype, config.n_cells
    attention = genotype.is_transformer
    two_stage = config.stem_type == 1 and not attention
    # A stem of one convolution is thrice as wide where nothing else reduces small images (DARTS, on CIFAR-10).
    wide = config.stem_type == 0 and not attention and config.preproc and not config.is_imagenet_input
    c_stem = 3 * config.C if wide else config.C
    size = _stem_size(config)
    reductions = {n_cells // 3, 2 * n_cells // 3} - {0}
    c_prev_prev = c_prev = c_stem
    channels, shrink_first = config.C, two_stage
    cells = []
    for index in range(n_cells):
        reduction = index in reductions
        halved = reduction and not attention
        if reduction:
            channels *= config.C_mult
        if halved:
            size = (size + 1) // 2
        c_out = channels * len(genotype.cell(reduction)[1])
        cells.append(
            CellPlan(
                c_prev_prev=c_prev_prev,
                c_prev=c_prev,
                channels=channels,
                c_out=c_out,
                reduction=reduction,
                stride=2 if halved else 1,
                shrink_first=shrink_first,
            )
        )
        shrink_first = halved
        c_prev_prev, c_prev = c_prev, c_out
    alive = alive_cells(genotype, [cell.reduction for cell in cells])
    aux_cell = max((index for index in range(2 * n_cells // 3 + 1) if alive[index]), default=0)
    features = c_prev if config.glob_avg else c_prev * size * size
    return NetworkPlan(c_stem=c_stem, cells=tuple(cells), size=size, features=features, aux_cell=aux_cell)


def alive_cells(genotype: Genotype, reductions: list[bool]) -> list[bool]:
    """Whether the input of the network reaches the output of each cell.

    Args:
        genotype: what the cells are made of.
        reductions: whether each cell is of the reducing kind.
    """
    first = second = True
    alive = []
    for reduction in reductions:
        edges, concat = genotype.cell(reduction)
        states = [first, second]
        for step in range(0, len(edges), 2):
            states.append(any(op != "none" and states[state] for op, state in edges[step : step + 2]))
        first, second = second, any(states[state] for state in concat)
        alive.append(second)
    return alive


def _stem_size(config: NetworkConfig) -> int:
    if config.genotype.is_transformer:
        return 14 if config.is_imagenet_input else 11
    size = 56 if config.is_imagenet_input else 32
    return size // 2 if config.stem_type == 1 or config.stem_pool else size
