"""The spaces by name."""

from __future__ import annotations

import difflib

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION
from ppuda_like.search.ncp._space import CodeSpace

__all__ = ["SPACES", "code_space"]

SPACES: tuple[CodeSpace, ...] = (MULTI_RESOLUTION, NASBENCH201)
"""All spaces."""


def code_space(name: str) -> CodeSpace:
    """The space of a name.

    Raises:
        CodeError: if none is called so.

    Example:
        >>> code_space("nas-bench-201").names
        ('e1<0', 'e2<0', 'e2<1', 'e3<0', 'e3<1', 'e3<2')
    """
    for space in SPACES:
        if space.name == name:
            return space
    names = [space.name for space in SPACES]
    near = difflib.get_close_matches(name, names)
    hint = f"did you mean {near}?" if near else f"there are {names}"
    raise CodeError(f"no space of codes is called '{name}'; {hint}")
