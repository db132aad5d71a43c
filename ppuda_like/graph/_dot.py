"""Graphs in the DOT language, and pictures by Graphviz where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from ppuda_like.errors import GraphError
from ppuda_like.graph._block_colors import block_groups
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._palette import node_groups, text_color

if TYPE_CHECKING:
    from ppuda_like.graph._partition import Partition

__all__ = ["render_dot", "to_dot"]


def to_dot(graph: ComputationalGraph, *, vertical: bool = True, partition: Partition | None = None) -> str:
    """The graph in the DOT language of Graphviz: a coloured box per node with operation, name and parameter shapes.

    Args:
        graph: any graph.
        vertical: levels from top to bottom; otherwise from left to right.
        partition: blocks of the graph, to be told apart by colour instead of the operations.

    Raises:
        GraphError: if the partition is of another graph.

    Example:
        >>> from ppuda_like.graph import ComputationalGraph, make_edge_index
        >>> graph = ComputationalGraph(
        ...     ops=("input", "conv"), edge_index=make_edge_index([(0, 1)]), inputs=(0,), outputs=(1,)
        ... )
        >>> print(to_dot(graph))
        digraph "graph" {
          rankdir=TB;
          node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10, height=0.25, color="#00000033"];
          edge [color="#6b7078", arrowsize=0.6];
          0 [label="input", fillcolor="#222222", fontcolor="#ffffff", penwidth=2, color="#000000"];
          1 [label="conv", fillcolor="#0072b2", fontcolor="#ffffff", penwidth=2, color="#000000"];
          0 -> 1;
        }
    """
    ends = {*graph.inputs, *graph.outputs}
    lines = [
        f"digraph {_quote(graph.name or 'graph')} {{",
        f"  rankdir={'TB' if vertical else 'LR'};",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10, height=0.25, '
        'color="#00000033"];',
        '  edge [color="#6b7078", arrowsize=0.6];',
    ]
    groups = node_groups(graph) if partition is None else block_groups(graph, partition)
    for node, (_, color) in enumerate(groups):
        shapes = " ".join("x".join(map(str, shape)) for shape in graph.param_shapes[node])
        label = "\n".join(line for line in (graph.ops[node], graph.names[node], shapes) if line)
        mark = ', penwidth=2, color="#000000"' if node in ends else ""
        lines.append(f'  {node} [label={_quote(label)}, fillcolor="{color}", fontcolor="{text_color(color)}"{mark}];')
    lines += [f"  {source} -> {target};" for source, target in graph.edge_index.t().tolist()]
    return "\n".join([*lines, "}"])


def render_dot(source: str, format: str) -> bytes:
    """A picture of DOT source by Graphviz's ``dot``.

    Args:
        source: text in the DOT language.
        format: what ``dot -T`` knows: ``"svg"``, ``"png"``, ``"pdf"``, ...

    Raises:
        GraphError: if Graphviz is not installed, or refuses the source or the format.
    """
    program = shutil.which("dot")
    if program is None:
        raise GraphError(
            "Graphviz is not installed: there is no program 'dot' on the PATH; install it (Debian, Ubuntu: apt-get "
            "install graphviz; conda: conda install graphviz; macOS: brew install graphviz), or use engine='layout'"
        )
    done = subprocess.run([program, f"-T{format}"], input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        raise GraphError(
            f"Graphviz could not draw the graph as {format!r}: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
