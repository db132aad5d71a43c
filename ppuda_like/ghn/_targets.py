"""Which decoder makes which tensor of a network, and how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.graph import ComputationalGraph, Shape

__all__ = ["DecodeKey", "Target", "class_layer_nodes", "targets_of"]

Kind = Literal["kernel", "grid", "norm_weight", "bias", "scale", "class_weight", "class_bias"]

NORMS = ("bn", "ln")
NO_NORM_HEIGHT = 11


class DecodeKey(NamedTuple):
    """Tensors with the same key are decoded together.

    Attributes:
        kind: which decoder makes them.
        shape: what it is asked for: output channels, input channels, kernel height and width; zeros where it makes all.
        kernel: kernel height and width wanted in the end.
    """

    kind: Kind
    shape: tuple[int, int, int, int]
    kernel: tuple[int, int] = (1, 1)


class Target(NamedTuple):
    """One tensor to predict.

    Attributes:
        name: path of the parameter.
        shape: its shape.
        node: row of its node among the nodes of the batch.
        key: how it is decoded.
        scale: factor of the fan-in normalisation; 1 where there is none.
        status: ``"predicted"``, ``"tiled"`` or ``"resized"``.
        rule: the same in words.
    """

    name: str
    shape: Shape
    node: int
    key: DecodeKey
    scale: float
    status: str
    rule: str


def class_layer_nodes(graph: ComputationalGraph) -> tuple[int, ...]:
    """Nodes of the layer that makes the main output: its weight, then its bias if it has one.

    It is a linear layer at the main output; a network that ends in anything else has no class layer.
    """
    last = graph.outputs[0]
    nodes: tuple[int, ...] = (last,)
    if graph.ops[last] == "bias":
        sources = graph.edge_index[0][graph.edge_index[1] == last].tolist()
        if len(sources) != 1:
            return ()
        nodes = (sources[0], last)
    shapes = graph.param_shapes[nodes[0]]
    return nodes if graph.ops[nodes[0]] == "conv" and len(shapes) == 1 and len(shapes[0]) == 2 else ()


def targets_of(
    graph: ComputationalGraph, config: GHNConfig, *, first_node: int = 0, predict_class_layers: bool = True
) -> Iterator[Target]:
    """The tensors that a hypernetwork predicts for one lowered graph, in order of nodes, each name once.

    Args:
        graph: a graph in the vocabulary ``ppuda``.
        config: what the hypernetwork decodes.
        first_node: row of the graph's first node in its batch.
        predict_class_layers: whether the class layer is among them.

    Raises:
        PredictionError: if the class layer has another number of outputs than the hypernetwork predicts.
    """
    class_nodes = class_layer_nodes(graph)
    if predict_class_layers and class_nodes:
        _check_classes(graph, class_nodes[0], config)
    done: set[str] = set()
    for node, (op, names, shapes) in enumerate(zip(graph.ops, graph.param_names, graph.param_shapes, strict=True)):
        if node in class_nodes and not predict_class_layers:
            continue
        for place, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            if name in done or not shape:
                continue
            done.add(name)
            yield _target(name, shape, first_node + node, _kind(op, shape, place, node in class_nodes), config)


def _check_classes(graph: ComputationalGraph, node: int, config: GHNConfig) -> None:
    outputs = graph.param_shapes[node][0][0]
    if outputs != config.num_classes:
        raise PredictionError(
            f"the class layer '{graph.names[node]}' has {outputs} outputs, this GHN predicts class layers of "
            f"{config.num_classes}; make the network with {config.num_classes} classes, or pass "
            "predict_class_layers=False to leave that layer as it is"
        )


def _kind(op: str, shape: Shape, place: int, in_class_layer: bool) -> Kind:
    if in_class_layer:
        return "class_bias" if op == "bias" else "class_weight"
    if op in NORMS:
        return "bias" if place else "norm_weight"
    if len(shape) == 1:
        return "bias"
    if len(shape) == 3:
        if shape[0] == 1 and min(shape[1:]) > 1:
            return "grid"
        if shape[1] == shape[2] == 1:
            return "scale"
    return "kernel"


def _target(name: str, shape: Shape, node: int, kind: Kind, config: GHNConfig) -> Target:
    key, status, rule = _decoding(shape, kind, config.max_shape, config.centered)
    scale = _fan_in_scale(shape) if config.weight_norm and kind != "grid" else 1.0
    return Target(name, shape, node, key, scale, status, rule)


@lru_cache(maxsize=1 << 14)
def _decoding(
    shape: Shape, kind: Kind, max_shape: tuple[int, int, int, int], centered: bool
) -> tuple[DecodeKey, str, str]:
    """Key of a tensor, and how it is made of a decoded block: status, and words."""
    outputs, inputs, height, width = max_shape
    wanted, limits, asked = (1, 1, 1, 1), max_shape, (0, 0, 0, 0)
    if kind in ("kernel", "grid"):
        wanted = _as_4d(shape) if kind == "kernel" else (1, shape[2], math.isqrt(shape[1]), math.isqrt(shape[1]))
        asked = (
            _rounded(wanted[0], outputs),
            _rounded(wanted[1], inputs),
            min(wanted[2], height),
            min(wanted[3], width),
        )
    elif kind == "class_weight":
        wanted, asked = (1, shape[1], 1, 1), (0, _rounded(shape[1], inputs), 0, 0)
    elif kind != "class_bias":
        wanted = (shape[0], 1, 1, 1)
        limits = (max(outputs, inputs) * (2 if kind == "scale" else 1), 1, 1, 1)
    status, rule = _rule(wanted, limits, centered)
    if kind == "grid" and shape[1] != wanted[2] * wanted[3]:
        rule += f"; {wanted[2] * wanted[3]} places of a grid repeated over {shape[1]} tokens"
    return DecodeKey(kind, asked, wanted[2:]), status, rule


def _as_4d(shape: Shape) -> tuple[int, int, int, int]:
    """Channels and the last two dimensions of a kernel; a kernel of one dimension stands upright."""
    if len(shape) < 4:
        shape = (*shape, 1, 1)[:4]
    return (shape[0], shape[1], shape[-2], shape[-1])


def _rounded(wanted: int, most: int) -> int:
    """Channels decoded for a tensor: rounded up to a power of two, so that few groups arise, at most the decoder's."""
    return min(most, 1 << (wanted - 1).bit_length())


def _rule(wanted: tuple[int, int, int, int], limits: tuple[int, int, int, int], centered: bool) -> tuple[str, str]:
    """How a block of at most ``limits`` becomes a tensor of the wanted sizes: status, and words."""
    if wanted == limits:
        return "predicted", "whole block"
    part = [min(a, b) for a, b in zip(wanted, limits, strict=True)]
    channels, kernel = _by(part[:2]), _by(part[2:])
    cut = centered and tuple(part[2:]) != limits[2:]
    words = f"leading {channels}, central {kernel}" if cut else f"leading {channels}x{kernel}"
    words += f" of a block of {_by(limits)}"
    status = "predicted"
    if wanted[0] > limits[0] or wanted[1] > limits[1]:
        status = "tiled"
        words += ", repeated along channels"
    if wanted[2] > limits[2] or wanted[3] > limits[3]:
        status = "resized"
        words += f", enlarged to {wanted[2]}x{wanted[3]}"
    return status, words


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _fan_in_scale(shape: Shape) -> float:
    """Factor of the fan-in normalisation of a tensor; positional encodings are left alone."""
    if len(shape) < 2 or (len(shape) > 2 and shape[0] == 1 and shape[2] >= NO_NORM_HEIGHT):
        return 1.0
    before_relu = not (len(shape) > 2 and (shape[1] == 1 or (len(shape) > 3 and shape[2] < shape[3])))
    return math.sqrt((2.0 if before_relu else 1.0) / math.prod(shape[1:]))
