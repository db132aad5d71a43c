"""Which straight line of a picture each node and each long edge of a graph lies on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ppuda_like.graph._distance import longest_path_levels

__all__ = ["Tracks", "tracks"]

SWEEPS = 6


@dataclass(frozen=True, eq=False)
class Tracks:
    """The items of a picture: the nodes, then the lanes; a lane carries all edges of a node that skip levels.

    Attributes:
        num_nodes: number of nodes, the first of the items.
        num_levels: number of levels.
        first: first level of each item.
        last: last level of each item; a node has one level.
        slot: line of each item; 0 is the spine, others lie on both sides of it.
        joints: pairs of items (from, to) to be joined; the second follows the first on the next level.
    """

    num_nodes: int
    num_levels: int
    first: list[int]
    last: list[int]
    slot: list[int]
    joints: list[tuple[int, int, int]]


def tracks(edge_index: Tensor, num_nodes: int, inputs: Sequence[int]) -> Tracks:
    """Cut a graph whose edges all point forward into tracks, and give each a slot.

    The longest path is the spine, in slot 0.  Every other track takes the free slot nearest to those it joins; short
    tracks go first, so that nested skips nest, and a few sweeps over all tracks improve on that.

    Args:
        edge_index: long, of shape (2, num_edges), sources below targets.
        num_nodes: number of nodes.
        inputs: nodes that the graph begins with; other sources stand next to where they are used.
    """
    edges: list[tuple[int, int]] = [(source, target) for source, target in edge_index.t().tolist()]
    reached = _reached(edges, num_nodes, inputs)
    level = longest_path_levels(edge_index, num_nodes).tolist()
    uses: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        uses[source].append(target)
    for node in reversed(range(num_nodes)):
        if not reached[node] and uses[node]:
            level[node] = min(level[target] for target in uses[node]) - 1

    first, last, joints = list(level), list(level), []
    for source in range(num_nodes):
        far = [target for target in uses[source] if level[target] > level[source] + 1]
        joints += [(source, target) for target in uses[source] if level[target] == level[source] + 1]
        if far:
            lane = len(first)
            first.append(level[source] + 1)
            last.append(max(level[target] for target in far) - 1)
            joints += [(source, lane), *((lane, target) for target in far)]
    spine = _spine(edges, level, reached)
    track = _chains(joints, first, last, spine, num_nodes)
    slot = _slots(track, first, last, joints)
    return Tracks(num_nodes, max(level, default=-1) + 1, first, last, [slot[i] for i in track], joints)
