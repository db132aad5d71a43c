"""Which values of a graph carry what is learned from its inputs to its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ppuda_like.errors import GraphError
from ppuda_like.graph._effects import Effects, is_float
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["Flow", "known_effects"]


@dataclass(frozen=True, eq=False)
class Flow:
    """What is to be known of each node of a full trace to cut it; made in one pass over its nodes and edges.

    A value is *dependent* if it is computed from an input, *alive* if an output or a branch of Python depends on it.
    Of the values that are both, those computed with a parameter and holding floating-point numbers are *carried*: a
    gradient flows through them.  All others (the inputs themselves, integers, what is computed from inputs alone) may
    cross a cut as they are.

    Attributes:
        graph: the graph.
        sources: predecessors of each node.
        targets: successors of each node.
        dependent: whether each node is computed from an input, or is one.
        alive: whether each node leads to an output or to a value that Python reads.
        steps: the nodes that are both and no inputs, in order: what blocks are made of.
        carried: whether each node's value carries a gradient across a cut.
    """

    graph: ComputationalGraph
    sources: list[list[int]] = field(init=False)
    targets: list[list[int]] = field(init=False)
    dependent: list[bool] = field(init=False)
    alive: list[bool] = field(init=False)
    steps: list[int] = field(init=False)
    carried: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        graph, effects = self.graph, known_effects(self.graph)
        n = graph.num_nodes
        sources: list[list[int]] = [[] for _ in range(n)]
        targets: list[list[int]] = [[] for _ in range(n)]
        for source, target in zip(*graph.edge_index.tolist(), strict=True):
            sources[target].append(source)
            targets[source].append(target)
        dependent, learned, alive = [False] * n, [bool(paths) for paths in graph.param_names], [False] * n
        inputs = {*graph.inputs}
        for node, before in enumerate(sources):
            for source in before:
                dependent[node] |= dependent[source]
                learned[node] |= learned[source]
            if node in inputs:
                dependent[node] = True
        for node in graph.outputs:
            alive[node] = True
        for node in reversed(range(n)):
            if alive[node] or effects[node].read:
                alive[node] = True
                for source in sources[node]:
                    alive[source] = True
        moves = [a and b for a, b in zip(dependent, alive, strict=True)]
        found = {
            "sources": sources,
            "targets": targets,
            "dependent": dependent,
            "alive": alive,
            "steps": [node for node in range(n) if moves[node] and node not in inputs],
            "carried": [
                moves[node] and learned[node] and node not in inputs and is_float(effects[node].dtypes)
                for node in range(n)
            ],
        }
        for key, value in found.items():
            object.__setattr__(self, key, value)

    def last_use(self, rank: Sequence[int], end: int) -> list[int]:
        """The highest rank among each value's uses, -1 for none; an output is used at ``end``."""
        last = [-1] * self.graph.num_nodes
        for node in self.steps:
            for source in self.sources[node]:
                if last[source] < rank[node]:
                    last[source] = rank[node]
        for node in self.graph.outputs:
            last[node] = end
        return last

    @cached_property
    def users(self) -> dict[str, list[int]]:
        """For each parameter and buffer, the nodes computed from inputs that use it, directly or through constants."""
        constants: dict[int, tuple[str, ...]] = {}  # what each node that no input leads to is made of
        users: dict[str, list[int]] = {}
        for node, one in enumerate(known_effects(self.graph)):
            held = self.graph.param_names[node] + one.buffers
            if constants:
                further = [path for source in self.sources[node] for path in constants.get(source, ())]
                if further:
                    held += tuple(further)
            if not self.dependent[node]:
                constants[node] = held
            elif self.alive[node]:
                for path in held:
                    found = users.setdefault(path, [])
                    if not found or found[-1] != node:
                        found.append(node)
        return users


def known_effects(graph: ComputationalGraph) -> tuple[Effects, ...]:
    """The effects of a full trace.

    Raises:
        GraphError: if the graph is a lowered one, or came without effects.
    """
    if graph.vocabulary is not None:
        raise GraphError(
            f"only full traces can be cut into blocks, this graph is lowered to '{graph.vocabulary}'; cut trace(model)"
        )
    if graph.effects is None:
        raise GraphError(
            "this graph does not tell which operations write in place (its 'effects' are None), so no cut is known to "
            "be safe; take trace(model), or store traces by to_json(effects=True)"
        )
    return graph.effects
