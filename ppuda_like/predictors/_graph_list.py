"""What transformers of graphs take: a sequence of computational graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph

__all__ = ["as_graphs", "named", "rows_of_distinct", "size_groups"]


def as_graphs(graphs: Iterable[ComputationalGraph]) -> list[ComputationalGraph]:
    """The graphs as a list.

    Raises:
        GraphError: if one is something else, a model or a row of a table for instance.
    """
    if isinstance(graphs, ComputationalGraph):
        raise GraphError("pass a list of graphs (got a single one); wrap it in a list")
    found = list(graphs)
    for place, graph in enumerate(found):
        if not isinstance(graph, ComputationalGraph):
            raise GraphError(
                f"entry {place} must be a ComputationalGraph (got {type(graph).__name__}); trace(model) makes one of "
                "a model"
            )
    return found


def named(graph: ComputationalGraph, place: int) -> str:
    """A graph among others, for messages."""
    return f"graph {place} ('{graph.name}')" if graph.name else f"graph {place}"


def rows_of_distinct(
    graphs: Sequence[ComputationalGraph], compute: Callable[[list[ComputationalGraph]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """One row per graph, where ``compute`` is asked once for a graph that stands in several places."""
    places: dict[int, int] = {}
    distinct: list[ComputationalGraph] = []
    for graph in graphs:
        if id(graph) not in places:
            places[id(graph)] = len(distinct)
            distinct.append(graph)
    rows = compute(distinct)
    return rows if len(distinct) == len(graphs) else rows[[places[id(graph)] for graph in graphs]]


def size_groups(graphs: Sequence[ComputationalGraph], most_nodes: int) -> Iterator[list[int]]:
    """Places of graphs of similar size, with at most ``most_nodes`` nodes together, or one larger graph alone."""
    group: list[int] = []
    nodes = 0
    for place in sorted(range(len(graphs)), key=lambda i: graphs[i].num_nodes):
        if group and nodes + graphs[place].num_nodes > most_nodes:
            yield group
            group, nodes = [], 0
        group.append(place)
        nodes += graphs[place].num_nodes
    if group:
        yield group
