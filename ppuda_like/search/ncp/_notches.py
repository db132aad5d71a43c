"""The least steps between codes, for many codes at once.

The numbers of a code either stand for themselves in its relaxed form, or each for a group of slots of which one is 1.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._space import CodeSpace

__all__ = ["every_code", "gains", "is_categorical", "nearest_shares", "notches", "num_choices", "opposite", "spread"]

_MOST = 10**6  # codes of a space that is still small enough to be listed


def num_choices(space: CodeSpace) -> int:
    """Slots that each number of a code has in its relaxed form; 1 where the number stands for itself."""
    return len(space.low) // len(space.names)


def is_categorical(space: CodeSpace) -> bool:
    """Whether the numbers of a code are choices without an order."""
    return num_choices(space) > 1


def spread(space: CodeSpace) -> NDArray[np.float64]:
    """Standard deviation of each number of a relaxed code over codes drawn uniformly from the space, shape (r,)."""
    choices = num_choices(space)
    if choices > 1:
        return np.full(len(space.low), math.sqrt((choices - 1) / choices**2))
    levels = space.high / space.low
    return space.low * np.sqrt((levels**2 - 1) / 12)


def notches(space: CodeSpace, codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Codes one step away from each code, those of a place belonging to one change whatever the code.

    Returns:
        Codes, shape ``(n, k, d)``, and which of them are in the space and another code, shape ``(n, k)``.
    """
    length = codes.shape[1]
    choices = num_choices(space)
    if choices > 1:
        place, choice = (found.ravel() for found in np.indices((length, choices)))
        found = np.repeat(codes[:, None], length * choices, axis=1)
        found[:, np.arange(length * choices), place] = choice
        return found, codes[:, place] != choice
    step = space.low.astype(np.int64)
    change = np.stack((-np.diag(step), np.diag(step)), axis=1).reshape(2 * length, length)
    found = codes[:, None] + change
    legal: NDArray[np.bool_] = np.all((found >= space.low) & (found <= space.high), axis=2)
    return found, legal


def gains(space: CodeSpace, gradient: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each step of :func:`notches` gains to first order, shape ``(n, k)``, by the gradient ``(n, r)`` at codes."""
    choices = num_choices(space)
    if choices > 1:
        by_slot = gradient.reshape(len(codes), -1, choices)
        held = np.take_along_axis(by_slot, codes[:, :, None], axis=2)
        return (by_slot - held).reshape(len(codes), -1)
    along = gradient * space.low
    return np.stack((-along, along), axis=2).reshape(len(codes), -1)


def opposite(space: CodeSpace, codes: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the step that undoes one, given the codes it was taken from; both of shape ``(n,)``."""
    choices = num_choices(space)
    if choices > 1:
        place = taken // choices
        return place * choices + np.take_along_axis(codes, place[:, None], axis=1)[:, 0]
    return taken ^ 1


def nearest_shares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest rows of numbers from 0 on that sum to 1, ``(n, k) -> (n, k)``.

    What is above a level remains, less the level: the one at which the remains sum to 1.

    Example:
        >>> nearest_shares(np.array([[0.5, 0.9, 0.0], [3.0, 1.0, 1.0]])).round(3).tolist()
        [[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]]
    """
    falling = -np.sort(-rows, axis=1)
    levels = (np.cumsum(falling, axis=1) - 1) / np.arange(1, rows.shape[1] + 1)
    kept = np.sum(falling > levels, axis=1, keepdims=True)
    return np.asarray(np.maximum(rows - np.take_along_axis(levels, kept - 1, axis=1), 0))


def every_code(space: CodeSpace) -> NDArray[np.int64]:
    """All codes of a small space, the last number fastest.

    Raises:
        CodeError: if the space has more than a million codes.

    Example:
        >>> from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201
        >>> every_code(NASBENCH201).shape
        (15625, 6)
        >>> every_code(MULTI_RESOLUTION)
        Traceback (most recent call last):
        ...
        ppuda_like.errors.CodeError: the space 'multi-resolution' has 1.2e+24 codes, which is too many to list (at most
        1,000,000); search it instead
    """
    choices = num_choices(space)
    values = (
        [np.arange(choices)] * len(space.names)
        if choices > 1
        else [np.arange(low, high + 1, low) for low, high in zip(space.low, space.high, strict=True)]
    )
    size = math.prod(map(len, values))
    if size > _MOST:
        raise CodeError(
            f"the space '{space.name}' has {size:.1e} codes, which is too many to list (at most {_MOST:,}); "
            "search it instead"
        )
    return np.array(list(itertools.product(*values)), dtype=np.int64)
