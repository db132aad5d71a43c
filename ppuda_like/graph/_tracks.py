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
    joints: list[tuple[int, int]]


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

    first, last = list(level), list(level)
    joints: list[tuple[int, int]] = []
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


def _reached(edges: Sequence[tuple[int, int]], num_nodes: int, inputs: Sequence[int]) -> list[bool]:
    """Whether a path from the inputs leads to each node; edges come ordered by target."""
    reached = [False] * num_nodes
    for node in inputs:
        reached[node] = True
    for source, target in edges:
        reached[target] |= reached[source]
    return reached


def _spine(edges: Sequence[tuple[int, int]], level: Sequence[int], reached: Sequence[bool]) -> set[int]:
    """Nodes of one longest path, nodes reached from the inputs preferred."""
    before: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        if level[source] == level[target] - 1:
            before[target].append(source)
    found: set[int] = set()
    here = [max(range(len(level)), key=lambda node: (level[node], reached[node]))] if level else []
    while here:
        node = max(here, key=lambda node: (reached[node], -node))
        found.add(node)
        here = before[node]
    return found


def _chains(
    joints: Sequence[tuple[int, int]], first: Sequence[int], last: Sequence[int], spine: set[int], num_nodes: int
) -> list[int]:
    """Track of each item: 0 for the spine, others are chains of items each following the one before directly."""
    leaving, entering = Counter(a for a, _ in joints), Counter(b for _, b in joints)
    after: dict[int, int] = {}
    before: dict[int, int] = {}
    for a, b in sorted(joints, key=lambda joint: leaving[joint[0]] + entering[joint[1]]):
        free = a not in spine and b not in spine and a not in after and b not in before
        if free and first[b] == last[a] + 1:
            after[a], before[b] = b, a
    track = [0 if item in spine else -1 for item in range(len(first))]
    count = 0
    for item in range(len(first)):
        if track[item] < 0 and item not in before:
            count += 1
            link: int | None = item
            while link is not None:
                track[link] = count
                link = after.get(link)
    return track


def _slots(
    track: Sequence[int], first: Sequence[int], last: Sequence[int], joints: Sequence[tuple[int, int]]
) -> list[int]:
    """Slot of each track."""
    count = max(track, default=-1) + 1
    begin, end = [max(last, default=0) + 1] * count, [-1] * count
    for item, owner in enumerate(track):
        begin[owner], end[owner] = min(begin[owner], first[item]), max(end[owner], last[item])
    joined: list[list[int]] = [[] for _ in range(count)]
    for a, b in joints:
        if track[a] != track[b]:
            joined[track[a]].append(track[b])
            joined[track[b]].append(track[a])

    # Slots are numbered 0, 1, -1, 2, -2, ...: taken in that order, the first of equals is the one nearest the spine.
    busy = np.zeros((1, max(last, default=0) + 1), dtype=bool)
    busy[0] = True
    rows = [0] * count
    placed = np.zeros(count, dtype=bool)
    placed[:1] = True
    slot = np.zeros(count)
    order = sorted(range(1, count), key=lambda one: (end[one] - begin[one], begin[one]))
    for _ in range(SWEEPS):
        for one in order:
            span = slice(begin[one], end[one] + 1)
            if placed[one]:
                busy[rows[one], span] = False
            free = np.flatnonzero(~busy[:, span].any(axis=1))
            if not len(free):
                free = np.array([len(busy)])
                busy = np.concatenate((busy, np.zeros_like(busy[:1])))
            others = np.array([other for other in joined[one] if placed[other]], dtype=np.int64)
            at = _signed(free)
            cost = np.abs(at[:, None] - slot[others]).sum(axis=1) + 0.5 * np.abs(at)
            row = int(free[cost.argmin()])
            busy[row, span] = True
            rows[one], placed[one], slot[one] = row, True, float(_signed(np.array([row]))[0])
    return [int(x) for x in slot]


def _signed(row: np.ndarray) -> np.ndarray:
    """0, 1, 2, 3, 4, ... as 0, 1, -1, 2, -2, ..."""
    return np.where(row % 2 == 1, (row + 1) // 2, -(row // 2))
