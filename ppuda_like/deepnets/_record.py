"""What is kept of one network: its arguments, its graph, its figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._count import count_parameters
from ppuda_like.deepnets._genotype import Edge, Genotype
from ppuda_like.deepnets._graph import network_flops, network_graph
from ppuda_like.deepnets._layers import NORMS
from ppuda_like.deepnets._ops import OPS
from ppuda_like.deepnets._sampler import Rejection, draw_network, imagenet_network
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA, ComputationalGraph, levels, structure_hash

__all__ = [
    "ARGUMENTS",
    "FIGURES",
    "NetRecord",
    "decode_arguments",
    "decode_genotype",
    "draw_record",
    "encode_arguments",
    "encode_genotype",
    "make_record",
]

_DTYPES = {"int": np.int32, "bool": np.bool_, "float": np.float64, "Norm": np.uint8}

ARGUMENTS: dict[str, np.dtype] = {
    known.name: np.dtype(_DTYPES[str(known.type)]) for known in fields(NetworkConfig) if known.name != "genotype"
}
"""Scalar arguments of a network and how they are stored; the norm is the number of its kind."""

FIGURES: dict[str, np.dtype] = {
    "index": np.dtype(np.int64),
    "num_params_cifar10": np.dtype(np.int64),
    "num_params_imagenet": np.dtype(np.int64),
    "flops_cifar10": np.dtype(np.int64),
    "flops_imagenet": np.dtype(np.int64),
    "depth": np.dtype(np.int32),
    "structure_hash": np.dtype(np.uint64),
    **{f"rejected_{reason.name.lower()}": np.dtype(np.uint32) for reason in Rejection},
}
"""Figures of a network and how they are stored; see :meth:`DeepNets.table` for what they are."""

_OP_CODES = {name: code for code, name in enumerate(OPS)}
_OP_NAMES = tuple(OPS)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetRecord:
    """One network of a store.

    Attributes:
        config: its arguments, for 32x32 images.
        figures: a number for each of :data:`FIGURES`.
        primitive: per node, its primitive's index in the vocabulary; ``(num_nodes,)``.
        cell: per node, the cell it belongs to: the first one for the stem, the last one for the classifier.
        name: per node, the path of its parameter within its cell, or its primitive.
        shape: per node, its shape feature; ``(num_nodes, 4)``.
        edge_index: ``(2, num_edges)``, ordered by target and then by source.
    """

    config: NetworkConfig
    figures: dict[str, int]
    primitive: np.ndarray
    cell: np.ndarray
    name: tuple[str, ...]
    shape: np.ndarray
    edge_index: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Number of primitives."""
        return len(self.primitive)


def draw_record(split: str, index: int, seed: int) -> NetRecord:
    """The record of network ``index`` of a split; it depends on the arguments alone."""
    config, rejected = draw_network(split, index, seed)
    return make_record(config, split=split, index=index, rejected=rejected)


def make_record(
    config: NetworkConfig, *, split: str, index: int, rejected: Counter[Rejection] | None = None
) -> NetRecord:
    """The record of a network.

    Args:
        config: its arguments, for 32x32 images.
        split: the split it belongs to, which says how wide it is on ImageNet.
        index: its number in the random stream.
        rejected: how many candidates were passed over before it, by reason.
    """
    graph = network_graph(config)
    imagenet = imagenet_network(config, split)
    counted = rejected or Counter()
    figures = {
        "index": index,
        "num_params_cifar10": count_parameters(config),
        "num_params_imagenet": count_parameters(imagenet),
        "flops_cifar10": graph.total_flops,
        "flops_imagenet": network_flops(imagenet),
        "depth": int(levels(graph).max()),
        "structure_hash": structure_hash(graph),
        **{f"rejected_{reason.name.lower()}": counted[reason] for reason in Rejection},
    }
    cell, name = _places(graph, config.n_cells)
    return NetRecord(
        config=config,
        figures=figures,
        primitive=np.array([PPUDA.index[op] for op in graph.ops], dtype=np.int64),
        cell=np.array(cell, dtype=np.int64),
        name=tuple(name),
        shape=np.array(graph.node_shapes(), dtype=np.int64),
        edge_index=graph.edge_index.numpy(),
    )


def _places(graph: ComputationalGraph, n_cells: int) -> tuple[list[int], list[str]]:
    """The cell of each node, and its name within."""
    cells, names = [], []
    for op, path, parameters in zip(graph.ops, graph.names, graph.param_names, strict=True):
        first, _, rest = path.partition(".")
        name = path if parameters else op
        if first == "cells":
            number, _, inner = rest.partition(".")
            cells.append(int(number))
            name = inner if parameters else op
        else:
            cells.append(n_cells - 1 if first in ("global_pooling", "classifier", "auxiliary_head") else 0)
        names.append(name)
    return cells, names


def encode_arguments(config: NetworkConfig) -> dict[str, int | float | bool]:
    """The scalar arguments as numbers; :func:`decode_arguments` is the inverse."""
    found = {name: getattr(config, name) for name in ARGUMENTS}
    return found | {"norm": NORMS.index(config.norm)}


def decode_arguments(found: dict[str, int | float | bool], genotype: Genotype) -> NetworkConfig:
    """The network of stored arguments.

    Raises:
        DataError: if they are none.
    """
    try:
        return NetworkConfig(genotype=genotype, **(found | {"norm": NORMS[int(found["norm"])]}))  # type: ignore[arg-type]
    except (ValueError, IndexError) as error:
        raise DataError(f"stored network arguments are not valid: {error}") from error


def encode_genotype(genotype: Genotype) -> bytes:
    """A genotype in a few bytes; :func:`decode_genotype` is the inverse.

    For both kinds of cells: number of edges, operation and state of each, number of output states, each of them.

    Example:
        >>> from ppuda_like.deepnets import DARTS
        >>> len(encode_genotype(DARTS)), decode_genotype(encode_genotype(DARTS)) == DARTS
        (44, True)
    """
    code = bytearray()
    for edges, concat in (genotype.cell(reduction=False), genotype.cell(reduction=True)):
        code.append(len(edges))
        for op, state in edges:
            code += bytes((_OP_CODES[op], state))
        code.append(len(concat))
        code += bytes(concat)
    return bytes(code)


def decode_genotype(code: bytes) -> Genotype:
    """The genotype that :func:`encode_genotype` wrote.

    Raises:
        DataError: if the bytes are none.
    """
    try:
        normal, normal_concat, rest = _decode_cell(code)
        reduce, reduce_concat, rest = _decode_cell(rest)
        if rest:
            raise DataError(f"{len(rest)} bytes follow it")
        return Genotype(normal, normal_concat, reduce, reduce_concat)
    except (IndexError, ValueError) as error:
        raise DataError(f"stored bytes are no genotype: {error} ({code[:40].hex()})") from error


def _decode_cell(code: bytes) -> tuple[tuple[Edge, ...], tuple[int, ...], bytes]:
    edges = code[0]
    concat = 2 * edges + 2
    end = concat + code[concat - 1]
    if end > len(code):
        raise DataError("it ends too early")
    pairs = tuple((_OP_NAMES[code[place]], code[place + 1]) for place in range(1, concat - 1, 2))
    return pairs, tuple(code[concat:end]), code[end:]
