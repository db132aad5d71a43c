"""Codes as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._layout import NAMES, STAGES, STEM
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION
from ppuda_like.search.ncp._space import CodeSpace

__all__ = ["cell_text", "code_text", "multi_resolution_text", "parse_cell", "parse_code", "parse_multi_resolution"]

_NODES = max(target for _, target in NASBENCH201_EDGES)


def multi_resolution_text(code: Sequence[int]) -> str:
    """A code of 27 numbers as the benchmark's list of codes has it: 31 numbers, with those of branches."""
    groups: list[list[int]] = [[code[place] for place in STEM]]
    for stage in STAGES:
        rest = [code[place] for place in (*stage.blocks, *stage.channels)]
        groups.append([code[stage.repeats], len(stage.blocks), *rest])
    groups.append([code[-1]])
    return "-".join("_".join(map(str, group)) for group in groups)


def parse_multi_resolution(text: str) -> list[int]:
    """The 27 numbers of a code, from any of its text forms; they are not checked.

    Args:
        text: 31 numbers as of :func:`multi_resolution_text`, or the 27 numbers with ``_``, ``,`` or spaces between.

    Raises:
        CodeError: if it is neither, or a number of branches is not that of its stage.
    """
    stripped = text.strip()
    if re.fullmatch(r"\d+([_\-]\d+)*", stripped, re.ASCII) and "-" in stripped:
        return _parse_groups(stripped)
    if re.fullmatch(r"\d+(_\d+)*|\d+(\s*,\s*\d+)*|\d+(\s+\d+)*", stripped, re.ASCII):
        numbers = _integers(re.split(r"[_,\s]+", stripped))
        if len(numbers) == len(NAMES):
            return numbers
        raise CodeError(
            f"a multi-resolution code is {len(NAMES)} numbers, or {len(NAMES) + len(STAGES)} in six groups divided by "
            f"'-', with the number of branches of each stage (got {len(numbers)} in one group: {_short(text)})"
        )
    raise CodeError(
        f"a multi-resolution code is written '16_16-1_1_2_32-...-64' or as {len(NAMES)} numbers with '_' between "
        f"(got {_short(text)})"
    )


def cell_text(code: Sequence[int]) -> str:
    """A cell as NAS-Bench-201 writes it, ``|skip_connect~0|+|...~0|...~1|+|...~0|...~1|...~2|``."""
    nodes = []
    for node in range(1, _NODES + 1):
        edges = [
            f"{NASBENCH201_OPS[op]}~{source}|"
            for (source, target), op in zip(NASBENCH201_EDGES, code, strict=True)
            if target == node
        ]
        nodes.append("|" + "".join(edges))
    return "+".join(nodes)


def parse_cell(text: str) -> list[int]:
    """The six numbers of operations of a cell, the inverse of :func:`cell_text`.

    Raises:
        CodeError: if it is written otherwise, or an operation is unknown.
    """
    nodes = text.strip().split("+")
    found = [re.fullmatch(r"\|((?:[^|~]+~\d\|)+)", node, re.ASCII) for node in nodes]
    edges = [tuple(edge.split("~")) for match in found if match for edge in match[1].rstrip("|").split("|")]
    wanted = [str(source) for source, _ in NASBENCH201_EDGES]
    sizes = [match[1].count("~") for match in found if match]
    if sizes != list(range(1, _NODES + 1)) or len(nodes) != _NODES or [edge[1] for edge in edges] != wanted:
        raise CodeError(
            f"a cell of NAS-Bench-201 is written '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|' (got {_short(text)})"
        )
    unknown = sorted({op for op, _ in edges} - set(NASBENCH201_OPS))
    if unknown:
        raise CodeError(f"the operations of NAS-Bench-201 are {', '.join(NASBENCH201_OPS)} (got {unknown})")
    return [NASBENCH201_OPS.index(op) for op, _ in edges]


def code_text(space: CodeSpace, code: NDArray[np.int64]) -> str:
    """A code on one line: an architecture string of NAS-Bench-201, or 27 numbers with ``_`` between."""
    numbers = code.tolist()
    return cell_text(numbers) if space.name == NASBENCH201.name else "_".join(map(str, numbers))


def parse_code(text: str) -> tuple[CodeSpace, list[int]]:
    """The space and the numbers of a code, from any text form; they are not checked.

    Raises:
        CodeError: if it is none.
    """
    if "|" in text:
        return NASBENCH201, parse_cell(text)
    return MULTI_RESOLUTION, parse_multi_resolution(text)


def _parse_groups(text: str) -> list[int]:
    groups = [_integers(group.split("_")) for group in text.split("-")]
    sizes = [len(STEM), *(2 + 2 * len(stage.blocks) for stage in STAGES), 1]
    if [len(group) for group in groups] != sizes:
        raise CodeError(
            f"a multi-resolution code has groups of {', '.join(map(str, sizes))} numbers, divided by '-' "
            f"(got {', '.join(str(len(group)) for group in groups)}: {_short(text)})"
        )
    for number, group in enumerate(groups[1:-1], start=1):
        if group[1] != number:
            raise CodeError(f"stage {number} has {number} branches (got {group[1]} in {_short(text)})")
        del group[1]
    return [value for group in groups for value in group]


def _integers(words: list[str]) -> list[int]:
    long = [word for word in words if len(word) > 9]  # beyond every bound, and perhaps beyond what int() takes
    if long:
        raise CodeError(f"a number of a code has few digits (got {_short(long[0])})")
    return [int(word) for word in words]


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
