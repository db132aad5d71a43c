"""Codes as lists of layers."""

from __future__ import annotations

from collections.abc import Sequence

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._layout import STAGES

__all__ = ["Module", "from_modules", "to_modules"]

Module = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A module of a network: number of branches, residual blocks of each, channels of each."""


def to_modules(code: Sequence[int]) -> tuple[Module, ...]:
    """The modules of a multi-resolution code, in order; those of a stage are the same."""
    found: list[Module] = []
    for stage in STAGES:
        blocks, channels = (tuple(code[place] for place in places) for places in (stage.blocks, stage.channels))
        found += [(len(blocks), blocks, channels)] * code[stage.repeats]
    return tuple(found)


def from_modules(stem: Sequence[int], modules: Sequence[Sequence[object]], last: int) -> list[int]:
    """The numbers of a code, the inverse of :func:`to_modules`; they are not checked.

    Args:
        stem: channels of both convolutions of the stem.
        modules: as :data:`Module`, lists or tuples.
        last: the last number of channels.

    Raises:
        CodeError: if the modules are not those of four stages with 1, 2, 3 and 4 branches.
    """
    code, left = list(stem), list(modules)
    for branches in range(1, len(STAGES) + 1):
        module = left[0] if left else ()
        if len(module) != 3 or module[0] != branches or not all(_is_list(part, branches) for part in module[1:]):
            raise CodeError(
                f"stage {branches} must be one or more modules [{branches}, blocks, channels] with {branches} of each "
                f"(got {list(module) or 'none'})"
            )
        count = next((i for i, other in enumerate(left) if other != module), len(left))
        del left[:count]
        code += [count, *module[1], *module[2]]  # type: ignore[misc]
    if left:
        raise CodeError(
            f"the modules of a stage must all be the same, and there are {len(STAGES)} stages (got {left[0]})"
        )
    return [*code, last]


def _is_list(part: object, length: int) -> bool:
    return isinstance(part, list | tuple) and len(part) == length
