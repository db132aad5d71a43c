"""Where the nodes and edges of a graph go in a picture: a layered layout folded into rows.

The longest path is the spine, drawn straight; branches and skipping edges run straight beside it, in slots.  A deep graph
is folded into rows, best where few edges are cut; every second row runs backward and upside down, as a folded ribbon
does, so that the turns do not cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ppuda_like.graph._tracks import Tracks, tracks

__all__ = ["Layout", "layout"]

Floats = NDArray[np.float64]
Row = tuple[int, int]

LANE = 0.4  # height of a slot that holds lanes only, in heights of one with nodes
CROWD = 3.0  # height of all such slots on one side of a row at most
STRETCH = 1.4  # rows are at most so much shorter than the longest


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


def layout(
    edge_index: Tensor,
    num_nodes: int,
    inputs: tuple[int, ...],
    *,
    box: tuple[float, float],
    gap: tuple[float, float],
    vertical: bool = False,
    aspect: float = 1.5,
    unfolded: float = 12.0,
    head: float = 0.0,
) -> Layout:
    """Place a graph whose edges all point forward.

    Args:
        edge_index: long, of shape (2, num_edges), sources below targets.
        num_nodes: number of nodes.
        inputs: nodes that the graph begins with; other sources stand next to where they are used.
        box: width and height of every node.
        gap: free space between boxes along the flow and across it.
        vertical: levels from top to bottom, rows being columns; otherwise from left to right.
        aspect: width by height to fold for.
        unfolded: extent along the flow that is left unfolded whatever the aspect.
        head: length of the arrowheads, left free before each node.
    """
    found = tracks(edge_index, num_nodes, inputs)
    along, across = (box[1], box[0]) if vertical else box
    step, height = along + gap[0], across + gap[1]
    profile = _Profile.of(found, height)
    rows = _fold(profile, step, 0.8 * height, 1 / aspect if vertical else aspect, unfolded)
    return _Placing(found, profile, rows, step, 0.8 * height).draw(along / 2, across / 2, head, vertical)


@dataclass(frozen=True, eq=False)
class _Profile:
    """What crosses each level: slots with nodes, slots in use (both of shape (num_slots, num_levels)), cuts after it."""

    lowest: int
    nodes: NDArray[np.bool_]
    used: NDArray[np.bool_]
    cuts: NDArray[np.int64]
    height: float

    @classmethod
    def of(cls, found: Tracks, height: float) -> _Profile:
        lowest, highest = min(found.slot, default=0), max(found.slot, default=0)
        nodes = np.zeros((highest - lowest + 1, found.num_levels), dtype=bool)
        used = np.zeros_like(nodes)
        cuts = np.zeros(found.num_levels, dtype=np.int64)
        for item, slot in enumerate(found.slot):
            span = slice(found.first[item], found.last[item] + 1)
            used[slot - lowest, span] = True
            if item < found.num_nodes:
                nodes[slot - lowest, span] = True
            cuts[found.first[item] : found.last[item]] += 1
        for _, target in found.joints:
            cuts[found.first[target] - 1] += 1
        return cls(lowest, nodes, used, cuts, height)

    def offsets(self, row: Row) -> Floats:
        """Where each slot lies across the flow, in the levels of one row, slot 0 at 0."""
        span = slice(row[0], row[1] + 1)
        heights = np.where(self.nodes[:, span].any(axis=1), 1.0, 0.0)
        lanes = self.used[:, span].any(axis=1) & (heights == 0)
        for side in (slice(0, -self.lowest), slice(-self.lowest + 1, None)):
            count = int(lanes[side].sum())
            heights[side] += lanes[side] * min(LANE, CROWD / max(1, count))
        heights[-self.lowest] = 1.0
        heights *= self.height
        middle = np.cumsum(heights) - heights / 2
        offsets: Floats = middle - middle[-self.lowest]
        return offsets

    def extent(self, row: Row) -> tuple[float, float]:
        """The lowest and highest offset in use in one row."""
        used = self.offsets(row)[self.used[:, row[0] : row[1] + 1].any(axis=1)]
        return float(used.min(initial=0)), float(used.max(initial=0))


def _fold(profile: _Profile, step: float, between: float, aspect: float, unfolded: float) -> list[Row]:
    """Rows of levels that come nearest to an aspect."""
    count = len(profile.cuts)
    whole = [(0, count - 1)]
    if count * step <= unfolded:
        return whole
    best, best_score = whole, math.inf
    shortest = max(3, int(unfolded / step / 2))
    for length in np.unique(np.geomspace(min(shortest, count), count, 24).astype(int)).tolist():
        rows = _break(profile.cuts, length)
        heights = [high - low + profile.height for low, high in map(profile.extent, rows)]
        width = step * max(last - first + 1 for first, last in rows)
        cut = sum(float(profile.cuts[last] - 1) for _, last in rows[:-1]) / max(1, len(rows) - 1)
        score = abs(math.log(width / (sum(heights) + between * len(rows)) / aspect)) + 0.1 * cut
        if score < best_score:
            best, best_score = rows, score
    return best


def _break(cuts: NDArray[np.int64], length: int) -> list[Row]:
    """Rows of at most ``length`` levels: of about equal length, cutting few edges (a shortest path over the breaks)."""
    count = len(cuts)
    best, start = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        begins = np.arange(max(0, end - length), max(0, end - int(length / STRETCH)) + 1 if end < count else end)
        short = (12.0 if end < count else 6.0) * ((length - (end - begins)) / length) ** 2
        lacking = 100.0 * ((begins == 0) & (end < min(count, length / STRETCH)))
        costs = best[begins] + short + lacking + np.where(begins > 0, 0.5 + cuts[begins - 1], 0.0)
        start[end] = begins[costs.argmin()]
        best[end] = costs.min()
    rows: list[Row] = []
    end = count
    while end > 0:
        rows.append((int(start[end]), end - 1))
        end = int(start[end])
    return rows[::-1]


class _Placing:
    """Coordinates along and across the flow."""

    def __init__(self, found: Tracks, profile: _Profile, rows: list[Row], step: float, between: float) -> None:
        self.found = found
        self.rows = rows
        self.step = step
        self.row_of = np.repeat(np.arange(len(rows)), [last - first + 1 for first, last in rows])
        width = step * (max(last - first for first, last in rows))
        self.along = np.zeros(found.num_levels)
        self.offsets: list[Floats] = []
        self.lowest = profile.lowest
        top = 0.0
        for number, row in enumerate(rows):
            steps = np.arange(row[1] - row[0] + 1) * (step if row == rows[-1] or row[0] == row[1] else width / (row[1] - row[0]))
            self.along[row[0] : row[1] + 1] = steps if number % 2 == 0 else width - steps
            side = self.side(number)
            low, high = sorted(side * x for x in profile.extent(row))
            self.offsets.append(side * profile.offsets(row) + top - high)
            top -= high - low + profile.height + between

    @staticmethod
    def side(row: int) -> int:
        return 1 if row % 2 == 0 else -1

    def across(self, item: int, level: int) -> float:
        return float(self.offsets[self.row_of[level]][self.found.slot[item] - self.lowest])

    def draw(self, half: float, half_across: float, head: float, vertical: bool) -> Layout:
        found = self.found
        centers = [(self.along[found.first[i]], self.across(i, found.first[i])) for i in range(found.num_nodes)]
        curves: list[list[tuple[float, float]]] = []
        tips: list[tuple[float, float]] = []
        flow: list[tuple[float, float]] = []

        def join(a: int, b: int, level: int) -> None:
            """One step from item a at a level to item b at the next."""
            row, next_row = self.row_of[level], self.row_of[level + 1]
            ahead, ahead_next = self.side(row), self.side(next_row)
            s_a, s_b = self.across(a, level), self.across(b, level + 1)
            p_a = self.along[level] + ahead * half
            p_b = self.along[level + 1] - ahead_next * (half + (head if b < found.num_nodes else 0))
            if row == next_row:
                bend_a = bend_b = (p_a + p_b) / 2
            else:
                bend_a = bend_b = p_a + ahead * (0.4 * self.step + 0.35 * abs(s_a - s_b))
            curves.append([(p_a, s_a), (bend_a, s_a), (bend_b, s_b), (p_b, s_b)])
            if b < found.num_nodes:
                tips.append((p_b + ahead_next * head, s_b))
                flow.append((ahead_next, 0.0))

        for a, b in found.joints:
            join(a, b, found.first[b] - 1)
        for lane in range(found.num_nodes, len(found.first)):
            begin, last = found.first[lane], found.last[lane]
            while begin <= last:
                row = self.row_of[begin]
                end = min(last, self.rows[row][1])
                p, q = self.along[begin] - self.side(row) * half, self.along[end] + self.side(row) * half
                s = self.across(lane, begin)
                curves.append([(p, s), (p, s), (q, s), (q, s)])
                if end < last:
                    join(lane, lane, end)
                begin = end + 1
        every = np.array(centers + [point for curve in curves for point in curve]).reshape(-1, 2)
        room = np.array([half, half_across])
        result = [np.array(centers).reshape(-1, 2), np.array(curves).reshape(-1, 4, 2), np.array(tips).reshape(-1, 2)]
        result += [np.array(flow).reshape(-1, 2), every.min(axis=0) - room, every.max(axis=0) + room]
        if vertical:
            result = [-one[..., ::-1] for one in result]
            result[4], result[5] = result[5], result[4]
        return Layout(*result, rows=len(self.rows))
