"""Where the nodes and edges of a graph go in a picture: a layered layout folded into rows.

The longest path is the *spine*, drawn straight.  What is parallel to it (branches, and the *lanes* along which edges skip
levels, one lane for all long edges of a node) is cut into *tracks*, each drawn straight beside the spine in the free slot
nearest to what it joins.  A deep graph is folded where few tracks are cut; every second row runs backward and
upside down, as a folded ribbon does, so that the turns do not cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppuda_like.graph._distance import longest_path_levels

__all__ = ["Layout", "layout"]

Floats = NDArray[np.float64]
SWEEPS = 6
LANE = 0.38
CROWD = 4.0


@dataclass(frozen=True, eq=False)
class Layout:
    """A picture's geometry, in the units of the box sizes asked for; y points up.

    Attributes:
        centers: centre of each node, of shape (num_nodes, 2).
        curves: cubic Bezier curves, of shape (num_curves, 4, 2), which joined end to end make the edges.
        tips: where the arrowheads point, of shape (num_heads, 2).
        flow: the unit vector each arrowhead points along, of shape (num_heads, 2).
        low: lower left corner of everything.
        high: upper right corner of everything.
        rows: number of rows the graph is folded into.
    """

    centers: Floats
    curves: Floats
    tips: Floats
    flow: Floats
    low: Floats
    high: Floats
    rows: int


@dataclass(frozen=True)
class _Track:
    """Items (nodes and lanes) on one straight line, over the levels first..last."""

    first: int
    last: int


def layout(
    edge_index: Tensor,
    num_nodes: int,
    inputs: tuple[int, ...],
    *,
    box: tuple[float, float],
    gap: tuple[float, float],
    vertical: bool = False,
    aspect: float = 1.6,
    unfolded: float = 13.0,
    head: float = 0.0,
) -> Layout:
    """Place a graph whose edges all point forward.

    Args:
        edge_index: long, of shape (2, num_edges), sources below targets.
        num_nodes: number of nodes.
        inputs: nodes that the graph begins with; other sources stand next to where they are used.
        box: width and height of every node.
        gap: free space along the flow and across it.
        vertical: levels from top to bottom, rows being columns; otherwise from left to right.
        aspect: width by height to fold for.
        unfolded: longest extent along the flow that is left unfolded whatever the aspect.
        head: length of the arrowheads, left free before each node.
    """
    edges = edge_index.t().tolist()
    level = _levels(edges, edge_index, num_nodes, inputs)
    items = _Items(edges, level)
    slots = _slots(items)
    along, across = (box[1], box[0]) if vertical else box
    folding = _Folding(items, slots, step=along + gap[0], height=across + gap[1])
    wanted = 1 / aspect if vertical else aspect
    rows = folding.fold(wanted, unfolded)
    place = folding.place(rows)
    return _geometry(items, place, along / 2, head, vertical, across / 2)
