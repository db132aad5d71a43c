"""Where to end the blocks of a chain of units: after equal counts, or with the lightest heaviest block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppuda_like.graph._cut_rules import CutError

__all__ = ["balanced_ends", "uniform_ends"]


def uniform_ends(num_units: int, num_blocks: int) -> tuple[int, ...]:
    """The last unit of each block but the last one, for blocks of equal counts of units as far as that divides.

    Block k of K ends after unit floor(k B / K) - 1 of B: the truncated ``linspace(-1, B - 1, K + 1)`` of the baseline
    in SEDONA (OpenReview XLfdzwNKzch).

    Raises:
        CutError: if there are more blocks than units, or none.

    Example:
        >>> uniform_ends(16, 4), uniform_ends(50, 3)
        ((3, 7, 11), (15, 32))
    """
    _check(num_units, num_blocks)
    return tuple(block * num_units // num_blocks - 1 for block in range(1, num_blocks))


def balanced_ends(costs: Sequence[float], num_blocks: int, ending: Sequence[float] | None = None) -> tuple[int, ...]:
    """The last unit of each block but the last one, for the lightest heaviest block there can be.

    A block costs the sum of its units, and what ending it there costs.  Among all choices with the least heaviest
    block, that with the least sum of squared costs is taken, which evens out the others too.  Exact, by dynamic
    programming over the ends of blocks: O(units squared times blocks).

    Args:
        costs: of each unit, not negative.
        num_blocks: number of blocks.
        ending: what a block costs besides if it ends with each unit but the last one, such as its auxiliary network;
            None for nothing.

    Raises:
        CutError: if there are more blocks than units, or none, or costs are not as above.

    Example:
        >>> balanced_ends([1, 1, 1, 3, 2, 2], 3), balanced_ends([1, 1, 1, 3, 2, 2], 3, [0, 0, 2, 0, 0])
        ((2, 3), (1, 3))
    """
    _check(len(costs), num_blocks)
    added = np.zeros(len(costs) + 1)
    if ending is not None:
        if len(ending) != len(costs) - 1:
            raise CutError(
                "units", f"'ending' must have {len(costs) - 1} numbers, one less than units (got {len(ending)})"
            )
        added[1:-1] = ending
    upto = np.concatenate(([0.0], np.cumsum(np.asarray(costs, dtype=np.float64))))
    if not np.isfinite(upto + added).all() or (np.diff(upto) < 0).any() or (added < 0).any():
        raise CutError("units", f"costs of units must be finite and not negative (got {list(costs)})")
    # block[i, j]: cost of units i..j-1 as one block; a block is never empty.
    block = np.where(np.tri(len(upto), k=0, dtype=bool), np.inf, upto[None, :] - upto[:, None] + added)
    heaviest = block[0]
    for _ in range(num_blocks - 1):
        heaviest = np.maximum(heaviest[:, None], block).min(axis=0)
    limit = heaviest[-1]
    square = np.where(block <= limit, (block / (limit or 1.0)) ** 2, np.inf)
    total, choices = square[0], []
    for _ in range(num_blocks - 1):
        sums = total[:, None] + square
        choices.append(sums.argmin(axis=0))
        total = sums.min(axis=0)
    ends, end = [], len(costs)
    for choice in reversed(choices):
        end = int(choice[end])
        ends.append(end - 1)
    return tuple(reversed(ends))


def _check(num_units: int, num_blocks: int) -> None:
    if num_blocks < 1:
        raise CutError("units", f"a network is cut into 1 block at least (got {num_blocks})")
    if num_blocks > num_units:
        raise CutError(
            "units",
            f"{num_blocks} blocks were asked for, but the network has {num_units} units, which are not cut; ask for "
            "fewer blocks, or name the places to cut at",
        )
