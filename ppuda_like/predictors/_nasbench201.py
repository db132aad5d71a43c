"""NAS-Bench-201: cells as graphs, one graph for all cells that compute the same function."""

from __future__ import annotations

import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, GraphBuilder
from ppuda_like.predictors._labelled import LabelledGraphs

__all__ = ["NASBENCH201_EDGES", "NASBENCH201_OPS", "CellForm", "cell_form", "cell_graph", "nasbench201"]

NASBENCH201_OPS = ("avg_pool_3x3", "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
"""Operations, by their number in a code."""

NASBENCH201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Edge of a cell that each place of a code is about, as (source state, target state)."""

_POOL, _NONE, _SKIP, _CONV1, _CONV3 = range(5)
_CHANNELS, _SIZE = 16, 32  # of the first cells of the benchmark's networks, on images of CIFAR
_INPUT = 0


class Term(NamedTuple):
    """A part of a sum: a tensor, pooled so and so many times.

    Attributes:
        base: 0 for the cell's input, otherwise the number of a convolution, from 1.
        pools: how many average poolings are between.
        times: how often it is added.
    """

    base: int
    pools: int
    times: int


class Convolution(NamedTuple):
    """A convolution of a cell: ReLU, convolution, batch norm.

    Attributes:
        op: its number among the operations.
        terms: what it is applied to, a sum.
    """

    op: int
    terms: tuple[Term, ...]


class CellForm(NamedTuple):
    """What a cell computes, written so that cells computing the same function have equal forms.

    Attributes:
        convolutions: in canonical order; number i of them is called i + 1 in terms.
        output: the sum that the cell returns; empty if nothing leads from the input to the output.
    """

    convolutions: tuple[Convolution, ...]
    output: tuple[Term, ...]


_Sum = Counter[tuple[int, int]]  # (base, pools) -> times


def cell_form(code: Sequence[int] | NDArray[np.integer]) -> CellForm:
    """What a cell of NAS-Bench-201 (arXiv:2001.00326) computes, free of how it is written.

    A state of a cell is a sum of its input and of convolutions, each pooled so and so many times: 'none' adds nothing,
    'skip_connect' adds a sum as it is, and average pooling, being linear and without weights, goes to every term.  A
    factor common to all terms that a convolution reads is left out, since its batch norm undoes it.  A convolution of
    nothing counts as nothing (of it, only the bias of its batch norm would be left), and one that does not lead to the
    output is dropped.  The others are numbered in an order that does not depend on the edges they were on.  Two
    convolutions stay two, whether or not they are of one kind and read one sum: they have weights of their own.

    Args:
        code: the number of the operation on each of :data:`NASBENCH201_EDGES`.

    Raises:
        DataError: if the code is not 6 numbers of operations.

    Example:
        >>> only_direct = [1, 1, 1, 3, 1, 1]  # a 1x1 convolution from state 0 to state 3
        >>> by_state_1 = [3, 1, 1, 1, 2, 4]  # the same from 0 to 1, then a skip connection; a 3x3 reads nothing
        >>> cell_form(only_direct) == cell_form(by_state_1)
        True
    """
    numbers = [int(op) for op in code]
    if len(numbers) != len(NASBENCH201_EDGES) or not all(0 <= op < len(NASBENCH201_OPS) for op in numbers):
        raise DataError(
            f"a cell of NAS-Bench-201 is {len(NASBENCH201_EDGES)} numbers of operations, "
            f"0..{len(NASBENCH201_OPS) - 1} (got {numbers})"
        )
    return _form(tuple(numbers))


def cell_graph(code: Sequence[int] | NDArray[np.integer]) -> ComputationalGraph:
    """The graph of a cell: input, poolings, convolutions, sums and output as nodes.

    Cells with one :func:`cell_form` have one graph.  A term that is added twice goes once through a node
    'skip_connect', since a graph has an edge once; a cell that returns zeros has a single 'none' in between.  Shapes
    and costs are those of the first cells of the networks trained on CIFAR: 16 channels, 32x32 pixels.

    Args:
        code: the number of the operation on each of :data:`NASBENCH201_EDGES`.

    Raises:
        DataError: if the code is not 6 numbers of operations.

    Example:
        >>> cell_graph([3, 1, 2, 4, 1, 2]).ops
        ('input', 'nor_conv_1x1', 'nor_conv_3x3', 'sum', 'output')
    """
    return _graph(cell_form(code))


def nasbench201(path: str | os.PathLike[str]) -> LabelledGraphs:
    """The cells of NAS-Bench-201 with their accuracies and costs, from a table of codes.

    Args:
        path: an .npz file with ``codes`` (n, 6), ``op_names``, ``code_names``, ``metrics`` (n, m) and ``metric_names``,
            as NAS-Bench-MR's table.

    Returns:
        Graphs by :func:`cell_graph`, one property per metric, and the codes.

    Raises:
        DataError: if there is no such file, or it is not such a table.
    """
    path = Path(path)
    wanted = ("codes", "code_names", "op_names", "metrics", "metric_names")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            codes, code_names, op_names, metrics, metric_names = (file[name] for name in wanted)
    except FileNotFoundError as error:
        raise DataError(f"there is no table '{path}'; check the path") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"'{path}' is no table of NAS-Bench-201, an .npz file with {', '.join(wanted)}: {error}"
        ) from error
    edges = tuple(f"e{target}<{source}" for source, target in NASBENCH201_EDGES)
    for name, found, known in (("op_names", op_names, NASBENCH201_OPS), ("code_names", code_names, edges)):
        if tuple(found.tolist()) != known:
            raise DataError(f"'{name}' of '{path}' must be {list(known)} (got {found.tolist()})")
    if codes.dtype.kind not in "iu" or codes.ndim != 2 or metrics.shape != (len(codes), len(metric_names)):
        raise DataError(
            f"'{path}' must have integer codes (n, {len(edges)}) and metrics (n, {len(metric_names)}) "
            f"(got {codes.dtype} {codes.shape} and {metrics.shape})"
        )
    return LabelledGraphs(
        graphs=[cell_graph(code) for code in codes.tolist()],
        labels={str(name): metrics[:, column] for column, name in enumerate(metric_names.tolist())},
        codes=codes,
        name="NAS-Bench-201",
    )


@cache
def _form(code: tuple[int, ...]) -> CellForm:
    states: list[_Sum] = [Counter({(_INPUT, 0): 1}), Counter(), Counter(), Counter()]
    convolutions: dict[int, tuple[int, _Sum]] = {}
    for place, ((source, target), op) in enumerate(zip(NASBENCH201_EDGES, code, strict=True)):
        read = states[source]
        if op == _SKIP:
            states[target] = states[target] + read
        elif op == _POOL:
            states[target] = states[target] + Counter({(base, pools + 1): n for (base, pools), n in read.items()})
        elif op != _NONE and read:
            convolutions[place + 1] = (op, _reduced(read))
            states[target] = states[target] + Counter({(place + 1, 0): 1})
    output = states[-1]
    live, waiting = set(), [base for base, _ in output]
    while waiting:
        base = waiting.pop()
        if base != _INPUT and base not in live:
            live.add(base)
            waiting += [source for source, _ in convolutions[base][1]]
    return min(_orders({base: convolutions[base] for base in live}, output, {_INPUT: _INPUT}, ()))


def _reduced(value: _Sum) -> _Sum:
    """A sum without the factor that all of its terms have."""
    factor = math.gcd(*value.values())
    return Counter({key: times // factor for key, times in value.items()})


def _orders(
    left: dict[int, tuple[int, _Sum]], output: _Sum, number: dict[int, int], placed: tuple[Convolution, ...]
) -> Iterator[CellForm]:
    """The forms with least next convolution each time; several where convolutions of one kind read one sum."""
    if not left:
        yield CellForm(placed, _terms(output, number))
        return
    ready = {
        base: Convolution(op, _terms(read, number))
        for base, (op, read) in left.items()
        if all(source in number for source, _ in read)
    }
    least = min(ready.values())
    for base, found in ready.items():
        if found == least:
            rest = {other: value for other, value in left.items() if other != base}
            yield from _orders(rest, output, {**number, base: len(number)}, (*placed, found))


def _terms(value: _Sum, number: dict[int, int]) -> tuple[Term, ...]:
    return tuple(sorted(Term(number[base], pools, times) for (base, pools), times in value.items()))


@cache
def _graph(form: CellForm) -> ComputationalGraph:
    writer = _CellWriter()
    for number, convolution in enumerate(form.convolutions, start=1):
        writer.convolve(number, convolution)
    last = writer.sum(form.output) if form.output else writer.add("none", (writer.bases[_INPUT],))
    return writer.nodes.build((writer.add("output", (last,)),), name="NAS-Bench-201 cell")


class _CellWriter:
    """Writes the nodes of a cell; equal tensors are made once."""

    def __init__(self) -> None:
        self.nodes = GraphBuilder()
        self.bases: list[int] = [self.add("input", ())]
        self._pooled: dict[tuple[int, int], int] = {}
        self._sums: dict[tuple[Term, ...], int] = {}

    def add(self, op: str, sources: tuple[int, ...], kernel: int = 0) -> int:
        name = f"{op}.{len(self.nodes.ops)}"
        shape = (1, _CHANNELS, _SIZE, _SIZE)
        return self.nodes.add(
            op,
            "input" if op == "input" else name,
            shape,
            sources=sources,
            parameters=[(f"{name}.weight", (_CHANNELS, _CHANNELS, kernel, kernel))] if kernel else (),
            flops=2 * (_CHANNELS * kernel * _SIZE) ** 2,
        )

    def convolve(self, number: int, convolution: Convolution) -> None:
        source = self.sum(convolution.terms)
        self.bases.append(self.add(NASBENCH201_OPS[convolution.op], (source,), 1 if convolution.op == _CONV1 else 3))

    def sum(self, terms: tuple[Term, ...]) -> int:
        if terms not in self._sums:
            parts = []
            for base, pools, times in terms:
                node = self._pool(base, pools)
                parts += [node, *(self.add("skip_connect", (node,)) for _ in range(times - 1))]
            self._sums[terms] = parts[0] if len(parts) == 1 else self.add("sum", tuple(parts))
        return self._sums[terms]

    def _pool(self, base: int, pools: int) -> int:
        if not pools:
            return self.bases[base]
        if (base, pools) not in self._pooled:
            self._pooled[base, pools] = self.add(NASBENCH201_OPS[_POOL], (self._pool(base, pools - 1),))
        return self._pooled[base, pools]
