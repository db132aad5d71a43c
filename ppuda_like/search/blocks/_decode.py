"""From searched logits to blocks and their auxiliary networks."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import CutError
from ppuda_like.search.blocks._auxiliary import LIGHT

__all__ = ["Decoded", "best_ends", "decode"]

_log = logging.getLogger(__name__)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Where searched logits cut a network.

    Attributes:
        boundaries: the last unit of each block but the last one; for ``Partition.at_units``.
        auxiliaries: name of the auxiliary network at each boundary; empty without ``beta``.
        scores: logit for cutting minus logit for not cutting, of each boundary chosen.
        margin: by how much the probability of the least likely boundary chosen exceeds that of the most likely one
            left out; infinite where none was chosen or none left out, negative where costs outweighed it.
        ties: boundaries left out with the very score of the least likely one chosen.
        heaviest: cost of the heaviest block; None without costs.
    """

    boundaries: tuple[int, ...]
    auxiliaries: tuple[str, ...]
    scores: tuple[float, ...]
    margin: float
    ties: tuple[int, ...]
    heaviest: float | None = None

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.boundaries) + 1


def decode(
    alpha: npt.ArrayLike,
    beta: npt.ArrayLike | None = None,
    num_blocks: int = 0,
    *,
    costs: Sequence[float] | None = None,
    weight: float = 0.0,
    candidates: Sequence[str] = LIGHT,
    tolerance: float = 1e-4,
) -> Decoded:
    """The blocks that searched logits stand for.

    For K blocks, the K - 1 boundaries with the largest sum of scores minus ``weight`` times the cost of the heaviest
    block.  Without a weight these are the boundaries with the highest scores, as in SEDONA (ICLR 2021, section 3.3);
    of equal scores the first counts as higher.  With an infinite weight only scores of choices whose heaviest block is
    the lightest possible are compared.  Exact, by dynamic programming.

    Args:
        alpha: of each boundary: a logit for cutting there, shape (B - 1,), or logits for cutting and for not, shape
            (B - 1, 2), as in SEDONA.
        beta: logits of the candidates for the auxiliary network at each boundary, shape (B - 1, candidates).
        num_blocks: number of blocks; 0 for all boundaries where cutting is at least as likely as not.
        costs: of each of the B units: seconds, multiply-accumulates or bytes.
        weight: score that one unit of cost in the heaviest block is worth.
        candidates: names of the columns of ``beta``.
        tolerance: a margin below this is logged as a warning: such a choice is noise.

    Raises:
        CutError: if there are more blocks than units.
        PpudaLikeError: if shapes or values are not as above.

    Example:
        >>> found = decode([0.5, -1.0, 2.0, 0.1], num_blocks=3)
        >>> found.boundaries, round(found.margin, 3)
        ((0, 2), 0.097)
        >>> [decode([2.0, 1.0, 0.5, 0.1], None, 3, costs=[1] * 5, weight=w).boundaries for w in (0.0, 1.0)]
        [(0, 1), (0, 2)]
    """
    scores = _scores(alpha)
    names = _names(beta, len(scores), candidates)
    units = len(scores) + 1
    if num_blocks < 0 or not (0 <= weight <= math.inf):
        raise PpudaLikeError(f"'num_blocks' and 'weight' must be 0 or more (got {num_blocks}, {weight})")
    if num_blocks > units:
        raise CutError("units", f"{num_blocks} blocks were asked for, but 'alpha' is of {units} units; ask for fewer")
    if weight and (costs is None or not num_blocks):
        raise PpudaLikeError("a 'weight' needs the 'costs' of the units and a number of blocks of at least 1")
    cost = None if costs is None else _costs(costs, units)
    if not num_blocks:
        ends = tuple(np.flatnonzero(scores >= 0).tolist())
    elif weight and cost is not None:
        ends = best_ends(scores, num_blocks, cost, weight)
    else:
        ends = tuple(sorted(np.argsort(-scores, kind="stable")[: num_blocks - 1].tolist()))
    out = [i for i in range(len(scores)) if i not in ends]
    margin = math.inf
    ties: tuple[int, ...] = ()
    if ends and out:
        least, most = float(min(scores[list(ends)])), float(max(scores[out]))
        margin = _probability(least) - _probability(most)
        ties = tuple([i for i in out if scores[i] == least])
    if num_blocks and margin < tolerance and not weight:
        tied = f"; boundaries {list(ties)} have the same score as one chosen" if ties else ""
        _log.warning(
            "the choice of %d blocks hangs on a difference of %.2g in probability%s: it is noise; ask for another "
            "number of blocks, or give costs to decide by",
            num_blocks,
            margin,
            tied,
        )
    return Decoded(
        boundaries=ends,
        auxiliaries=tuple([names[i] for i in ends]) if names else (),
        scores=tuple(scores[list(ends)].tolist()),
        margin=margin,
        ties=ties,
        heaviest=None if cost is None else _heaviest(cost, ends),
    )


def best_ends(scores: Floats, num_blocks: int, costs: Floats, weight: float) -> tuple[int, ...]:
    """Boundaries with the largest sum of scores minus ``weight`` times the heaviest block.

    Each possible cost of the heaviest block is tried as a limit; within it, dynamic programming over the ends of blocks
    finds the largest sum of scores: O(units squared) limits times O(units squared times blocks).

    Args:
        scores: shape (B - 1,).
        num_blocks: number of blocks, 1 to B.
        costs: of each unit, shape (B,).
        weight: 0 or more, infinite too.
    """
    upto = np.concatenate(([0.0], np.cumsum(costs)))
    block = np.where(np.tri(len(upto), dtype=bool), np.inf, upto[None, :] - upto[:, None])
    gain = np.concatenate(([0.0], scores, [0.0]))  # of ending a block before unit j
    best: tuple[float, tuple[int, ...]] | None = None
    previous: tuple[int, ...] | None = None
    limits = np.unique(block[np.isfinite(block)])
    for limit in limits[limits >= costs.max()]:
        ends = _within(gain, block <= limit, num_blocks)
        if ends is None or ends == previous:
            continue
        previous = ends
        if math.isinf(weight):
            return ends
        value = float(scores[list(ends)].sum()) - weight * _heaviest(costs, ends)
        if best is None or value > best[0]:
            best = value, ends
    if best is None:
        raise CutError("units", f"{len(costs)} units make no {num_blocks} blocks; ask for fewer")
    return best[1]


def _within(gain: Floats, allowed: npt.NDArray[np.bool_], num_blocks: int) -> tuple[int, ...] | None:
    """The best boundaries with allowed blocks only: ``allowed[i, j]`` for one of the units i to j - 1."""
    total = np.where(allowed[0], gain, -np.inf)
    choices = []
    for _ in range(num_blocks - 1):
        sums = np.where(allowed, total[:, None] + gain[None, :], -np.inf)
        choices.append(sums.argmax(axis=0))
        total = sums.max(axis=0)
    if not math.isfinite(total[-1]):
        return None
    ends, end = [], len(gain) - 1
    for choice in reversed(choices):
        end = int(choice[end])
        ends.append(end - 1)
    return tuple(reversed(ends))


def _scores(alpha: npt.ArrayLike) -> Floats:
    found = np.asarray(alpha, dtype=np.float64)
    if found.ndim == 2 and found.shape[1] == 2:
        found = found[:, 0] - found[:, 1]
    if found.ndim != 1 or not np.isfinite(found).all():
        raise PpudaLikeError(
            f"'alpha' must hold finite logits of shape (boundaries,) or (boundaries, 2) (got shape "
            f"{np.asarray(alpha).shape})"
        )
    return found


def _names(beta: npt.ArrayLike | None, boundaries: int, candidates: Sequence[str]) -> list[str]:
    if beta is None:
        return []
    found = np.asarray(beta, dtype=np.float64)
    if found.shape != (boundaries, len(candidates)) or not np.isfinite(found).all():
        raise PpudaLikeError(
            f"'beta' must hold finite logits of shape ({boundaries}, {len(candidates)}), one for each boundary and "
            f"candidate (got shape {found.shape})"
        )
    return [candidates[i] for i in found.argmax(axis=1)]


def _costs(costs: Sequence[float], units: int) -> Floats:
    found = np.asarray(costs, dtype=np.float64)
    if found.shape != (units,) or not np.isfinite(found).all() or (found < 0).any():
        raise PpudaLikeError(
            f"'costs' must be {units} finite numbers, not negative, one for each unit (got shape {found.shape})"
        )
    return found


def _heaviest(costs: Floats, ends: Sequence[int]) -> float:
    return max(float(part.sum()) for part in np.split(costs, [end + 1 for end in ends]))


def _probability(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
