"""The graph type that everything else in the package reads or writes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.graph import _convert as convert
from ppuda_like.graph._effects import Effects

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import Data

__all__ = ["ComputationalGraph", "Shape"]

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ComputationalGraph:
    """The computational graph of one network: operations as nodes, tensors as edges.

    Node ids are topologically sorted, so that every edge points from a lower id to a higher one.  A graph is valid by
    construction: building an invalid one raises.  Two graphs are equal when all of their fields but ``effects`` are.

    A graph has two views.  The *full* trace (``vocabulary is None``) holds every tensor operation under its torch
    name.  Its *lowering* to a vocabulary (see :meth:`lower`) holds primitives only, with each weight and each
    bias of a convolution or linear layer as a node of its own.

    Attributes:
        ops: operation of each node.
        names: qualified name of each node: the path of the parameter it holds, or of the module that called it.
        param_names: paths of the parameters that each node consumes; empty for most nodes of a full trace.
        param_shapes: their shapes, aligned with ``param_names``.
        out_shapes: shape of the first tensor each node makes, for the input the graph was traced with.
        edge_index: long tensor of shape ``(2, num_edges)``, sources and targets, without repeats, ordered by target
            and then by source.
        inputs: nodes that stand for the network's inputs.
        outputs: nodes whose results the network returns, the main one first.
        attributes: what else is known of each node, as JSON values (``groups``, ``kernel_size``, ...).
        flops: floating-point operations of each node, a multiply-accumulate counting as two (torch's convention).
        unreached: parameters of the network that the forward pass never touched.
        tied: pairs (other name, name used here) of parameters known under several names.
        vocabulary: name of the primitive vocabulary, or None for a full trace.
        name: what the graph was made from, for people to read.
        effects: what the operations of a full trace do to memory, one entry per node; None where that is not known.
            It tells where the graph may be cut, and is no part of the graph's identity: neither equality nor
            :attr:`content_hash` looks at it, and :meth:`to_json` leaves it out unless asked.

    Raises:
        GraphError: if lengths differ, an edge points backward or out of range, or a node id is not there.
    """

    ops: tuple[str, ...]
    edge_index: Tensor
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    names: tuple[str, ...] = ()
    param_names: tuple[tuple[str, ...], ...] = ()
    param_shapes: tuple[tuple[Shape, ...], ...] = ()
    out_shapes: tuple[Shape, ...] = ()
    attributes: tuple[Attributes, ...] = ()
    flops: tuple[int, ...] = ()
    unreached: tuple[str, ...] = ()
    tied: tuple[tuple[str, str], ...] = ()
    vocabulary: str | None = None
    name: str = field(default="")
    effects: tuple[Effects, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.ops)
        defaults: dict[str, tuple[Any, ...]] = {
            "names": ("",) * n,
            "param_names": ((),) * n,
            "param_shapes": ((),) * n,
            "out_shapes": ((),) * n,
            "attributes": ({},) * n,
            "flops": (0,) * n,
        }
        for key, default in defaults.items():
            value = tuple(getattr(self, key)) or default
            object.__setattr__(self, key, value)
            if len(value) != n:
                raise GraphError(f"'{key}' must have one entry per node: {n} (got {len(value)})")
        if self.effects is not None and len(self.effects) != n:
            raise GraphError(f"'effects' must have one entry per node: {n} (got {len(self.effects)})")
        edges = self.edge_index
        if edges.dim() != 2 or edges.size(0) != 2 or edges.dtype != torch.long:
            raise GraphError(
                f"'edge_index' must be a long tensor of shape (2, num_edges) (got {edges.dtype}, {tuple(edges.shape)})"
            )
        if edges.size(1):
            source, target = edges
            if int(source.min()) < 0 or int(target.max()) >= n:
                got = f"{int(edges.min())}..{int(edges.max())}"
                raise GraphError(f"'edge_index' must hold node ids 0..{n - 1} (got {got})")
            if bool((source >= target).any()):
                raise GraphError("'edge_index' must point forward (source < target); sort the nodes first")
            key = target * n + source
            if bool((key[1:] < key[:-1]).any()):
                key = key.sort().values
            if bool((key[1:] == key[:-1]).any()):
                raise GraphError("'edge_index' must hold every edge once; drop the repeats first")
            object.__setattr__(self, "edge_index", torch.stack((key % n, key // n)))
        for key in ("inputs", "outputs"):
            nodes = tuple(getattr(self, key))
            object.__setattr__(self, key, nodes)
            if not nodes or not all(0 <= node < n for node in nodes):
                raise GraphError(f"'{key}' must name nodes among 0..{n - 1} (got {nodes})")
        for node, (paths, shapes) in enumerate(zip(self.param_names, self.param_shapes, strict=True)):
            if len(paths) != len(shapes):
                name = self.names[node]
                raise GraphError(f"node {node} ('{name}') has {len(paths)} parameters but {len(shapes)} shapes")

    # ------------------------------------------------------------------------------------------------- facts

    @property
    def num_nodes(self) -> int:
        """Number of operations."""
        return len(self.ops)

    @property
    def num_edges(self) -> int:
        """Number of distinct edges."""
        return self.edge_index.size(1)

    @cached_property
    def params(self) -> dict[str, Shape]:
        """Shape of every parameter that the graph holds, by path; a shared one stands once."""
        return {
            path: shape
            for paths, shapes in zip(self.param_names, self.param_shapes, strict=True)
            for path, shape in zip(paths, shapes, strict=True)
        }

    @cached_property
    def num_params(self) -> int:
        """Number of scalars in the parameters that the graph holds, shared ones counted once."""
        return sum(math.prod(shape) for shape in self.params.values())

    @property
    def total_flops(self) -> int:
        """Floating-point operations of one forward pass; a multiply-accumulate counts as two."""
        return sum(self.flops)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass: half of :attr:`total_flops`."""
        return self.total_flops // 2

    def predecessors(self) -> list[list[int]]:
        """Sources of each node's incoming edges."""
        found: list[list[int]] = [[] for _ in self.ops]
        for source, target in self.edge_index.t().tolist():
            found[target].append(source)
        return found

    def successors(self) -> list[list[int]]:
        """Targets of each node's outgoing edges."""
        found: list[list[int]] = [[] for _ in self.ops]
        for source, target in self.edge_index.t().tolist():
            found[source].append(target)
        return found

    @cached_property
    def content_hash(self) -> str:
        """Hexadecimal SHA-256 of the content; equal for equal graphs on any machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ComputationalGraph):
            return NotImplemented
        return self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __repr__(self) -> str:
        view = self.vocabulary or "full"
        return (
            f"ComputationalGraph({self.name or '-'}, {view}, num_nodes={self.num_nodes}, num_edges={self.num_edges}, "
            f"params={len(self.params)} ({self.num_params:,}), macs={self.macs:,})"
        )

    def summary(self, max_rows: int | None = 60) -> str:
        """A table of the nodes for people: id, operation, name, parameters, output shape, MACs, sources.

        Args:
            max_rows: rows at most, the middle ones being left out; None for all.
        """
        sources = self.predecessors()
        rows = [("id", "op", "name", "parameters", "output", "MACs", "from")]
        for node, op in enumerate(self.ops):
            shapes = " ".join("x".join(map(str, shape)) or "1" for shape in self.param_shapes[node])
            out = "x".join(map(str, self.out_shapes[node]))
            macs = f"{self.flops[node] // 2:,}" if self.flops[node] else ""
            rows.append((str(node), op, self.names[node], shapes, out, macs, " ".join(map(str, sources[node]))))
        widths = [min(44, max(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell[:44].ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        if max_rows is not None and self.num_nodes > max_rows:
            head = 2 + (max_rows + 1) // 2
            tail = len(lines) - max_rows // 2
            lines = [*lines[:head], f"... {tail - head} more ...", *lines[tail:]]
        if self.unreached:
            lines.append(f"unreached by forward: {', '.join(self.unreached)}")
        return "\n".join([repr(self), *lines])

    def node_shapes(self) -> list[tuple[int, int, int, int]]:
        """The 4-D shape feature of each node of a lowered graph; zeros where a node has no shape.

        A weight (n) reads (n, 1, 1, 1); (a, b) reads (a, b, 1, 1); a positional encoding (1, L, C) reads
        (1, C, floor sqrt L, floor sqrt L); any other (a, b, c) reads (a, b, c, 1); a pooling reads (1, 1, kh, kw).
        """
        return [
            _feature_shape(shapes[0]) if shapes else _kernel_shape(attributes)
            for shapes, attributes in zip(self.param_shapes, self.attributes, strict=True)
        ]

    # ------------------------------------------------------------------------------------------- conversions

    def lower(self, vocabulary: str) -> ComputationalGraph:
        """The same network in the primitives of a vocabulary: ``"ppuda"`` or ``"extended"``.

        Raises:
            GraphError: if the vocabulary is unknown, the graph is lowered already, or what is left is not connected.
        """
        from ppuda_like.graph._lower import lower

        return lower(self, vocabulary)

    def to_json(self, *, effects: bool = False) -> str:
        """The graph as one JSON object; :meth:`from_json` is its inverse.

        Args:
            effects: also write :attr:`effects`, so that the graph read back can be cut into blocks.
        """
        return convert.to_json(self, effects=effects)

    @classmethod
    def from_json(cls, text: str) -> ComputationalGraph:
        """The graph that :meth:`to_json` wrote.

        Raises:
            GraphError: if the text is no such object, has another format number, or describes an invalid graph.
        """
        return cls(**convert.fields_from_json(text))

    def to_data(self) -> Data:
        """The graph as torch-geometric ``Data``, to be batched by ``Batch.from_data_list``.

        Of a lowered graph: ``x`` (num_nodes, 1), the primitive's index in the vocabulary, and ``node_shape``
        (num_nodes, 4), the shape feature of each node with zeros where it has none.  Of any graph: ``edge_index``
        (2, num_edges), ``num_nodes``, and the lists ``op``, ``node_name`` and ``param_names``.
        """
        return convert.to_data(self)

    def to_networkx(self) -> nx.DiGraph:
        """The graph as a ``networkx.DiGraph`` whose node and graph attributes are this graph's fields."""
        return convert.to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph) -> ComputationalGraph:
        """The graph of a ``networkx.DiGraph`` with at least ``op`` on each node.

        Node ids may be anything and come in any order: they are sorted topologically, keeping ids that are sorted
        already.  Without ``inputs`` and ``outputs`` on the graph, the nodes without predecessors and without
        successors are taken.

        Raises:
            GraphError: if the graph has a cycle or a node without ``op``.
        """
        return cls(**convert.fields_from_networkx(graph))


def _feature_shape(shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) == 3 and shape[0] == 1 and min(shape[1:]) > 1:
        side = math.isqrt(shape[1])
        return (1, shape[2], side, side)
    a, b, c, d, *_ = (*shape, 1, 1, 1, 1)
    return (a, b, c, d)


def _kernel_shape(attributes: Attributes) -> tuple[int, int, int, int]:
    kernel: Sequence[int] = attributes.get("kernel_size", ())
    return (1, 1, kernel[0], kernel[-1]) if len(kernel) else (0, 0, 0, 0)
