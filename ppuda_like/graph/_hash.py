"""A hash of graphs that does not depend on the order of nodes."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np

from ppuda_like.graph._graph import ComputationalGraph, Shape

__all__ = ["structure_hash"]

_INCOMING, _OUTGOING = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


def structure_hash(graph: ComputationalGraph) -> int:
    """64 bits that two graphs share if they are isomorphic, and hardly ever otherwise; the same on any machine.

    Nodes count by their operation, the shapes of their parameters, their attributes, and whether they are inputs or
    outputs; names do not.  Colours are refined along edges in both directions (Weisfeiler and Lehman, 1968; as
    directed colour refinement) until no refinement tells more nodes apart.

    Example:
        >>> from ppuda_like.graph import make_edge_index
        >>> def chain(*ops):
        ...     edges = make_edge_index((i, i + 1) for i in range(len(ops) - 1))
        ...     return ComputationalGraph(ops=ops, edge_index=edges, inputs=(0,), outputs=(len(ops) - 1,))
        >>> structure_hash(chain("input", "conv")) == structure_hash(chain("input", "conv"))
        True
        >>> structure_hash(chain("input", "conv")) == structure_hash(chain("input", "bn"))
        False
    """
    colour = np.array(
        [
            _label(op, shapes, json.dumps(dict(attributes), sort_keys=True) if attributes else "")
            for op, shapes, attributes in zip(graph.ops, graph.param_shapes, graph.attributes, strict=True)
        ],
        dtype=np.uint64,
    )
    colour[list(graph.inputs)] ^= _INCOMING
    colour[list(graph.outputs)] ^= _OUTGOING
    source, target = graph.edge_index.numpy()
    kinds, refined = len(np.unique(colour)), 0
    while True:  # a colour depends on the one before, so kinds never merge: once none is added, none ever will be
        received, sent = np.zeros_like(colour), np.zeros_like(colour)
        np.add.at(received, target, _mixed(colour[source] ^ _INCOMING))
        np.add.at(sent, source, _mixed(colour[target] ^ _OUTGOING))
        colour = _mixed(colour + _mixed(received + _INCOMING) + _mixed(sent ^ _OUTGOING))
        before, kinds = kinds, len(np.unique(colour))
        refined += 1
        if kinds == before:
            break
    total = np.array([_mixed(colour).sum()], dtype=np.uint64)
    return int(_mixed(total + np.uint64(len(colour)) + (np.uint64(refined) << np.uint64(32)))[0])


@lru_cache(maxsize=1 << 16)
def _label(op: str, shapes: tuple[Shape, ...], attributes: str) -> int:
    plain = tuple(tuple(int(size) for size in shape) for shape in shapes)  # whatever kind of tuples and integers
    digest = hashlib.blake2b(repr((op, plain, attributes)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Bits well mixed: the finaliser of SplitMix64 (doi:10.1145/2660193.2660195)."""
    values = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _FACTORS[1]
    values ^= values >> _SHIFTS[2]
    return values
