"""How networks differ between the files of the released DeepNets-1M and their arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ppuda_like.deepnets._record import NetRecord
from ppuda_like.deepnets._released_file import ReleasedNet
from ppuda_like.deepnets._released_terms import path_lengths, stated_params
from ppuda_like.graph import PPUDA, ComputationalGraph, structure_hash

__all__ = ["Difference", "ImportReport", "compare"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a released file says of a network and that the network rebuilt from its arguments is not.

    Attributes:
        split: split of the network.
        index: number of the network.
        what: kind of difference.  Of the figures in the JSON file: ``num_params cifar10``, ``num_params imagenet`` (at
            C=32 and with ten classes for both) and ``num_nodes``.  Of the graph: ``nodes``, ``nodes: <primitive>``,
            ``edges``; ``shape``, where the numbers of nodes and edges agree, but the graph without the primitives does
            not, by :func:`structure_hash`; ``distances``, entries of the adjacency matrix that are not the shortest
            paths along its own edges.  Of the rows of nodes: ``parameters``, names of parameters; ``cells``, nodes
            without parameters in the cell they belong to; ``rows``, edges of the rebuilt graph found between the rows
            that the adjacency matrix joins, so fewer if rows and matrix are in different orders.  Primitives of which
            there are more or fewer nodes do not count as ``cells`` or ``rows``.
        in_file: in the file; for ``parameters``, ``cells`` and ``rows``, how many agree.
        rebuilt: by the arguments; for ``parameters``, ``cells`` and ``rows``, how many there are.
    """

    split: str
    index: int
    what: str
    in_file: int | str
    rebuilt: int | str


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What :func:`import_ppuda` read, and how it differs from what the arguments of the networks say.

    Attributes:
        path: the store.
        num_nets: networks by split.
        differences: all that differs, in the order of the networks.
    """

    path: Path
    num_nets: dict[str, int]
    differences: tuple[Difference, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of networks by kind of difference, the most frequent first."""
        return dict(Counter(found.what for found in self.differences).most_common())

    @property
    def num_equal(self) -> int:
        """Number of networks that differ in nothing."""
        differing = {(found.split, found.index) for found in self.differences}
        return sum(self.num_nets.values()) - len(differing)

    def table(self) -> str:
        """The kinds of differences, how many networks show each, and one of them, as text.

        Example:
            >>> found = Difference("test", 7, "edges", in_file=120, rebuilt=124)
            >>> print(ImportReport(path=Path("nets.h5"), num_nets={"test": 500}, differences=(found,)).table())
            nets.h5: 500 networks of split test, 499 of them exactly as in the file
            difference  networks  for example
            edges       1         network 7 of test: 120 in the file, 124 rebuilt
        """
        first = {found.what: found for found in reversed(self.differences)}
        rows = [("difference", "networks", "for example")]
        rows += [(what, f"{count:,}", _example(first[what])) for what, count in self.counts.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        sizes = ", ".join(f"{size:,} networks of split {split}" for split, size in self.num_nets.items())
        lines = [f"{self.path}: {sizes}, {self.num_equal:,} of them exactly as in the file"]
        if self.differences:
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def compare(net: ReleasedNet, record: NetRecord) -> Iterator[tuple[str, int | str, int | str]]:
    """For each kind of difference, what the files say of a network and what it is; see :class:`Difference`."""
    for inputs, count in stated_params(record.config).items():
        yield f"num_params {inputs}", net.num_params[inputs], count
    yield "num_nodes", net.num_nodes, record.num_nodes
    yield "nodes", len(net.primitive), record.num_nodes
    listed, made = (np.bincount(graph.primitive, minlength=len(PPUDA.primitives)) for graph in (net, record))
    for primitive, *counts in zip(PPUDA.primitives, listed.tolist(), made.tolist(), strict=True):
        yield f"nodes: {primitive}", *counts
    yield "edges", net.edge_index.shape[1], record.edge_index.shape[1]
    if (len(net.primitive), net.edge_index.shape) == (record.num_nodes, record.edge_index.shape):
        yield "shape", _shape(net.edge_index, len(net.primitive)), _shape(record.edge_index, record.num_nodes)
    yield "distances", int((path_lengths(net.edge_index, len(net.primitive)) != net.adjacency).sum()), 0
    complete = set(np.flatnonzero(listed == made).tolist())
    for what in ("parameters", "cells", "rows"):
        found, sought = (_told(what, graph, complete) for graph in (net, record))
        yield what, (found & sought).total(), sought.total()


def _example(found: Difference) -> str:
    both = f"{found.in_file} in the file, {found.rebuilt} rebuilt"
    return f"network {found.index} of {found.split}: {both}"


def _told(what: str, graph: ReleasedNet | NetRecord, complete: set[int]) -> Counter[Hashable]:
    """What the rows of a graph say, in no order: its parameters, cells of other nodes, or edges."""
    primitives = graph.primitive.tolist()
    nodes = list(zip(primitives, graph.cell.tolist(), map(_name, graph.name), strict=True))
    if what == "parameters":
        return Counter((cell, name) for _, cell, name in nodes if "." in name)
    if what == "cells":
        return Counter((cell, kind) for kind, cell, name in nodes if "." not in name and kind in complete)
    # Nodes without parameters are known by their primitives alone, as their cells may be wrong.
    labels = [(cell, name) if "." in name else kind for kind, cell, name in nodes]
    return Counter(
        (labels[source], labels[target])
        for source, target in graph.edge_index.T.tolist()
        if primitives[source] in complete and primitives[target] in complete
    )


def _name(name: str) -> str:
    """The name of a node, in either spelling of the output layer of an attention."""
    return name.replace("to_out.0.", "to_out.")


def _shape(edge_index: np.ndarray, num_nodes: int) -> str:
    """A hash of a graph whose nodes are all alike."""
    edges = torch.from_numpy(edge_index)
    graph = ComputationalGraph(ops=("sum",) * num_nodes, edge_index=edges, inputs=(0,), outputs=(num_nodes - 1,))
    return f"{structure_hash(graph):016x}"
