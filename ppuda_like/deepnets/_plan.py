"""The widths and sizes of a network, from its arguments alone."""

from __future__ import annotations

from dataclasses import dataclass

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._genotype import Genotype

__all__ = ["CellPlan", "NetworkPlan", "plan_network"]


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
        live: for each edge, whether it is part of a path from the network's input to its output.
    """

    c_prev_prev: int
    c_prev: int
    channels: int
    c_out: int
    reduction: bool
    stride: int
    shrink_first: bool
    live: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What a network is built from.

    Attributes:
        c_stem: channels that the stem makes.
        cells: the cells in order.
        size: height and width of the last feature map.
        features: what the classifier reads.
        aux_cell: the cell whose output the auxiliary classifier reads.
        connected: whether a path leads from the input to the output.
        stem_read: whether the second output of a two-stage stem is part of such a path.
    """

    c_stem: int
    cells: tuple[CellPlan, ...]
    size: int
    features: int
    aux_cell: int
    connected: bool
    stem_read: bool


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
    kinds = [index in reductions for index in range(n_cells)]
    alive = _alive_states(genotype, kinds)
    reached = [
        any(states[state] for state in genotype.cell(kind)[1]) for states, kind in zip(alive, kinds, strict=True)
    ]
    aux_cell = max((index for index in range(2 * n_cells // 3 + 1) if reached[index]), default=0)
    live, stem_read = _live_edges(genotype, kinds, alive, {n_cells - 1, *([aux_cell] if config.auxiliary else [])})
    c_prev_prev = c_prev = c_stem
    channels, shrink_first = config.C, two_stage
    cells = []
    for reduction, edges in zip(kinds, live, strict=True):
        halved = reduction and not attention
        if reduction:
            channels *= config.C_mult
        if halved:
            size = (size + 1) // 2
        cell = CellPlan(
            c_prev_prev=c_prev_prev,
            c_prev=c_prev,
            channels=channels,
            c_out=channels * len(genotype.cell(reduction)[1]),
            reduction=reduction,
            stride=2 if halved else 1,
            shrink_first=shrink_first,
            live=edges,
        )
        cells.append(cell)
        shrink_first = halved
        c_prev_prev, c_prev = c_prev, cell.c_out
    return NetworkPlan(
        c_stem=c_stem,
        cells=tuple(cells),
        size=size,
        features=c_prev if config.glob_avg else c_prev * size * size,
        aux_cell=aux_cell,
        connected=reached[-1],
        stem_read=stem_read,
    )


def _alive_states(genotype: Genotype, reductions: list[bool]) -> list[list[bool]]:
    """For each state of each cell, whether the input of the network reaches it."""
    first = second = True
    alive = []
    for reduction in reductions:
        edges, concat = genotype.cell(reduction)
        states = [first, second]
        for step in range(0, len(edges), 2):
            states.append(any(op != "none" and states[state] for op, state in edges[step : step + 2]))
        alive.append(states)
        first, second = second, any(states[state] for state in concat)
    return alive


def _live_edges(
    genotype: Genotype, reductions: list[bool], alive: list[list[bool]], outputs: set[int]
) -> tuple[list[tuple[bool, ...]], bool]:
    """For each edge of each cell, whether it lies between the input and the outputs; and of the stem's second output.

    Args:
        genotype: what the cells are made of.
        reductions: whether each cell is of the reducing kind.
        alive: what :func:`_alive_states` gave.
        outputs: the cells whose outputs are read by a classifier.
    """
    needed = set(outputs)
    live: list[tuple[bool, ...]] = []
    for index in reversed(range(len(reductions))):
        edges, concat = genotype.cell(reductions[index])
        states = {state for state in concat if index in needed and alive[index][state]}
        marks = [False] * len(edges)
        for place in reversed(range(len(edges))):
            op, state = edges[place]
            if place // 2 + 2 in states and op != "none" and alive[index][state]:
                marks[place] = True
                states.add(state)
        needed |= {index - 2 + state for state in (0, 1) if state in states}
        live.append(tuple(marks))
    return live[::-1], -1 in needed


def _stem_size(config: NetworkConfig) -> int:
    if config.genotype.is_transformer:
        return 14 if config.is_imagenet_input else 11
    size = 56 if config.is_imagenet_input else 32
    return size // 2 if config.stem_type == 1 or config.stem_pool else size
