"""The blocks of a partition found in a graph of torch.fx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, Partition
from ppuda_like.graph._isolate import borrowed
from ppuda_like.graph._recorder import Recorder, to_meta
from ppuda_like.graph._results import meta_empty

__all__ = ["Located", "locate"]


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where the nodes of an fx graph belong.

    Attributes:
        block_of: block of each node that computes something.
        crossing: the nodes that cross each boundary: first those of the frontier, then those that pass as they are.
    """

    block_of: dict[fx.Node, int]
    crossing: tuple[tuple[tuple[fx.Node, ...], tuple[fx.Node, ...]], ...]


def locate(model: nn.Module, graph: fx.Graph, partition: Partition) -> Located:
    """Find the blocks of a partition in an fx graph of the same model.

    The fx graph runs on the meta device, recorded as :func:`ppuda_like.graph.trace` records the model, node by node.

    Raises:
        GraphError: if that is not the computation which was cut.
    """
    steps = _record(model, graph, partition.graph)
    blocks = partition.block_of
    block_of: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        found = {blocks[i] for i in steps[node].made}
        if len(found) > 1:
            raise GraphError(
                f"the boundary of a block goes through '{node.target}', which torch.fx calls as a whole; cut elsewhere"
            )
        # What makes no value of its own (sizes, picking from a tuple, dropout in evaluation) stays with its sources.
        before = [block_of.get(source, 0) for source in node.all_input_nodes]
        block_of[node] = found.pop() if found else max(before, default=0)
    last: dict[fx.Node, int] = {}
    for node in graph.nodes:
        user = partition.num_blocks - 1 if node.op == "output" else block_of.get(node, 0)
        for source in node.all_input_nodes:
            last[source] = max(last.get(source, 0), user)
    crossing = []
    for boundary in range(partition.num_blocks - 1):
        frontier = {value: i for i, value in enumerate(partition.frontiers[boundary])}
        values: list[fx.Node] = []
        passed: list[fx.Node] = []
        for node in graph.nodes:
            if node.op != "get_attr" and block_of.get(node, 0) <= boundary < last.get(node, 0):
                (values if steps[node].value in frontier else passed).append(node)
        if {steps[node].value for node in values} != {*frontier}:
            missing = [partition.graph.names[i] for i in frontier if i not in {steps[node].value for node in values}]
            raise GraphError(
                f"torch.fx does not see the values {missing} that cross boundary {boundary} as values of their own; "
                "cut elsewhere"
            )
        values.sort(key=lambda node, order=frontier: order[steps[node].value])  # type: ignore[misc]
        crossing.append((tuple(values), tuple(passed)))
    return Located(block_of=block_of, crossing=tuple(crossing))


@dataclass(frozen=True)
class _Step:
    """What an fx node recorded: the nodes of the trace it made, and the one that made its value (-1 for none)."""

    made: range
    value: int


class _Stepper(fx.Interpreter):
    """Runs an fx graph and writes down what each of its nodes makes."""

    def __init__(self, module: fx.GraphModule, graph: fx.Graph, recorder: Recorder) -> None:
        super().__init__(module, graph=graph)
        self.recorder = recorder
        self.steps: dict[fx.Node, _Step] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        before = len(self.recorder.nodes.ops)
        result = super().run_node(n)
        made = range(before, len(self.recorder.nodes.ops))
        value = -1
        if isinstance(result, Tensor):
            value = self.recorder._maker.get(id(result), -1)
        self.steps[n] = _Step(made, value)
        return result


def _record(model: nn.Module, graph: fx.Graph, wanted: ComputationalGraph) -> dict[fx.Node, _Step]:
    paths: dict[int, str] = {}
    first: dict[int, str] = {}
    modules: dict[str, nn.Module] = {}
    for prefix, module in model.named_modules():
        modules[prefix] = module
        for key, parameter in module._parameters.items():
            if parameter is not None:
                first.setdefault(id(parameter), f"{prefix}.{key}" if prefix else key)

    def swap(path: str, tensor: Tensor) -> Tensor:
        if id(tensor) not in first:
            return to_meta(tensor)
        new = nn.Parameter(to_meta(tensor), requires_grad=tensor.requires_grad)
        paths[id(new)] = first[id(tensor)]
        return new

    recorder = Recorder(paths, {}, meta=True)
    effects = wanted.effects or ()
    inputs = []
    for node in wanted.inputs:
        kind: torch.dtype = getattr(torch, effects[node].dtypes[0])
        inputs.append(meta_empty(wanted.out_shapes[node], kind))
        recorder.add_input(wanted.names[node], inputs[-1])
    with borrowed(modules, swap):
        stepper = _Stepper(model, graph, recorder)  # type: ignore[arg-type]  # any module with these attributes does
        try:
            with recorder:
                stepper.run(*inputs, enable_io_processing=False)
        except Exception as error:  # whatever user code raises is reported
            raise GraphError(
                f"what torch.fx made of {type(model).__name__} cannot run on the inputs it was traced with "
                f"({type(error).__name__}: {error}); a network whose forward needs values, or takes anything but "
                "tensors one by one, can be cut only if its own forward does not"
            ) from error
    found = recorder.nodes
    edges = set(map(tuple, wanted.edge_index.t().tolist()))
    if tuple(found.ops) != wanted.ops or {*found.edges} != edges or tuple(found._param_names) != wanted.param_names:
        place = next((i for i, (a, b) in enumerate(zip(found.ops, wanted.ops, strict=False)) if a != b), None)
        where = "" if place is None else f": the first difference is '{found.ops[place]}' for '{wanted.ops[place]}'"
        raise GraphError(
            f"the model and the partition's graph do not agree ({len(found.ops)} operations, the trace has "
            f"{wanted.num_nodes}{where}); trace the model in the mode that it is in now, and cut that trace"
        )
    return stepper.steps
