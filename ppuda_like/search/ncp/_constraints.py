"""Hard bounds on exact costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._notches import every_code, is_categorical
from ppuda_like.search.ncp._space import COST_NAMES, CodeSpace

__all__ = ["Constraints"]


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Bounds that every edited or searched code meets; None for no bound.

    Costs are the exact ones of the code's space, as :meth:`CodeSpace.costs` counts them.

    Attributes:
        max_flops: most operations of a network.
        max_params: most parameters.
        min_flops: fewest operations.
        min_params: fewest parameters.

    Raises:
        CodeError: if a bound is not a number above 0, or a least one is above the greatest one.

    Example:
        >>> limits = Constraints(max_flops=2e9, min_params=1e6)
        >>> limits.met(np.array([[1.9e9, 3e6], [2.1e9, 3e6], [1e9, 1e5]])).tolist()
        [True, False, False]
    """

    max_flops: float | None = None
    max_params: float | None = None
    min_flops: float | None = None
    min_params: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            bound = getattr(self, field.name)
            if bound is not None and not 0 < bound < math.inf:
                raise CodeError(f"'{field.name}' must be a finite number above 0 or None (got {bound})")
        for cost, low, high in zip(COST_NAMES, self.low, self.high, strict=True):
            if low > high:
                raise CodeError(f"'min_{cost}' must not be above 'max_{cost}' (got {low:,.0f} and {high:,.0f})")

    @property
    def low(self) -> NDArray[np.float64]:
        """Least costs, in the order of ``COST_NAMES``; 1 without a bound, as no network costs less."""
        return np.array([bound or 1.0 for bound in (self.min_flops, self.min_params)])

    @property
    def high(self) -> NDArray[np.float64]:
        """Greatest costs; infinite without a bound."""
        return np.array([bound or math.inf for bound in (self.max_flops, self.max_params)])

    @property
    def are_none(self) -> bool:
        """Whether there is no bound at all."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def met(self, costs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of some networks, given by their costs ``(n, 2)``, meet all bounds."""
        return np.asarray(((costs >= self.low) & (costs <= self.high)).all(axis=1))

    def excess(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far networks are from meeting the bounds, in natural logarithms of costs, summed; shape ``(n,)``."""
        logs = np.log(costs)
        over, under = logs - np.log(self.high), np.log(self.low) - logs
        found: NDArray[np.float64] = (np.maximum(over, 0) + np.maximum(under, 0)).sum(axis=1)
        return found

    def check(self, space: CodeSpace) -> None:
        """Refuse bounds that no code of a space can meet, as far as each bound tells on its own.

        A space small enough to be listed is searched in full.

        Raises:
            CodeError: naming the bound, and the least or greatest cost that there is.
        """
        if self.are_none:
            return
        every = every_code(space) if is_categorical(space) else None
        ends = np.stack((space.low, space.high)).astype(np.int64) if every is None else every  # costs are monotone
        costs = space.costs(ends)
        for name, low, high, least, most in zip(
            COST_NAMES, self.low, self.high, costs.min(axis=0), costs.max(axis=0), strict=True
        ):
            if high < least:
                raise CodeError(
                    f"no code of '{space.name}' has at most {high:,.0f} {name}: the least is {least:,.0f}; raise "
                    f"'max_{name}'"
                )
            if low > most:
                raise CodeError(
                    f"no code of '{space.name}' has at least {low:,.0f} {name}: the most is {most:,.0f}; lower "
                    f"'min_{name}'"
                )
        if every is not None and not self.met(costs).any():
            raise CodeError(f"no code of '{space.name}' meets all of {self}; loosen one of them")
