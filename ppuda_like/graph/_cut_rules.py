"""When a graph may be cut between two blocks that learn on their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ppuda_like.errors import GraphError
from ppuda_like.graph._flow import Flow, known_effects
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["Crossing", "CutError", "CutRules", "Rule", "Tied", "listed"]

Rule = Literal[
    "order", "empty", "width", "tied", "in place", "type", "batch", "values", "no parameters", "coverage", "units"
]
Tied = Literal["refuse", "copy"]
SHOWN = 3


class CutError(GraphError):
    """A cut that would not leave blocks that learn on their own.

    Attributes:
        rule: which rule it breaks: ``"order"`` (a value flows back), ``"empty"`` (nothing crosses), ``"width"`` (more
            crosses than was asked for), ``"tied"`` (a parameter or buffer on both sides), ``"in place"`` (what crosses
            is overwritten behind), ``"type"`` and ``"batch"`` (what crosses cannot feed an auxiliary network),
            ``"values"`` (behind a branch on values), ``"no parameters"`` (a block with nothing to learn),
            ``"coverage"`` (parameters out of reach of the auxiliary network), ``"units"`` (more blocks than units).
    """

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule: Rule = rule

    def __reduce__(self) -> tuple[type[CutError], tuple[Rule, str]]:
        return type(self), (self.rule, str(self))


class Crossing(NamedTuple):
    """What crosses a cut.

    Attributes:
        node: the highest rank before the cut; the last node before it, where nodes rank by their ids.
        frontier: values through which gradients flow.
        passed: all other values.
    """

    node: int
    frontier: tuple[int, ...]
    passed: tuple[int, ...]


class CutRules:
    """Checks cuts of one graph whose nodes have ranks: a cut k puts ranks up to k before it, others behind.

    Args:
        flow: the graph's flow.
        rank: of each node, never below that of its sources; the node ids themselves, or blocks.
        tied: whether a parameter may be on both sides of a cut, each side getting a copy.
        rebatched: the same model traced at another batch size, to tell the batch dimension from others of its size.
    """

    def __init__(self, flow: Flow, rank: Sequence[int], tied: Tied, rebatched: ComputationalGraph | None) -> None:
        self._graph = flow.graph
        self._effects = known_effects(flow.graph)
        self._rebatched = rebatched
        if rebatched is not None:
            _check_twin(flow.graph, rebatched)
        self._writer: dict[int, int] = {}  # memory -> the writer of highest rank
        for node, one in enumerate(self._effects):
            if one.writes:
                for storage in one.storages:
                    known = self._writer.get(storage)
                    self._writer[storage] = node if known is None else max(known, node, key=rank.__getitem__)
        params = flow.graph.params.keys()
        self._shared: list[tuple[str, int, int]] = []  # with the lowest and the highest rank of their users
        first: list[int] = []
        last: list[int] = []
        for path, nodes in flow.users.items():
            ranks = [rank[node] for node in nodes]
            low, high = (ranks[0], ranks[0]) if len(ranks) == 1 else (min(ranks), max(ranks))
            if low < high and tied == "refuse":
                self._shared.append((path, low, high))
            if path in params:
                first.append(low)
                last.append(high)
        self._first, self._last = min(first, default=None), max(last, default=None)
        self._reads = [(rank[node], node) for node, one in enumerate(self._effects) if one.read]
        self._rank = rank

    def problem(self, crossing: Crossing, name: str) -> CutError | None:
        """What is wrong with a cut that messages call by ``name``, or None."""
        k, frontier, passed = crossing
        if not frontier:
            return CutError(
                "empty",
                f"nothing learned crosses {name}: no floating-point value computed with a parameter is used behind it; "
                "cut where the network has computed something that it still needs",
            )
        reads = [node for rank, node in self._reads if rank <= k]
        if reads:
            return CutError(
                "values",
                f"{name} lies behind {self._call(reads[0])}, whose values forward reads to decide what to run next, so "
                "what runs behind the cut is not the same for all inputs; cut before it, or take the branch out",
            )
        crossed = [path for path, first, last in self._shared if first <= k < last]
        if crossed:
            kind = "parameter" if crossed[0] in self._graph.params else "buffer"
            return CutError(
                "tied",
                f"{kind} {listed(crossed)} is used on both sides of {name}, so that two blocks would train it; cut "
                "elsewhere, untie it, or ask for a copy on each side (tied='copy')",
            )
        for node in (*frontier, *passed):
            for storage in self._effects[node].storages:
                writer = self._writer.get(storage)
                if writer is not None and self._rank[writer] > k:
                    return CutError(
                        "in place",
                        f"{self._call(writer)} behind {name} writes in place into {self._call(node)}, which crosses "
                        "it: an auxiliary network would read what was overwritten; cut behind that operation, or build "
                        "the model without in-place operations (inplace=False, x = x + y for x += y)",
                    )
        for node in frontier:
            found = self._shape_problem(node, name)
            if found is not None:
                return found
        if self._first is None or self._last is None or not self._first <= k < self._last:
            side = "before" if self._first is None or k < self._first else "behind"
            return CutError(
                "no parameters", f"no parameter is used {side} {name}: that block would have nothing to learn"
            )
        return None

    def _shape_problem(self, node: int, name: str) -> CutError | None:
        graph, kinds = self._graph, self._effects[node].dtypes
        if any(kind.startswith("complex") for kind in kinds):
            return CutError(
                "type",
                f"{self._call(node)} crosses {name} as {kinds[0]}; auxiliary networks read real floating-point "
                "numbers: cut where the values are real",
            )
        pairs = [(graph, node)] if self._rebatched is None else [(graph, node), (self._rebatched, node)]
        shapes = [one.out_shapes[i] for one, i in pairs]
        batches = [one.out_shapes[one.inputs[0]][:1] for one, _ in pairs]
        fits = all(shape[:1] == batch != () for shape, batch in zip(shapes, batches, strict=True))
        if fits and all(shape[1:] == shapes[0][1:] for shape in shapes):
            return None
        seen = ", ".join(
            f"{shape} for a batch of {batch[0] if batch else '?'}" for shape, batch in zip(shapes, batches, strict=True)
        )
        return CutError(
            "batch",
            f"{self._call(node)} crosses {name} with shape {seen}; the first dimension, and only it, must be the "
            "batch: cut elsewhere, or transpose in the model",
        )

    def _call(self, node: int) -> str:
        """A node for a message."""
        return f"'{self._graph.ops[node]}' in '{self._graph.names[node]}' (node {node})"


def _check_twin(graph: ComputationalGraph, other: ComputationalGraph) -> None:
    """Check that two graphs are traces of one model at two batch sizes."""
    if graph.ops != other.ops or not graph.edge_index.equal(other.edge_index):
        raise GraphError(
            f"'rebatched' must be a trace of the same model at another batch size (got {other!r} for {graph!r})"
        )
    batch = graph.out_shapes[graph.inputs[0]][:1]
    if batch == other.out_shapes[other.inputs[0]][:1]:
        raise GraphError(f"'rebatched' must be traced at another batch size than the graph's own (both have {batch})")


def listed(paths: Sequence[str]) -> str:
    """The first few paths for a message."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(f"'{path}'" for path in paths[:SHOWN]) + more
