"""Graphs made node by node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ppuda_like.graph._edges import make_edge_index
from ppuda_like.graph._graph import ComputationalGraph, Shape

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Collects nodes in topological order; :meth:`build` makes the graph."""

    def __init__(self) -> None:
        self.ops: list[str] = []
        self.edges: list[tuple[int, int]] = []
        self.inputs: list[int] = []
        self.flops: list[int] = []
        self._names: list[str] = []
        self._param_names: list[tuple[str, ...]] = []
        self._param_shapes: list[tuple[Shape, ...]] = []
        self._out_shapes: list[Shape] = []
        self._attributes: list[dict[str, Any]] = []

    def add(
        self,
        op: str,
        name: str,
        out_shape: Sequence[int],
        *,
        sources: Iterable[int] = (),
        parameters: Iterable[tuple[str, Shape]] = (),
        attributes: dict[str, Any] | None = None,
        flops: int = 0,
    ) -> int:
        """Append a node behind its sources; its id."""
        node = len(self.ops)
        paths, shapes = tuple(zip(*parameters, strict=True)) or ((), ())
        self.ops.append(op)
        self._names.append(name)
        self._out_shapes.append(tuple(out_shape))
        self._param_names.append(paths)
        self._param_shapes.append(shapes)
        self._attributes.append(attributes or {})
        self.flops.append(flops)
        self.edges += [(source, node) for source in sources]
        if op == "input":
            self.inputs.append(node)
        return node

    def build(self, outputs: tuple[int, ...], **facts: Any) -> ComputationalGraph:
        """The graph, ``facts`` being its remaining fields."""
        return ComputationalGraph(
            ops=tuple(self.ops),
            names=tuple(self._names),
            param_names=tuple(self._param_names),
            param_shapes=tuple(self._param_shapes),
            out_shapes=tuple(self._out_shapes),
            attributes=tuple(self._attributes),
            flops=tuple(self.flops),
            edge_index=make_edge_index(self.edges),
            inputs=tuple(self.inputs),
            outputs=outputs,
            **facts,
        )
