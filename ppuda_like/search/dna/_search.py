"""The exactly best networks of a space by the ratings of their cells, for every budget at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._cost_table import CostTable, counted
from ppuda_like.search.dna._front import Front
from ppuda_like.search.dna._pareto import MAX_COSTS, undominated
from ppuda_like.search.dna._ratings import Ratings

__all__ = ["Combine", "combined", "front_of", "predicted_losses", "search", "stage_losses"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

Combine = Literal["sum", "product"]

_BLOCK = 1 << 18  # combinations that are in memory at once


def search(
    ratings: Ratings,
    costs: str | Sequence[str] = "macs",
    *,
    table: CostTable | None = None,
    limits: Mapping[str, float] | None = None,
    combine: Combine = "sum",
    weights: Sequence[float] | None = None,
    keep: int = 1,
) -> Front:
    """The best networks under every limit on their costs, exactly.

    The loss of a network is the sum over stages of its paths' ratings (arXiv:1911.13053, equation 8), or their weighted
    sum, or their product.  Stage by stage, the networks so far are combined with the paths of the next stage, and those
    that another one dominates, no worse in costs and loss, are dropped: whatever follows, they cannot win.  Where the
    cells of a stage differ in width, which the cost of the next stage depends on, networks are compared with those of
    the same width alone.

    Losses are added in the order of stages in double precision.  Of equal losses the one of lower costs wins, in the
    order that ``costs`` names them, and of these the one whose numbers (:meth:`Space.numbers`) are lower.

    Args:
        ratings: of all cells of a space.
        costs: of a network that are to be limited: one, or two at once.
        table: of costs; None for that of :func:`cost_table`.
        limits: greatest costs that are of interest, by name; None for all.  The result is the same below them, and
            sooner there.
        combine: how the ratings of the stages make the loss of a network.
        weights: factor of each stage's ratings in a sum, exponent in a product; None for 1.
        keep: how many of the best networks :meth:`Front.top` can give.

    Raises:
        CodeError: if a cost is not in the table, there are more than two, the table is of another space, no network is
            within a limit, or a product has ratings that are not positive.

    Example:
        >>> from ppuda_like.search.dna import Ratings, cifar_space
        >>> ratings = Ratings.from_arrays(cifar_space(depths=(1, 1, 1, 1)), [[0.3, 0.1, 0.5, 0.4]] * 4)
        >>> found = search(ratings, "params").best({"params": 80_000})
        >>> str(found), found.costs["params"], round(found.loss, 3)
        ('1 1 1 2', 78822, 0.8)
    """
    losses = stage_losses(ratings, combine, weights)
    table = counted(ratings.space) if table is None else table
    if table.space != ratings.space:
        raise CodeError(f"the costs are of '{table.space.name}', the ratings of another space, '{ratings.space.name}'")
    names = (costs,) if isinstance(costs, str) else tuple(costs)
    found = front_of(losses, names, table, {} if limits is None else limits, keep)
    return replace(found, losses=np.exp(found.losses)) if combine == "product" else found


def predicted_losses(
    ratings: Ratings, numbers: ArrayLike, *, combine: Combine = "sum", weights: Sequence[float] | None = None
) -> Floats:
    """The losses of many networks, as :func:`search` adds them up.

    Args:
        ratings: of all cells of a space.
        numbers: of the path of each stage, shape (n, stages).
        combine: as for :func:`search`.
        weights: as for :func:`search`.

    Returns:
        (n,).

    Raises:
        CodeError: if a stage has no path of a number, and as :func:`search`.
    """
    found = ratings.space.check_numbers(numbers)
    total = np.zeros(len(found))
    for stage, losses in enumerate(stage_losses(ratings, combine, weights)):
        total = total + losses[found[:, stage]]
    return np.exp(total) if combine == "product" else total


def front_of(
    losses: Sequence[Floats], names: tuple[str, ...], table: CostTable, limits: Mapping[str, float], keep: int
) -> Front:
    """The best networks by what each path of each stage adds to their loss; see :func:`search`."""
    space = table.space
    if not 1 <= len(names) <= MAX_COSTS or len(set(names)) < len(names):
        raise CodeError(f"one cost or two different ones can be limited at once (got {list(names)})")
    if keep < 1:
        raise CodeError(f"'keep' must be at least 1 (got {keep})")
    if limits.keys() - set(names):
        raise CodeError(f"limits are for the costs {list(names)} (got {list(limits)}); name them in 'costs' too")
    columns = table.columns(names)
    bounds = _Bounds.of(table, names, limits)
    (width,) = space.widths_in(0)
    front = _Partial(
        numbers=np.zeros((1, 0), dtype=np.int32),
        widths=np.array([width]),
        costs=table.first[None, columns],
        losses=np.zeros(1),
    )
    for stage, found in enumerate(losses):
        paths = _paths(table, stage, found, names, keep)
        front = _merged(front, paths, bounds.behind[stage], bounds.limits, keep)
        if not len(front.losses):
            said = " and ".join(f"{name} <= {limit:,}" for name, limit in limits.items())
            raise CodeError(f"no network of '{space.name}' has {said} at once; raise one of the limits")
    costs = front.costs + np.array([table.head[width][columns] for width in front.widths.tolist()])
    kept = undominated(costs, front.losses, keep)
    return Front(
        table=table,
        cost_names=names,
        numbers=front.numbers[kept],
        costs=costs[kept],
        losses=front.losses[kept],
        keep=keep,
        smallest=dict(zip(names, bounds.smallest.tolist(), strict=True)),
    )


def stage_losses(ratings: Ratings, combine: Combine, weights: Sequence[float] | None) -> list[Floats]:
    """What each path of each stage adds to the loss, or to its logarithm."""
    return combined([ratings.values(stage) for stage in range(len(ratings.space.stages))], combine, weights)


def combined(values: Sequence[Floats], combine: Combine, weights: Sequence[float] | None) -> list[Floats]:
    """As :func:`stage_losses`, of the ratings of all paths of each stage."""
    factors = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if factors.shape != (len(values),) or not np.isfinite(factors).all():
        raise CodeError(f"'weights' must be finite, one for each of {len(values)} stages (got {weights})")
    if combine not in ("sum", "product"):
        raise CodeError(f"'combine' must be 'sum' or 'product' (got {combine!r})")
    found = []
    for stage, (own, factor) in enumerate(zip(values, factors.tolist(), strict=True)):
        if len(own) == 1:
            found.append(np.zeros(1))  # nothing to choose
        elif combine == "sum":
            found.append(factor * own)
        elif (own <= 0).any():
            raise CodeError(f"a product needs positive ratings, stage {stage} has {own.min()}; take the sum")
        else:
            found.append(factor * np.log(own))
    return found


@dataclass(frozen=True)
class _Partial:
    """Networks up to some stage, sorted by their numbers: (n, stages), widths (n,), costs (n, m), losses (n,)."""

    numbers: NDArray[np.int32]
    widths: Integers
    costs: Integers
    losses: Floats


@dataclass(frozen=True)
class _Paths:
    """Paths of one cell, at one width of its input, that can be part of a best network."""

    width_in: int
    width: int
    numbers: Integers
    costs: Integers
    losses: Floats


def _paths(table: CostTable, stage: int, losses: Floats, names: Sequence[str], keep: int) -> list[_Paths]:
    found = []
    chosen = table.space.stages[stage]
    for width_in in table.space.widths_in(stage):
        for cell, offset in zip(range(len(chosen.cells)), chosen.offsets, strict=True):
            costs = table.path_costs(stage, cell, width_in, names)
            own = losses[offset : offset + len(costs)]
            kept = undominated(costs, own, keep)
            found.append(_Paths(width_in, chosen.cells[cell].width, kept + offset, costs[kept], own[kept]))
    return found


def _merged(
    front: _Partial, paths: list[_Paths], behind: Mapping[int, Integers], limits: Floats, keep: int
) -> _Partial:
    """Networks joined with the paths of the next stage."""
    parts = []
    for some in paths:
        (prefixes,) = np.nonzero(front.widths == some.width_in)
        rows = max(1, _BLOCK // len(some.numbers))
        for first in range(0, len(prefixes), rows):
            block = prefixes[first : first + rows]
            costs = (front.costs[block, None] + some.costs).reshape(-1, front.costs.shape[1])
            losses = (front.losses[block, None] + some.losses).ravel()
            (legal,) = np.nonzero((costs + behind[some.width] <= limits).all(axis=1))
            kept = legal[undominated(costs[legal], losses[legal], keep)] if len(legal) else legal
            before, path = np.divmod(kept, len(some.numbers))
            numbers = np.column_stack((front.numbers[block[before]], some.numbers[path].astype(np.int32)))
            parts.append(_Partial(numbers, np.full(len(kept), some.width), costs[kept], losses[kept]))
    if len(parts) == 1:
        return parts[0]
    together = _sorted(parts)
    kept = np.zeros(len(together.losses), dtype=bool)
    for width in np.unique(together.widths):
        (here,) = np.nonzero(together.widths == width)
        kept[here[undominated(together.costs[here], together.losses[here], keep)]] = True
    return _Partial(together.numbers[kept], together.widths[kept], together.costs[kept], together.losses[kept])


def _sorted(parts: list[_Partial]) -> _Partial:
    """Several parts as one, by their numbers, so that of equals the lowest comes first."""
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.lexsort(numbers.T[::-1])
    return _Partial(
        numbers[order],
        np.concatenate([part.widths for part in parts])[order],
        np.concatenate([part.costs for part in parts])[order],
        np.concatenate([part.losses for part in parts])[order],
    )


@dataclass(frozen=True)
class _Bounds:
    """What the rest of a network costs at least.

    Attributes:
        behind: for each stage and width that comes out of it, the least costs of all that follows, shape (m,).
        smallest: least costs of a network, each by itself, shape (m,).
        limits: shape (m,).
    """

    behind: list[dict[int, Integers]]
    smallest: Integers
    limits: Floats

    @classmethod
    def of(cls, table: CostTable, names: Sequence[str], limits: Mapping[str, float]) -> _Bounds:
        space, columns = table.space, table.columns(names)
        behind = [{width: costs[columns] for width, costs in table.head.items()}]
        for stage in range(len(space.stages) - 1, -1, -1):
            cells = space.stages[stage].cells
            behind.append(
                {
                    width: np.min(
                        [
                            table.layers[stage, place, width][:, :, columns].min(axis=1).sum(axis=0)
                            + behind[-1][cell.width]
                            for place, cell in enumerate(cells)
                        ],
                        axis=0,
                    )
                    for width in space.widths_in(stage)
                }
            )
        behind.reverse()
        (width,) = space.widths_in(0)
        smallest = table.first[columns] + behind[0][width]
        for name, least in zip(names, smallest.tolist(), strict=True):
            if not limits.get(name, np.inf) >= least:  # a limit that is not a number neither
                raise CodeError(
                    f"no network of '{space.name}' has {name} <= {limits[name]:,}; the smallest one has {least:,}"
                )
        return cls(behind[1:], smallest, np.array([float(limits.get(name, np.inf)) for name in names]))
