"""Which values of a graph carry what is learned from its inputs to its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ppuda_like.errors import GraphError
from ppuda_like.graph._effects import Effects
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
        carried: whether each node's value carries a gradient across a cut.
    """

    graph: ComputationalGraph
    sources: list[list[int]] = field(init=False)
    targets: list[list[int]] = field(init=False)
    dependent: list[bool] = field(init=False)
    alive: list[bool] = field(init=False)
    carried: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        graph, effects = self.graph, known_effects(self.graph)
        sources, targets, n = graph.predecessors(), graph.successors(), graph.num_nodes
        dependent, learned, alive = [False] * n, [bool(paths) for paths in graph.param_names], [False] * n
        for node in graph.inputs:
            dependent[node] = True
        for node, before in enumerate(sources):
            dependent[node] |= any([dependent[source] for source in before])
            learned[node] |= any([learned[source] for source in before])
        for node in graph.outputs:
            alive[node] = True
        for node in reversed(range(n)):
            alive[node] |= effects[node].read or any([alive[target] for target in targets[node]])
        inputs = {*graph.inputs}
        found = {
            "sources": sources,
            "targets": targets,
            "dependent": dependent,
            "alive": alive,
            "carried": [
                dependent[node] and alive[node] and learned[node] and node not in inputs and effects[node].is_float
                for node in range(n)
            ],
        }
        for key, value in found.items():
            object.__setattr__(self, key, value)

    @property
    def steps(self) -> list[int]:
        """The nodes that compute something of the inputs for the outputs, in order: what blocks are made of."""
        inputs = {*self.graph.inputs}
        return [i for i in range(self.graph.num_nodes) if self.dependent[i] and self.alive[i] and i not in inputs]

    def last_use(self, rank: Sequence[int], end: int) -> list[int]:
        """The highest rank among each value's uses, -1 for none; an output is used at ``end``."""
        last = [
            max([rank[target] for target in targets if self.alive[target] and self.dependent[target]], default=-1)
            for targets in self.targets
        ]
        for node in self.graph.outputs:
            last[node] = end
        return last

    def users(self) -> dict[str, list[int]]:
        """For each parameter and buffer, the nodes computed from inputs that use it, directly or through constants."""
        effects = known_effects(self.graph)
        held: list[tuple[str, ...]] = [
            (*paths, *one.buffers) for paths, one in zip(self.graph.param_names, effects, strict=True)
        ]
        users: dict[str, list[int]] = {}
        for node, before in enumerate(self.sources):
            if not self.dependent[node]:
                constants = [source for source in before if held[source]]
                if constants:
                    held[node] = tuple(dict.fromkeys((*held[node], *(p for source in constants for p in held[source]))))
            elif self.alive[node]:
                paths = dict.fromkeys(held[node])
                for source in before:
                    if held[source] and not self.dependent[source]:
                        paths |= dict.fromkeys(held[source])
                for path in paths:
                    users.setdefault(path, []).append(node)
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
