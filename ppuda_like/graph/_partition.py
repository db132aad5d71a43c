"""A network cut into blocks."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from ppuda_like.errors import GraphError
from ppuda_like.graph._balance import balanced_ends, uniform_ends
from ppuda_like.graph._block_costs import BlockCosts, Cost, block_costs
from ppuda_like.graph._cut_rules import Crossing, CutError, CutRules, Tied
from ppuda_like.graph._flow import Flow
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._partition_rules import check_boundaries, check_coverage, check_order, crossings, settled
from ppuda_like.graph._units import Unit, units

__all__ = ["Partition", "Reads"]

Reads = Literal["all", "newest"]

JSON_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A chain of blocks that a network consists of, each able to learn on its own; valid by construction.

    The first k blocks together are a set of nodes that no edge enters from outside.  The values that cross from it to
    the other nodes, and through which gradients flow, are the frontier of boundary k: detached, they feed the next
    blocks, and an auxiliary network that gives the block its loss.  The last block keeps the network's own loss.

    Constants (nodes that no input leads to) are moved to the block that first uses them, and nodes that lead to no
    output to the block of their sources.

    Attributes:
        graph: the full trace that is cut.
        block_of: the block of each node: 0, 1, ...
        max_width: number of values in a frontier at most.
        reads: what the auxiliary networks read: all values of the frontier, or the newest one only.
        tied: ``"refuse"`` parameters and buffers used in several blocks, or give each block a ``"copy"``.
        rebatched: the same model traced at another batch size, for a sharper check that the batch comes first; it is
            not kept.

    Raises:
        CutError: if a boundary breaks one of the rules; its ``rule`` tells which.
        GraphError: if the graph cannot be cut at all.

    Example:
        >>> from torchvision.models import resnet18
        >>> from ppuda_like.graph import trace
        >>> partition = Partition.at(trace(resnet18()), ["layer1", "layer3.0"])
        >>> [costs.parameters for costs in partition.costs()], round(partition.ideal_speedup(), 2)
        ([157504, 1444608, 10087400], 2.82)
    """

    graph: ComputationalGraph
    block_of: tuple[int, ...]
    max_width: int = 1
    reads: Reads = "all"
    tied: Tied = "refuse"
    rebatched: InitVar[ComputationalGraph | None] = None

    def __post_init__(self, rebatched: ComputationalGraph | None) -> None:
        for name, value, known in (("reads", self.reads, get_args(Reads)), ("tied", self.tied, get_args(Tied))):
            if value not in known:
                raise GraphError(f"'{name}' must be one of {', '.join(map(repr, known))} (got {value!r})")
        block_of = tuple(self.block_of)
        if len(block_of) != self.graph.num_nodes:
            raise GraphError(f"'block_of' must have one entry per node: {self.graph.num_nodes} (got {len(block_of)})")
        flow = self._flow
        object.__setattr__(self, "block_of", settled(flow, block_of))
        check_order(flow, self.block_of)
        check_boundaries(
            CutRules(flow, self.block_of, self.tied, rebatched), self.graph, self._crossings, self.max_width
        )
        bare = [block for block, paths in enumerate(self.parameters) if not paths]
        if bare and self.num_blocks > 1:
            raise CutError(
                "no parameters",
                f"block {bare[0]} uses no parameter, so that it would have nothing to learn; join it with a neighbour",
            )
        if self.reads == "newest":
            check_coverage(flow, self.block_of, self._crossings, self.parameters)

    # ------------------------------------------------------------------------------------------- constructors

    @classmethod
    def at(cls, graph: ComputationalGraph, boundaries: Sequence[int | str], **options: Any) -> Partition:
        """A partition with given boundaries.

        Args:
            graph: a full trace.
            boundaries: in order, what each block but the last one ends with: a node, by its id, or a module, by its
                path (``"layer1"`` for the end of all that it computes).
            options: the further attributes of :class:`Partition`.

        Raises:
            CutError: if the boundaries are not in order, or one of them breaks a rule.
            GraphError: if there is no such node or module.
        """
        ends = [_place(graph, boundary) for boundary in boundaries]
        steps = Flow(graph).steps
        if ends and steps and ends[-1] >= steps[-1]:
            raise CutError("order", f"nothing is computed behind the last boundary, {boundaries[-1]!r}; leave it out")
        if ends != sorted(set(ends)):
            raise CutError(
                "order",
                f"boundaries must come in the order of forward, each once (got nodes {ends} for {[*boundaries]})",
            )
        block_of, block = [], 0
        for node in range(graph.num_nodes):
            block_of.append(block)
            block += block < len(ends) and node == ends[block]
        return cls(graph=graph, block_of=tuple(block_of), **options)

    @classmethod
    def at_units(
        cls,
        graph: ComputationalGraph,
        boundaries: Sequence[int],
        *,
        among: Sequence[Unit] | None = None,
        **options: Any,
    ) -> Partition:
        """A partition whose blocks end after given units.

        Args:
            graph: a full trace.
            boundaries: positions, in order, of the last unit of each block but the last one.
            among: the units; :func:`units` finds them.
            options: the further attributes of :class:`Partition`.

        Raises:
            CutError: if a boundary is not the end of a unit but the last, or breaks a rule.
        """
        found = _units(graph, among, options)
        bad = [i for i in boundaries if not 0 <= i < len(found) - 1]
        if bad:
            raise CutError(
                "units",
                f"blocks but the last one end after units 0..{len(found) - 2} of {len(found)} (got {bad})",
            )
        return cls.at(graph, [found[i].node for i in boundaries], **options)

    @classmethod
    def uniform(
        cls, graph: ComputationalGraph, num_blocks: int, *, among: Sequence[Unit] | None = None, **options: Any
    ) -> Partition:
        """Blocks of equal counts of units, as far as that divides; see :func:`uniform_ends`.

        Raises:
            CutError: if there are more blocks than units.
        """
        found = _units(graph, among, options)
        return cls.at_units(graph, uniform_ends(len(found), num_blocks), among=found, **options)

    @classmethod
    def balanced(
        cls,
        graph: ComputationalGraph,
        num_blocks: int,
        cost: Cost | Sequence[float] = "macs",
        *,
        ending: Sequence[float] | None = None,
        among: Sequence[Unit] | None = None,
        **options: Any,
    ) -> Partition:
        """Blocks of whole units of which the heaviest is as light as can be; see :func:`balanced_ends`.

        Args:
            graph: a full trace.
            num_blocks: number of blocks.
            cost: what to balance: a field of :class:`BlockCosts`, or a number per unit, such as seconds measured.
            ending: what a block costs besides if it ends with each unit but the last one, as its auxiliary network.
            among: the units; :func:`units` finds them.
            options: the further attributes of :class:`Partition`.

        Raises:
            CutError: if there are more blocks than units.
        """
        found = _units(graph, among, options)
        if isinstance(cost, str):
            _check_cost(cost)
            each = cls.at_units(graph, range(len(found) - 1), among=found, **options)
            cost = [getattr(costs, cost) for costs in each.costs()]
        if len(cost) != len(found):
            raise CutError("units", f"'cost' must have one number per unit: {len(found)} (got {len(cost)})")
        return cls.at_units(graph, balanced_ends(cost, num_blocks, ending), among=found, **options)

    # ------------------------------------------------------------------------------------------------- facts

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return max(self.block_of) + 1

    @cached_property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The nodes of each block."""
        found: list[list[int]] = [[] for _ in range(self.num_blocks)]
        for node, block in enumerate(self.block_of):
            found[block].append(node)
        return tuple(map(tuple, found))

    @cached_property
    def frontiers(self) -> tuple[tuple[int, ...], ...]:
        """The values to detach that cross each boundary, the newest last."""
        return tuple(crossing.frontier for crossing in self._crossings)

    @cached_property
    def passed(self) -> tuple[tuple[int, ...], ...]:
        """The values that cross each boundary as they are: inputs, integers, what is computed without parameters."""
        return tuple(crossing.passed for crossing in self._crossings)

    @cached_property
    def parameters(self) -> tuple[tuple[str, ...], ...]:
        """Paths of the parameters that each block uses, in the order of their use."""
        found: list[dict[str, None]] = [{} for _ in range(self.num_blocks)]
        params = self.graph.params
        users = [(node, path) for path, nodes in self._flow.users.items() if path in params for node in nodes]
        for node, path in sorted(users, key=lambda user: user[0]):
            found[self.block_of[node]][path] = None
        return tuple(map(tuple, found))

    @property
    def shared(self) -> tuple[str, ...]:
        """Paths of the parameters used in several blocks, which get a copy each."""
        count: dict[str, int] = {}
        for paths in self.parameters:
            for path in paths:
                count[path] = count.get(path, 0) + 1
        return tuple(path for path, times in count.items() if times > 1)

    def costs(self, batch_size: int | None = None) -> tuple[BlockCosts, ...]:
        """What each block costs.

        Args:
            batch_size: the batch to scale to, by which all that is computed from inputs is taken to grow (not quite so
                where a reshape copies or not by the size of the batch); None for the traced one.

        Raises:
            GraphError: if the batch size is not positive.
        """
        crossing = [(*a, *b) for a, b in zip(self.frontiers, self.passed, strict=True)]
        return block_costs(self._flow, self.block_of, self.parameters, crossing, batch_size)

    def heaviest(self, cost: Cost = "macs") -> int:
        """The block that costs most, the first of equals."""
        _check_cost(cost)
        found = [getattr(costs, cost) for costs in self.costs()]
        return found.index(max(found))

    def ideal_speedup(self, cost: Cost = "macs") -> float:
        """How much faster than one block after the other a pipeline of the blocks can be: all by the heaviest block."""
        heaviest = self.heaviest(cost)
        found = [getattr(costs, cost) for costs in self.costs()]
        return float(sum(found) / found[heaviest]) if found[heaviest] else 1.0

    # ------------------------------------------------------------------------------------------- conversions

    def to_json(self) -> str:
        """The partition as one JSON object, without its graph."""
        return json.dumps(
            {
                "format": JSON_FORMAT,
                "graph": _fingerprint(self.graph),
                "block_of": self.block_of,
                "max_width": self.max_width,
                "reads": self.reads,
                "tied": self.tied,
            }
        )

    @classmethod
    def from_json(cls, text: str, graph: ComputationalGraph) -> Partition:
        """The partition that :meth:`to_json` wrote, of the same graph; its batch may differ.

        Raises:
            GraphError: if the text is no such object, or is of another graph.
            CutError: if the partition is not valid.
        """
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise GraphError(f"a partition is stored as one JSON object; this text is not JSON: {error}") from error
        if not isinstance(found, dict) or found.get("format") != JSON_FORMAT:
            got = found.get("format") if isinstance(found, dict) else type(found).__name__
            raise GraphError(f'a partition is stored as a JSON object with "format": {JSON_FORMAT} (got {got!r})')
        if found.get("graph") != _fingerprint(graph):
            raise GraphError(
                f"the stored partition is not one of {graph!r}; cut that graph anew, or trace the right model"
            )
        try:
            block_of, max_width = tuple(map(int, found["block_of"])), int(found["max_width"])
            options = {key: found[key] for key in ("reads", "tied")}
        except (KeyError, TypeError, ValueError) as error:
            raise GraphError(f"the stored partition lacks a field or has one of the wrong form: {error!r}") from error
        return cls(graph=graph, block_of=block_of, max_width=max_width, **options)

    def __repr__(self) -> str:
        ends = [self.graph.names[crossing.frontier[-1]] for crossing in self._crossings]
        return f"Partition({self.graph.name or '-'}, num_blocks={self.num_blocks}, behind={ends})"

    # ----------------------------------------------------------------------------------------------- for itself

    @cached_property
    def _flow(self) -> Flow:
        return Flow(self.graph)

    @cached_property
    def _crossings(self) -> tuple[Crossing, ...]:
        return crossings(self._flow, self.block_of)


def _place(graph: ComputationalGraph, boundary: int | str) -> int:
    """The last node before a boundary."""
    if not isinstance(boundary, str):
        if not 0 <= boundary < graph.num_nodes:
            raise GraphError(f"a boundary must be one of the nodes 0..{graph.num_nodes - 1} (got {boundary})")
        return boundary
    inside = [i for i, name in enumerate(graph.names) if name == boundary or name.startswith(f"{boundary}.")]
    if not inside:
        paths = {".".join(name.split(".")[:n]): None for name in graph.names for n in range(1, name.count(".") + 2)}
        near = difflib.get_close_matches(boundary, paths, n=3)
        hint = f"; did you mean {', '.join(map(repr, near))}?" if near else "; see graph.summary() for the names"
        raise GraphError(f"no operation of {graph.name or 'the graph'} was called in a module '{boundary}'{hint}")
    return inside[-1]


def _units(graph: ComputationalGraph, among: Sequence[Unit] | None, options: dict[str, Any]) -> Sequence[Unit]:
    return units(graph, **{k: options[k] for k in ("tied", "rebatched") if k in options}) if among is None else among


def _check_cost(cost: str) -> None:
    if cost not in get_args(Cost):
        raise GraphError(f"'cost' must be one of {', '.join(map(repr, get_args(Cost)))} (got {cost!r})")


def _fingerprint(graph: ComputationalGraph) -> str:
    """What two traces of one model at two batch sizes share."""
    content = json.dumps([graph.ops, graph.names, graph.edge_index.tolist(), graph.param_names, graph.outputs])
    return hashlib.sha256(content.encode()).hexdigest()
