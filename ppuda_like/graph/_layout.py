"""Where the nodes and edges of a graph go in a picture: a layered layout folded into rows.

The longest path is the spine, drawn straight; branches and skipping edges run straight beside it, in slots.  A deep
graph is folded into rows, best where few edges are cut; every second row runs backward and upside down, as a folded
ribbon does, so that the turns do not cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    profile = _profile(found, across + gap[1])
    rows = _fold(profile, along + gap[0], 1 / aspect if vertical else aspect, unfolded)
    grid = _Grid(found, profile, rows, along + gap[0])
    centers, curves, tips, flow = _route(found, grid, along / 2, head)
    every = np.concatenate((centers, curves.reshape(-1, 2)))
    half_box = np.array((along, across)) / 2
    low, high = every.min(axis=0) - half_box, every.max(axis=0) + half_box
    if vertical:  # reflected at the falling diagonal: along becomes down, across becomes leftward
        centers, curves, tips, flow, high, low = (-part[..., ::-1] for part in (centers, curves, tips, flow, low, high))
    return Layout(centers, curves, tips, flow, low, high, len(rows))


@dataclass(frozen=True, eq=False)
class _Profile:
    """What each level holds.

    Attributes:
        lowest: the lowest slot, that of the first row of the arrays.
        nodes: whether a node is in a slot on a level, of shape (num_slots, num_levels).
        used: whether anything is.
        cuts: lines between each level and the next, of shape (num_levels,).
        height: room across the flow for a slot with nodes.
    """

    lowest: int
    nodes: NDArray[np.bool_]
    used: NDArray[np.bool_]
    cuts: NDArray[np.int64]
    height: float

    @property
    def between(self) -> float:
        """Room between two rows."""
        return 0.8 * self.height

    def offsets(self, row: Row) -> Floats:
        """Where each slot lies across the flow, in the levels of one row, slot 0 at 0."""
        span = slice(row[0], row[1] + 1)
        spine = -self.lowest
        heights = self.nodes[:, span].any(axis=1).astype(float)
        lanes = self.used[:, span].any(axis=1) & (heights == 0)
        for side in (slice(0, spine), slice(spine + 1, None)):
            heights[side] += lanes[side] * min(LANE, CROWD / max(1, int(lanes[side].sum())))
        heights[spine] = 1.0
        heights *= self.height
        middle = np.cumsum(heights) - heights / 2
        offsets: Floats = middle - middle[spine]
        return offsets

    def extent(self, row: Row) -> tuple[float, float]:
        """The lowest and highest offset in use in one row."""
        used = self.offsets(row)[self.used[:, row[0] : row[1] + 1].any(axis=1)]
        return float(used.min(initial=0)), float(used.max(initial=0))


def _profile(found: Tracks, height: float) -> _Profile:
    lowest = min(found.slot, default=0)
    nodes = np.zeros((max(found.slot, default=0) - lowest + 1, found.num_levels), dtype=bool)
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
    return _Profile(lowest, nodes, used, cuts, height)


def _fold(profile: _Profile, step: float, aspect: float, unfolded: float) -> list[Row]:
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
        score = abs(math.log(width / (sum(heights) + profile.between * len(rows)) / aspect)) + 0.1 * min(cut, 4.0)
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


class _Grid:
    """Coordinates of levels along the flow, and of slots across it, in rows one below the other."""

    def __init__(self, found: Tracks, profile: _Profile, rows: list[Row], step: float) -> None:
        self.rows = rows
        self.row_of = np.repeat(np.arange(len(rows)), [last - first + 1 for first, last in rows]).tolist()
        self.sense = [1 - 2 * (number % 2) for number in range(len(rows))]
        self.along: list[float] = []
        self._slot = [slot - profile.lowest for slot in found.slot]
        self._offsets: list[Floats] = []
        width = step * max(last - first for first, last in rows)
        top = 0.0
        for number, (row, sense) in enumerate(zip(rows, self.sense, strict=True)):
            steps = row[1] - row[0]
            pitch = width / steps if steps and number < len(rows) - 1 else step
            self.along += [pitch * i if sense > 0 else width - pitch * i for i in range(steps + 1)]
            low, high = sorted(sense * edge for edge in profile.extent(row))
            self._offsets.append(sense * profile.offsets(row) + top - high)
            top -= high - low + profile.height + profile.between

    def across(self, item: int, level: int) -> float:
        """Where an item lies on a level."""
        return float(self._offsets[self.row_of[level]][self._slot[item]])


def _route(found: Tracks, grid: _Grid, half: float, head: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Centres, curves, arrow tips and their directions, along and across the flow."""
    centers = [(grid.along[found.first[node]], grid.across(node, found.first[node])) for node in range(found.num_nodes)]
    curves: list[list[tuple[float, float]]] = []
    tips: list[tuple[float, float]] = []
    flow: list[tuple[float, float]] = []

    def join(a: int, b: int, level: int) -> None:
        """From item a on a level to item b on the next."""
        row, next_row = grid.row_of[level], grid.row_of[level + 1]
        here, there = grid.across(a, level), grid.across(b, level + 1)
        start = grid.along[level] + grid.sense[row] * half
        tip = grid.along[level + 1] - grid.sense[next_row] * half
        end = tip - (grid.sense[next_row] * head if b < found.num_nodes else 0)
        bend = (start + end) / 2
        if row != next_row:  # a turn: the wider, the further out, so that turns nest
            bend = start + grid.sense[row] * (0.8 * half + 0.1 + 0.35 * abs(here - there))
        curves.append([(start, here), (bend, here), (bend, there), (end, there)])
        if b < found.num_nodes:
            tips.append((tip, there))
            flow.append((grid.sense[next_row], 0.0))

    for a, b in found.joints:
        join(a, b, found.first[b] - 1)
    for lane in range(found.num_nodes, len(found.first)):
        begin, last = found.first[lane], found.last[lane]
        while begin <= last:
            row = grid.row_of[begin]
            end = min(last, grid.rows[row][1])
            start, stop = grid.along[begin] - grid.sense[row] * half, grid.along[end] + grid.sense[row] * half
            here = grid.across(lane, begin)
            curves.append([(start, here), (start, here), (stop, here), (stop, here)])
            if end < last:
                join(lane, lane, end)
            begin = end + 1
    return (
        np.array(centers, dtype=float).reshape(-1, 2),
        np.array(curves, dtype=float).reshape(-1, 4, 2),
        np.array(tips, dtype=float).reshape(-1, 2),
        np.array(flow, dtype=float).reshape(-1, 2),
    )
