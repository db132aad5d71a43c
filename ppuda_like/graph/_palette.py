"""One colour per primitive, and one per family of operations for full traces; told apart by colour-blind readers too.

The base is the palette of Okabe and Ito; relatives of a primitive share its hue and differ in lightness.
"""

from __future__ import annotations

import re
from functools import cache

from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["FAMILIES", "PRIMITIVES", "family", "node_groups", "text_color"]

PRIMITIVES: dict[str, str] = {
    "input": "#222222",
    "conv": "#0072b2",
    "sep_conv": "#56b4e9",
    "dil_conv": "#0b3c6f",
    "conv1d": "#7f9fd1",
    "conv3d": "#3a5fa8",
    "conv_transpose": "#a9d7f5",
    "matmul": "#24508c",
    "bias": "#c4c8cd",
    "bn": "#009e73",
    "ln": "#7fd3b3",
    "group_norm": "#3f7f5f",
    "instance_norm": "#b5dfa0",
    "rms_norm": "#115740",
    "max_pool": "#e69f00",
    "avg_pool": "#f7cf73",
    "glob_avg": "#a85f00",
    "sum": "#f0e442",
    "concat": "#8c6d31",
    "cse": "#cc79a7",
    "msa": "#d55e00",
    "pos_enc": "#882255",
    "rel_pos_bias": "#b0568c",
    "class_token": "#dda7c9",
    "embedding": "#8a7fc7",
    "rnn": "#5e3c99",
    "scale": "#d9cfa6",
    "layer_scale": "#b8a978",
    "prelu": "#f4a582",
    "parameter": "#8c8c8c",
}

FAMILIES: dict[str, tuple[str, str]] = {
    "input": ("#222222", r"^(input|placeholder)"),
    "attention": ("#d55e00", r"attention"),
    "recurrence": ("#5e3c99", r"(^|_)(rnn|lstm|gru)($|_)"),
    "embedding": ("#8a7fc7", r"embedding"),
    "convolution": ("#0072b2", r"conv"),
    "normalisation": ("#009e73", r"norm"),
    "activation": ("#f4a582", r"(relu|gelu|elu|silu|swish|mish|sigmoid|tanh|softmax|softplus|softmin|hardtanh|glu)"),
    "pooling": ("#e69f00", r"(pool|^mean$|^amax$|^max$)"),
    "resampling": ("#f7cf73", r"(interpolate|upsample|grid_sample|pixel_|resize|roi_align)"),
    "matrix product": ("#56b4e9", r"(linear|matmul|(^|_)b?mm$|einsum|^dot$|tensordot|^addmm|^baddbmm)"),
    "sum": ("#f0e442", r"^_*(i|r)?(add|sub|sum|cumsum)_*$"),
    "product": ("#cc79a7", r"^_*(i|r)?(mul|div|true_divide|truediv|pow|prod)_*$"),
    "concatenation": ("#8c6d31", r"(^cat$|stack|^concat)"),
    "dropout": ("#d9cfa6", r"(drop|stochastic_depth)"),
    "shape": (
        "#c4c8cd",
        r"(reshape|view|permute|transpose|flatten|squeeze|getitem|setitem|chunk|split|expand|pad|roll|contiguous|fold|"
        r"repeat|select|unbind|narrow|slice|flip|movedim|tile|^t$|^size$|clone|gather|index)",
    ),
    "other": ("#8c8c8c", r""),
}


def node_groups(graph: ComputationalGraph) -> list[tuple[str, str]]:
    """What the legend calls each node, and its colour: the primitive if all are known, else the operation's family."""
    if all(op in PRIMITIVES for op in graph.ops):
        return [(op, PRIMITIVES[op]) for op in graph.ops]
    known = {op: family(op) for op in set(graph.ops)}
    return [(known[op], FAMILIES[known[op]][0]) for op in graph.ops]


def text_color(background: str) -> str:
    """Black or white, whichever reads better on a ``#rrggbb`` colour (relative luminance of WCAG 2)."""
    channels = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


@cache
def family(op: str) -> str:
    """The family of operations, among :data:`FAMILIES`, that an operation of a full trace belongs to."""
    return next(family for family, (_, pattern) in FAMILIES.items() if re.search(pattern, op))
