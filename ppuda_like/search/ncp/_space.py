"""What a search space of codes can do; there are two."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ppuda_like.errors import CodeError

__all__ = ["COST_NAMES", "CodeSpace", "code_array", "relaxed_array"]

COST_NAMES = ("flops", "params")
"""What :meth:`CodeSpace.costs` tells of a code, in this order."""


class CodeSpace(Protocol):
    """A search space whose architectures are codes: rows of d integers.

    A *relaxed* code is a row of r floats in a box, which gradients move; every code is also a relaxed one.
    """

    @property
    def name(self) -> str:
        """Of the space."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the d numbers of a code."""
        ...

    @property
    def low(self) -> NDArray[np.float64]:
        """Least values of a relaxed code, shape (r,)."""
        ...

    @property
    def high(self) -> NDArray[np.float64]:
        """Greatest values of a relaxed code, shape (r,)."""
        ...

    def check(self, codes: ArrayLike) -> NDArray[np.int64]:
        """The codes as an array of shape (n, d), each of them in the space; one code alone is a row.

        Raises:
            CodeError: if they are no integers, of another length, or out of the space; it names the code and the place.
        """
        ...

    def relax(self, codes: ArrayLike) -> NDArray[np.float64]:
        """The codes as relaxed ones, (n, d) -> (n, r).

        Raises:
            CodeError: as :meth:`check`.
        """
        ...

    def round(self, relaxed: ArrayLike) -> NDArray[np.int64]:
        """The codes that relaxed ones stand for, (n, r) -> (n, d).

        Raises:
            CodeError: if they have another length, or values that are not finite.
        """
        ...

    def sample(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """So many codes drawn uniformly from the space, shape (num, d); they may repeat."""
        ...

    def neighbours(self, code: ArrayLike) -> NDArray[np.int64]:
        """All codes that differ from one by the least step in one number, shape (k, d).

        Raises:
            CodeError: as :meth:`check`.
        """
        ...

    def costs(self, codes: ArrayLike) -> NDArray[np.float64]:
        """FLOPs and parameters of the networks, counted as the space's benchmark does, (n, d) -> (n, 2).

        They are whole numbers, exact, and nothing is built.

        Raises:
            CodeError: as :meth:`check`.
        """
        ...

    def relaxed_costs(self, relaxed: Tensor) -> Tensor:
        """:meth:`costs` between the codes, differentiable and monotone in every number, (n, r) -> (n, 2)."""
        ...

    def features(self, relaxed: Tensor) -> Tensor:
        """What helps a predictor beside the numbers themselves, differentiable, (n, r) -> (n, f)."""
        ...


def code_array(
    codes: ArrayLike, names: tuple[str, ...], low: ArrayLike, high: ArrayLike, step: ArrayLike, space: str
) -> NDArray[np.int64]:
    """Codes as int64 of shape (n, d), each number ``low``, ``low + step``, ... or ``high``.

    Raises:
        CodeError: as :meth:`CodeSpace.check`.
    """
    wanted = f"codes of {space} must be integers of shape (n, {len(names)})"
    try:
        found = np.asarray(codes)
    except ValueError as error:  # rows of different lengths
        raise CodeError(f"{wanted}; these do not form an array: {error}") from error
    if found.ndim == 1:
        found = found[None]
    if found.ndim != 2 or found.shape[1] != len(names):
        raise CodeError(f"{wanted} (got shape {np.shape(codes)}); the numbers are {', '.join(names)}")
    if found.dtype.kind not in "iu":
        raise CodeError(f"{wanted} (got {found.dtype}); round relaxed codes first")
    if found.dtype == np.uint64:
        found = np.minimum(found, np.iinfo(np.int64).max)  # beyond every bound as well
    found = found.astype(np.int64)
    least, greatest, notch = (np.asarray(bound, dtype=np.int64) for bound in (low, high, step))
    wrong = (found < least) | (found > greatest) | ((found - least) % notch != 0)
    if wrong.any():
        row, place = (int(i) for i in np.argwhere(wrong)[0])
        by = f" in steps of {notch[place]}" if notch[place] > 1 else ""
        raise CodeError(
            f"code {row} is not in {space}: '{names[place]}' (place {place}) must be "
            f"{least[place]}..{greatest[place]}{by} (got {found[row, place]})"
        )
    return found


def relaxed_array(relaxed: ArrayLike, length: int, space: str) -> NDArray[np.float64]:
    """Relaxed codes as float64 of shape (n, length).

    Raises:
        CodeError: as :meth:`CodeSpace.round`.
    """
    found = np.asarray(relaxed, dtype=np.float64)
    if found.ndim == 1:
        found = found[None]
    if found.ndim != 2 or found.shape[1] != length:
        raise CodeError(f"relaxed codes of {space} must have shape (n, {length}) (got {np.shape(relaxed)})")
    if not np.isfinite(found).all():
        row, place = (int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise CodeError(f"relaxed code {row} must be finite (got {found[row, place]} at place {place})")
    return found
