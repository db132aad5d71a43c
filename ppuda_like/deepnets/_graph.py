"""The graph of a network from its arguments alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._ops import OPS
from ppuda_like.deepnets._plan import CellPlan, NetworkPlan, plan_network
from ppuda_like.deepnets._writer import Feature, GraphWriter, NodeSink
from ppuda_like.graph import PPUDA, ComputationalGraph, GraphBuilder

__all__ = ["network_flops", "network_graph"]


def network_graph(config: NetworkConfig) -> ComputationalGraph:
    """The graph of a network in the vocabulary ``ppuda``, without building the network.

    It equals what tracing the network in training mode and lowering the trace gives, in every field and in the order
    of nodes, and takes a few milliseconds at most.

    Raises:
        NetworkError: if no path of the network leads from its input to its output.

    Example:
        >>> from ppuda_like import trace
        >>> config = NetworkConfig(C=32, n_cells=5)
        >>> network_graph(config) == trace(config.build("meta")).lower("ppuda")
        True
    """
    nodes = GraphBuilder()
    outputs, unreached = _write_network(config, nodes)
    return nodes.build(outputs, unreached=unreached, vocabulary=PPUDA.name, name="Network")


def network_flops(config: NetworkConfig) -> int:
    """Floating-point operations of a forward pass on one image, a multiply-accumulate counting as two.

    Raises:
        NetworkError: if no path of the network leads from its input to its output.

    Example:
        >>> network_flops(NetworkConfig(C=32, n_cells=5)) == network_graph(NetworkConfig(C=32, n_cells=5)).total_flops
        True
    """
    counter = _FlopCounter()
    _write_network(config, counter)
    return counter.total


class _FlopCounter:
    """Takes nodes and keeps nothing but the sum of their costs."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, op: str, name: str, out_shape: Sequence[int], *, flops: int = 0, **facts: Any) -> int:
        self.total += flops
        return 0


def _write_network(config: NetworkConfig, nodes: NodeSink) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Write all nodes; the outputs, and the parameters that are not reached."""
    plan = plan_network(config)
    if not plan.connected:
        raise NetworkError(
            f"no path leads from the input to the output of {config.n_cells} cells, 'none' is in the way; "
            f"change the genotype ({config.genotype})"
        )
    writer = GraphWriter(config.norm, nodes)
    first, second = _write_stem(writer, config, plan)
    outputs = []
    for index, cell in enumerate(plan.cells):
        first, second = second, _write_cell(writer, f"cells.{index}", config, cell, first, second)
        if config.auxiliary and index == plan.aux_cell:
            outputs.append(_write_auxiliary(writer, config, second))
    if config.glob_avg:
        second = writer.mean("global_pooling", second)
    logits = Feature(second.node, (1, plan.features))
    for layer in range(config.fc_layers):
        last = layer == config.fc_layers - 1
        logits = writer.linear(f"classifier.{3 * layer}", logits, config.num_classes if last else config.fc_dim)
    found = tuple(output.node for output in (logits, *outputs) if output.node is not None)
    return found, tuple(writer.unreached)


def _write_stem(writer: GraphWriter, config: NetworkConfig, plan: NetworkPlan) -> tuple[Feature, Feature]:
    large, c_stem, ks = config.is_imagenet_input, plan.c_stem, config.ks
    x = writer.input(config.input_shape)
    if config.genotype.is_transformer:
        kernel, size = (16, 14) if large else (3, 11)
        x = writer.conv("stem0", x, c_stem, (kernel, kernel), size=(size, size))
        x = writer.encoding("pos_enc", x)
        return x, x
    if config.stem_type == 0:
        stride = 4 if large else 1
        x = writer.norm("stem.1", writer.conv("stem.0", x, c_stem, (ks, ks), (stride, stride)))
        if config.stem_pool:
            x = writer.pool("stem.2", x, "max_pool", 2)
        return x, x
    stride = 2 if large else 1
    x = writer.norm("stem0.1", writer.conv("stem0.0", x, c_stem // 2, (ks, ks), (stride, stride)))
    x = writer.norm("stem0.4", writer.conv("stem0.3", x, c_stem, (3, 3), (stride, stride)))
    y = x if plan.stem_read else Feature(None, x.shape)
    return x, writer.norm("stem1.2", writer.conv("stem1.1", y, c_stem, (3, 3), (2, 2)))


def _write_cell(
    writer: GraphWriter, path: str, config: NetworkConfig, plan: CellPlan, first: Feature, second: Feature
) -> Feature:
    edges, concat = config.genotype.cell(plan.reduction)
    reads = {state for (_, state), live in zip(edges, plan.live, strict=True) if live}
    states = {}
    for state, x in ((0, first), (1, second)):
        if state not in reads:
            x = Feature(None, x.shape)
        name = f"{path}.preprocess{state}"
        shrink = state == 0 and plan.shrink_first
        if config.preproc:
            x = writer.reduction(name, x, plan.channels) if shrink else writer.conv_norm(name, x, plan.channels)
        elif shrink:
            x = writer.subsample(x, 2)
        states[state] = x
    for place, (op, state) in enumerate(edges):
        x = states.get(state, Feature(None, (1, plan.channels, 1, 1)))
        if not plan.live[place]:
            x = Feature(None, x.shape)
        term = OPS[op].write(writer, f"{path}._ops.{place}", x, plan.stride if state < 2 else 1)
        if plan.live[place]:
            target = place // 2 + 2
            states[target] = writer.sum(path, (states[target], term)) if target in states else term
    parts = [states[state] for state in concat if state in states]
    if not parts:
        return Feature(None, (1, plan.c_out, 1, 1))
    return writer.concat(path, parts, len(concat))


def _write_auxiliary(writer: GraphWriter, config: NetworkConfig, x: Feature) -> Feature:
    path = "auxiliary_head.features"
    x = writer.mean(f"{path}.1", x, 2)
    x = writer.norm(f"{path}.3", writer.conv(f"{path}.2", x, 128))
    x = writer.norm(f"{path}.6", writer.conv(f"{path}.5", x, 768, (2, 2), size=(1, 1)))
    return writer.linear("auxiliary_head.classifier", Feature(x.node, (1, 768)), config.num_classes)
