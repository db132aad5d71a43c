"""Lowering: a full trace rewritten in the primitives of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ppuda_like.errors import GraphError
from ppuda_like.graph._builder import GraphBuilder
from ppuda_like.graph._graph import ComputationalGraph, Shape
from ppuda_like.graph._squeeze import squeeze_excitations
from ppuda_like.graph._vocabulary import vocabulary

__all__ = ["lower"]

_NORMS = {
    "batch_norm": "bn",
    "layer_norm": "ln",
    "group_norm": "group_norm",
    "instance_norm": "instance_norm",
    "rms_norm": "rms_norm",
}
_CONVS = {
    "conv1d": "conv1d",
    "conv3d": "conv3d",
    "conv_transpose1d": "conv_transpose",
    "conv_transpose2d": "conv_transpose",
    "conv_transpose3d": "conv_transpose",
}
_RECURRENT = frozenset(
    {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
)
_PRODUCTS = frozenset({"matmul", "bmm", "baddbmm", "einsum", "mm", "addmm", "tensordot"})
_WEIGHTED = frozenset(
    {"conv2d", "linear", "bilinear", "embedding", "multi_head_attention_forward", *_CONVS, *_RECURRENT}
)
# What stands between a bias added to attention scores and their softmax.
_SCORE_STEPS = frozenset(
    "add sub mul div view reshape getitem unsqueeze squeeze masked_fill permute transpose flatten "
    "contiguous where".split()
)


@dataclass(frozen=True)
class _Value:
    """What a traced node stands for in the lowered graph.

    ``heads`` are the lowered nodes that its result comes from.  A node computed from parameters alone has none; it
    carries those parameters (``pending``) until an operation on data consumes them.
    """

    heads: tuple[int, ...] = ()
    pending: tuple[tuple[str, Shape], ...] = ()


def lower(graph: ComputationalGraph, name: str) -> ComputationalGraph:
    """Rewrite a full trace in a vocabulary's primitives (arXiv:2110.13100, section 3 and appendix A).

    Nodes that no output depends on are dropped, and so is every operation that is no primitive: edges run through it.
    Each weight, and each bias of a convolution or linear layer, is a node of its own, the bias after its weight; the
    weight and bias of a normalisation share one node.  ``sum`` and ``concat`` stand only where two or more distinct
    inputs meet.  A squeeze-and-excitation block keeps its two convolutions and ends in ``cse``; attention keeps its
    projections and ends in ``msa``.

    Args:
        graph: a full trace.
        name: ``"ppuda"`` or ``"extended"``.

    Raises:
        GraphError: if the vocabulary is unknown, the graph is lowered already, or its main output does not depend on
            any input.
    """
    words = vocabulary(name)
    if graph.vocabulary is not None:
        raise GraphError(f"the graph of {graph.name} is already lowered to {graph.vocabulary!r}; lower the full trace")
    return _Lowering(graph, words.__contains__, name).run()


class _Lowering:
    """One pass over a full trace in topological order, with a rule per operation."""

    def __init__(self, graph: ComputationalGraph, knows: Callable[[str], bool], vocabulary_name: str) -> None:
        self.graph = graph
        self.knows = knows
        self.vocabulary_name = vocabulary_name
        self.sources = graph.predecessors()
        self.live = _live_nodes(graph, self.sources)
        self.feeds_softmax = self._find_scores()
        self.squeezes, self.excitations = squeeze_excitations(graph, self.sources)
        self.after_softmax = [False] * graph.num_nodes
        self.values = [_Value()] * graph.num_nodes
        self.nodes = GraphBuilder()
        self.from_input: set[int] = set()

    def run(self) -> ComputationalGraph:
        graph = self.graph
        for node in range(graph.num_nodes):
            if self.live[node]:
                first = len(self.nodes.ops)
                self.values[node] = self._rewrite(node)
                if graph.flops[node] and len(self.nodes.ops) > first:
                    # those of a layer belong to its weight, those of a product to what it makes
                    self.nodes.flops[first if graph.ops[node] in _WEIGHTED else -1] = graph.flops[node]
        outputs = _unique(head for node in graph.outputs for head in self.values[node].heads)
        if not outputs or outputs[0] not in self.from_input:
            raise GraphError(
                f"the graph of {graph.name} is not connected: its main output (node {graph.outputs[0]}, "
                f"'{graph.names[graph.outputs[0]]}') does not depend on any input, so it has no lowering; check that "
                "forward uses its input and returns the result first"
            )
        dead = [path for node, paths in enumerate(graph.param_names) if not self.live[node] for path in paths]
        live = {path for node, paths in enumerate(graph.param_names) if self.live[node] for path in paths}
        return self.nodes.build(
            outputs,
            unreached=graph.unreached + _unique(path for path in dead if path not in live),
            tied=graph.tied,
            vocabulary=self.vocabulary_name,
            name=graph.name,
        )

    def _find_scores(self) -> list[bool]:
        """For each node, whether its result goes on to a softmax as attention scores."""
        graph = self.graph
        feeds = [False] * graph.num_nodes
        for node in range(graph.num_nodes - 1, -1, -1):
            if graph.ops[node] == "softmax" or (feeds[node] and graph.ops[node] in _SCORE_STEPS):
                for source in self.sources[node]:
                    feeds[source] = True
        return feeds

    # ----------------------------------------------------------------------------------------------- emitting

    def _emit(
        self,
        op: str,
        node: int,
        heads: tuple[int, ...],
        parameters: Iterable[tuple[str, Shape]] = (),
        **attributes: Any,
    ) -> tuple[int, ...]:
        """Add a lowered node behind ``heads`` for the traced ``node``; its id, as the new heads."""
        parameters = tuple(parameters)
        name = parameters[0][0] if parameters else self.graph.names[node]
        new = self.nodes.add(
            op, name, self.graph.out_shapes[node], sources=heads, parameters=parameters, attributes=attributes
        )
        if not self.from_input.isdisjoint(heads):
            self.from_input.add(new)
        return (new,)

    def _emit_if_known(
        self,
        op: str,
        node: int,
        heads: tuple[int, ...],
        parameters: Iterable[tuple[str, Shape]] = (),
        **attributes: Any,
    ) -> tuple[int, ...]:
        return self._emit(op, node, heads, parameters, **attributes) if self.knows(op) else heads

    def _roles(self, node: int) -> dict[str, tuple[str, Shape]]:
        """The parameters that a traced node consumes directly, by the argument they stand in."""
        graph = self.graph
        pairs = list(zip(graph.param_names[node], graph.param_shapes[node], strict=True))
        roles = graph.attributes[node].get("roles") or [""] * len(pairs)
        found: dict[str, tuple[str, Shape]] = {}
        for i, (role, pair) in enumerate(zip(roles, pairs, strict=True)):
            found[role if role and role not in found else f"{role}#{i}"] = pair
        return found

    # -------------------------------------------------------------------------------------------------- rules

    def _rewrite(self, node: int) -> _Value:
        op = self.graph.ops[node]
        operands = [self.values[source] for source in self.sources[node]]
        heads = _unique(head for value in operands for head in value.heads)
        pending = _unique(parameter for value in operands for parameter in value.pending)
        self.after_softmax[node] = op == "softmax" or (
            op not in _PRODUCTS and any(self.after_softmax[source] for source in self.sources[node])
        )
        if op == "input":
            new = self._emit("input", node, ())
            self.from_input.update(new)
            return _Value(new)
        if op in _WEIGHTED:
            return _Value(self._weighted(op, node, heads, pending))
        roles = self._roles(node)
        if not heads:  # an expression of parameters alone
            return _Value((), _unique([*pending, *roles.values()]))
        if op in _NORMS:
            parameters = [roles[key] for key in ("weight", "bias") if key in roles] or list(pending)
            return _Value(self._emit_if_known(_NORMS[op], node, heads, parameters) if parameters else heads)
        if op in ("add", "sub", "mul", "cat", "stack") or op in _PRODUCTS:
            heads = self._consume(op, node, heads, _unique([*roles.values(), *pending]))
            return _Value(self._merge(op, node, operands, heads))
        if op == "scaled_dot_product_attention":
            heads = self._consume(op, node, heads, _unique([*roles.values(), *pending]))
            return _Value(self._emit("msa", node, heads))
        if op.startswith(("max_pool", "avg_pool")):
            kernel = self.graph.attributes[node].get("kernel_size", [])
            return _Value(self._emit(op[:8], node, heads, kernel_size=list(kernel)))
        if self._is_global_average(op, node):
            return _Value(heads if node in self.squeezes else self._emit("glob_avg", node, heads))
        for parameter in _unique([*roles.values(), *pending]):
            heads = self._emit_if_known("prelu" if op == "prelu" else "parameter", node, heads, [parameter])
        return _Value(heads)

    def _weighted(
        self, op: str, node: int, heads: tuple[int, ...], pending: tuple[tuple[str, Shape], ...]
    ) -> tuple[int, ...]:
        """Convolutions, linear layers, embeddings, attention and recurrent layers: a node per weight and bias."""
        roles = self._roles(node)
        if op == "multi_head_attention_forward":
            return self._attention(node, heads, roles)
        if op in _RECURRENT:
            for path, shape in roles.values() if self.knows("rnn") else ():
                heads = self._emit("rnn" if len(shape) > 1 else "bias", node, heads, [(path, shape)])
            return heads
        kind = self._kind(op, node)
        if not self.knows(kind):
            return heads
        # A weight or bias may be an expression of parameters, a parametrization say. Its node then holds all of them,
        # the one with most entries first, since that one has the weight's shape.
        expression = sorted(pending, key=lambda parameter: -_size(parameter[1]))
        weights = [roles["weight"]] if "weight" in roles else expression
        biases = [roles["bias"]] if "bias" in roles else expression if "weight" in roles else []
        if weights:
            heads = self._emit(kind, node, heads, weights)
        if biases:
            heads = self._emit("bias", node, heads, biases)
        return heads

    def _kind(self, op: str, node: int) -> str:
        if op != "conv2d":
            return _CONVS.get(op, op if op == "embedding" else "conv")
        attributes = self.graph.attributes[node]
        if attributes.get("groups", 1) == 1:
            return "conv"
        dilation = attributes.get("dilation", 1)
        return "dil_conv" if min(dilation if isinstance(dilation, list) else [dilation]) > 1 else "sep_conv"

    def _attention(self, node: int, heads: tuple[int, ...], roles: dict[str, tuple[str, Shape]]) -> tuple[int, ...]:
        """``F.multi_head_attention_forward``: projections, the attention product, the output projection."""
        after = ("out_proj_weight", "out_proj_bias")
        for role, parameter in roles.items():
            if role not in after:
                kind = "bias" if role in ("in_proj_bias", "bias_k", "bias_v") else "conv"
                heads = self._emit(kind, node, heads, [parameter])
        heads = self._emit("msa", node, heads)
        for role, kind in zip(after, ("conv", "bias"), strict=True):
            if role in roles:
                heads = self._emit(kind, node, heads, [roles[role]])
        return heads

    def _consume(
        self, op: str, node: int, heads: tuple[int, ...], parameters: tuple[tuple[str, Shape], ...]
    ) -> tuple[int, ...]:
        """Parameters that meet data in a plain operation, each by its meaning; the heads that then meet."""
        for path, shape in parameters:
            kind = self._meaning(op, node, shape)
            if not self.knows(kind):
                continue
            if kind in ("pos_enc", "class_token", "rel_pos_bias"):  # a source of its own, met by the data
                heads = (*heads, *self._emit(kind, node, (), [(path, shape)]))
            else:
                heads = self._emit(kind, node, heads, [(path, shape)])
        return heads

    def _meaning(self, op: str, node: int, shape: Shape) -> str:
        vector = _size(shape) == max(shape, default=1)
        if op == "scaled_dot_product_attention" or (op == "add" and self.feeds_softmax[node]):
            return "rel_pos_bias"
        if op in ("add", "sub"):
            if not vector and shape[0] == 1 and len(shape) in (3, 4) and _size(shape) > max(shape):
                return "pos_enc"
            return "bias" if vector else "parameter"
        if op == "mul":
            return "layer_scale" if vector and _size(shape) > 1 else "scale"
        return "class_token" if op in ("cat", "stack") else "matmul"

    def _merge(self, op: str, node: int, operands: list[_Value], heads: tuple[int, ...]) -> tuple[int, ...]:
        if op in _PRODUCTS:
            product = any(self.after_softmax[source] for source in self.sources[node]) and len(operands) > 1
            return self._emit("msa", node, heads) if product else heads
        if op == "mul":
            return self._emit("cse", node, heads) if node in self.excitations else heads
        meeting = {value.heads for value in operands if value.heads}
        known = {head for value in operands for head in value.heads}
        if len(heads) < 2 or op == "sub" or (len(meeting) < 2 and known.issuperset(heads)):
            return heads  # what meets comes from one place, or is a constant
        return self._emit("sum" if op == "add" else "concat", node, heads)

    def _is_global_average(self, op: str, node: int) -> bool:
        if op.startswith("adaptive_avg_pool"):
            return True
        attributes = self.graph.attributes[node]
        if op != "mean" or not attributes.get("keepdim"):
            return False
        before = self.graph.out_shapes[self.sources[node][0]]
        dims = attributes.get("dim", [])
        dims = {d % len(before) for d in (dims if isinstance(dims, list) else [dims])}
        return len(before) > 2 and dims == set(range(2, len(before)))


def _live_nodes(graph: ComputationalGraph, sources: list[list[int]]) -> list[bool]:
    """For each node, whether an output depends on it; inputs always count."""
    live = [False] * graph.num_nodes
    for node in (*graph.outputs, *graph.inputs):
        live[node] = True
    for node in range(graph.num_nodes - 1, -1, -1):
        if live[node]:
            for source in sources[node]:
                live[source] = True
    return live


def _unique(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
