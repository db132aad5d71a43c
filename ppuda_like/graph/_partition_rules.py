"""What makes a numbering of a graph's nodes a chain of blocks that learn on their own."""

from __future__ import annotations

from collections.abc import Sequence

from ppuda_like.graph._cut_rules import Crossing, CutError, CutRules, listed
from ppuda_like.graph._flow import Flow, known_effects
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["check_boundaries", "check_coverage", "check_order", "crossings", "settled"]


def settled(flow: Flow, block_of: Sequence[int]) -> tuple[int, ...]:
    """The block of each node, with constants in the first block that uses them and dead nodes in that of their sources.

    Raises:
        CutError: if blocks are not numbered without gaps, or a block computes nothing.
    """
    found = list(block_of)
    for node in reversed(range(len(found))):
        if flow.alive[node] and not flow.dependent[node]:
            found[node] = min([found[i] for i in flow.targets[node] if flow.alive[i]], default=found[node])
    for node, before in enumerate(flow.sources):
        if not flow.alive[node]:
            found[node] = max([found[source] for source in before], default=0)
    for node in flow.graph.inputs:
        found[node] = 0
    used = {found[node] for node in flow.steps}
    if not used or used != {*range(len(used))} or {*found} > used:
        raise CutError("order", f"blocks must be numbered 0, 1, ..., each computing something (got {sorted(used)})")
    return tuple(found)


def crossings(flow: Flow, block_of: Sequence[int]) -> tuple[Crossing, ...]:
    """What crosses the boundary behind each block but the last one."""
    boundaries = range(max(block_of))
    last = flow.last_use(block_of, len(boundaries))
    frontier: list[list[int]] = [[] for _ in boundaries]
    passed: list[list[int]] = [[] for _ in boundaries]
    for node, block in enumerate(block_of):
        if flow.dependent[node] and flow.alive[node]:
            for boundary in range(block, last[node]):
                (frontier if flow.carried[node] else passed)[boundary].append(node)
    return tuple([Crossing(k, tuple(frontier[k]), tuple(passed[k])) for k in boundaries])


def check_order(flow: Flow, block_of: Sequence[int]) -> None:
    """Check that running block after block gives what running the nodes in order gives.

    Raises:
        CutError: if a block uses a later one, reads memory that an earlier block has overwritten by then, or runs
            before a branch that it may depend on.
    """
    graph = flow.graph

    def call(node: int) -> str:
        return f"'{graph.names[node]}' (node {node}, block {block_of[node]})"

    for source, target in graph.edge_index.t().tolist():
        if block_of[source] > block_of[target] and flow.dependent[source]:
            raise CutError("order", f"{call(target)} needs {call(source)}; a block may only use blocks before it")
    held: dict[int, list[int]] = {}  # memory -> the nodes so far whose values lie in it
    for node, one in enumerate(known_effects(graph)):
        if one.writes:
            values = [value for storage in one.storages for value in held.get(storage, ())]
            late = [i for value in values for i in flow.targets[value] if i < node and block_of[i] > block_of[node]]
            if late:
                raise CutError("in place", f"{call(node)} overwrites what {call(late[0])} has to read before")
        for storage in one.storages:
            held.setdefault(storage, []).append(node)
        early = [i for i in flow.steps if i > node and block_of[i] < block_of[node]] if one.read else []
        if early:
            raise CutError("values", f"{call(early[0])} may depend on a branch on the values of {call(node)}")


def check_boundaries(rules: CutRules, graph: ComputationalGraph, found: Sequence[Crossing], max_width: int) -> None:
    """Check what crosses each boundary.

    Raises:
        CutError: if too many values do, or one breaks a rule.
    """
    for crossing in found:
        name = f"the boundary behind block {crossing.node}"
        width = len(crossing.frontier)
        if width > max_width:
            values = [f"'{graph.names[node]}' (node {node})" for node in crossing.frontier[:4]]
            raise CutError(
                "width",
                f"{width} values cross {name}: {', '.join(values)}{', ...' if width > 4 else ''}, but {max_width} may; "
                f"cut between residual or parallel branches rather than inside, or allow for it by max_width={width}",
            )
        problem = rules.problem(crossing, name)
        if problem is not None:
            raise problem


def check_coverage(
    flow: Flow, block_of: Sequence[int], found: Sequence[Crossing], parameters: Sequence[Sequence[str]]
) -> None:
    """Check that every parameter reaches the newest value of its block's frontier.

    Raises:
        CutError: if one does not.
    """
    users = flow.users
    for block, crossing in enumerate(found):
        newest = crossing.frontier[-1]
        reaching = {newest}
        for node in reversed(range(newest)):
            if any(target in reaching for target in flow.targets[node]):
                reaching.add(node)
        missed = [
            path for path in parameters[block] if not any(i in reaching and block_of[i] == block for i in users[path])
        ]
        if missed:
            raise CutError(
                "coverage",
                f"{listed(missed)} of block {block} cannot learn from the newest value that leaves it, "
                f"'{flow.graph.names[newest]}' (node {newest}); read all values (reads='all'), or cut elsewhere",
            )
