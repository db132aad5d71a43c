"""Where a graph may be cut: one sweep over its nodes with the set of values that are still needed."""

from __future__ import annotations

from dataclasses import dataclass

from ppuda_like.errors import GraphError
from ppuda_like.graph._cut_rules import Crossing, CutError, CutRules, Tied
from ppuda_like.graph._flow import Flow
from ppuda_like.graph._graph import ComputationalGraph, Shape

__all__ = ["Cut", "all_cuts", "frontier_widths", "legal_cuts", "sweep"]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A place between two nodes of a full trace.

    Attributes:
        node: the last node before the cut: all nodes up to it are before the cut, later ones behind it.
        name: qualified name of that node.
        frontier: values computed before the cut and used behind it through which gradients flow, the newest last; these
            are to be detached.
        passed: values that cross as they are: network inputs, integers, what is computed without parameters.
        shapes: shape of each value of the frontier.
        problem: why blocks on both sides could not learn on their own, or None where they could: a legal cut.
    """

    node: int
    name: str
    frontier: tuple[int, ...]
    passed: tuple[int, ...]
    shapes: tuple[Shape, ...]
    problem: CutError | None

    @property
    def width(self) -> int:
        """Number of values in the frontier."""
        return len(self.frontier)


def legal_cuts(
    graph: ComputationalGraph,
    max_width: int = 1,
    *,
    tied: Tied = "refuse",
    rebatched: ComputationalGraph | None = None,
) -> tuple[Cut, ...]:
    """The places where a network may be cut into blocks that learn on their own, in order.

    A single value crosses a cut of width 1: it separates the inputs from the outputs.  One sweep over the nodes finds
    these, whatever the order of the nodes; wider cuts are those between two nodes that follow each other in forward.

    Args:
        graph: a full trace.
        max_width: number of values that may cross a cut at most.
        tied: ``"refuse"`` cuts with a parameter or buffer on both sides, or give each side a ``"copy"``.
        rebatched: the same model traced at another batch size.  Without it a dimension is taken for the batch by its
            size alone, which tells little where the graph was traced with a batch of one.

    Returns:
        The cuts without a problem; see :func:`all_cuts` for those that have one.

    Raises:
        GraphError: if the graph is lowered or does not tell which operations write in place.

    Example:
        >>> from torch import nn
        >>> from ppuda_like.graph import trace
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
        >>> graph = trace(model, (3, 4))
        >>> [(cut.name, cut.shapes) for cut in legal_cuts(graph)]
        [('1', ((3, 8),))]
        >>> [cut.problem.rule for cut in all_cuts(graph) if cut.problem]
        ['in place']
    """
    return tuple(cut for cut in all_cuts(graph, max_width, tied=tied, rebatched=rebatched) if cut.problem is None)


def all_cuts(
    graph: ComputationalGraph,
    max_width: int = 1,
    *,
    tied: Tied = "refuse",
    rebatched: ComputationalGraph | None = None,
) -> tuple[Cut, ...]:
    """Every place where at most so many values cross, legal or not: each cut tells its problem.

    Args and errors are those of :func:`legal_cuts`.
    """
    if max_width < 1:
        raise GraphError(f"'max_width' must be at least 1: something has to cross a cut (got {max_width})")
    flow = Flow(graph)
    rules = CutRules(flow, range(graph.num_nodes), tied, rebatched)
    return tuple(
        Cut(
            node=crossing.node,
            name=graph.names[crossing.node],
            frontier=crossing.frontier,
            passed=crossing.passed,
            shapes=tuple([graph.out_shapes[value] for value in crossing.frontier]),
            problem=rules.problem(crossing, f"the cut behind '{graph.names[crossing.node]}' (node {crossing.node})"),
        )
        for crossing in sweep(flow, max_width)[0]
    )


def frontier_widths(graph: ComputationalGraph) -> tuple[int, ...]:
    """How many values, through which gradients flow, would cross a cut behind each node.

    Raises:
        GraphError: if the graph is lowered or does not tell which operations write in place.
    """
    return tuple(sweep(Flow(graph), 0)[1])


def sweep(flow: Flow, max_width: int) -> tuple[list[Crossing], list[int]]:
    """What crosses each cut of at most that width, and the width behind each node; time is linear in the graph.

    Cuts with the same frontier are one, given at its first place.
    """
    n = flow.graph.num_nodes
    last = flow.last_use(range(n), n)
    expiring: list[list[int]] = [[] for _ in range(n + 1)]
    for node, end in enumerate(last):
        if flow.dependent[node] and end >= 0:
            expiring[end].append(node)
    live: dict[int, None] = {}
    passing: dict[int, None] = {}
    cuts: list[Crossing] = []
    widths = []
    steps = flow.steps
    final = steps[-1] if steps else n
    crossing = {*steps, *flow.graph.inputs}
    for node in range(n):
        for gone in expiring[node]:
            live.pop(gone, None)
            passing.pop(gone, None)
        if last[node] > node and node in crossing:
            (live if flow.carried[node] else passing)[node] = None
        widths.append(len(live))
        if 0 < len(live) <= max_width and node < final and node in crossing:
            frontier = tuple(live)
            if not cuts or cuts[-1].frontier != frontier:
                cuts.append(Crossing(node, frontier, tuple(passing)))
    return cuts, widths
