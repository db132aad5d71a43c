"""The networks that are best under some limit on their costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._cost_table import CostTable
from ppuda_like.search.dna._definition import NetworkDefinition
from ppuda_like.search.dna._pareto import undominated
from ppuda_like.search.dna._space import Architecture, Space

__all__ = ["Found", "Front"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network that a search found.

    Attributes:
        space: it is in.
        architecture: of the network.
        loss: that the ratings predict.
        costs: all of the table.
    """

    space: Space
    architecture: Architecture
    loss: float
    costs: Mapping[str, int]

    @property
    def definition(self) -> NetworkDefinition:
        """The network, to be built by :func:`build_network`."""
        return self.space.definition(self.architecture)

    def __str__(self) -> str:
        return self.space.format(self.architecture)


@dataclass(frozen=True, kw_only=True, eq=False)
class Front:
    """All networks that no other one of the space dominates: the best one under any limit is among them.

    Those of a front are sorted by their first cost, then the second one, then their loss.

    Attributes:
        table: of the costs.
        cost_names: costs that can be limited.
        numbers: of the path of each stage, shape (n, stages).
        costs: shape (n, costs).
        losses: shape (n,).
        keep: how many networks :meth:`top` can give.
        smallest: least costs of a network of the space, each by itself.

    Example:
        >>> from ppuda_like.search.dna import Ratings, cifar_space, search
        >>> ratings = Ratings.from_arrays(cifar_space(depths=(1, 1, 1, 1)), [[0.3, 0.1, 0.5, 0.4]] * 4)
        >>> front = search(ratings, "macs")
        >>> len(front), str(front[0]), str(front[-1])
        (16, '2 2 2 2', '1 1 1 1')
    """

    table: CostTable
    cost_names: tuple[str, ...]
    numbers: NDArray[np.int32]
    costs: NDArray[np.int64]
    losses: NDArray[np.float64]
    keep: int
    smallest: Mapping[str, int]

    def __post_init__(self) -> None:
        order = np.lexsort((self.losses, *self.costs.T[::-1]))  # stable: numbers decide between equals
        for key in ("numbers", "costs", "losses"):
            values = getattr(self, key)[order]
            values.flags.writeable = False
            object.__setattr__(self, key, values)

    @property
    def space(self) -> Space:
        """That the networks are in."""
        return self.table.space

    def __len__(self) -> int:
        return len(self.losses)

    def __getitem__(self, place: int) -> Found:
        architecture = self.space.architecture(self.numbers[place])
        costs = self.table.costs(architecture)
        return Found(space=self.space, architecture=architecture, loss=float(self.losses[place]), costs=costs)

    def __iter__(self) -> Iterator[Found]:
        return (self[place] for place in range(len(self)))

    def best(self, limits: Mapping[str, float] | None = None) -> Found:
        """The network of the lowest loss whose costs are not above the limits.

        Args:
            limits: by the names of costs; None for none.

        Raises:
            CodeError: if the front is not of a cost, or no network is within the limits; it names the smallest one.
        """
        return self.top(1, limits)[0]

    def top(self, count: int, limits: Mapping[str, float] | None = None) -> list[Found]:
        """The best networks whose costs are not above the limits, best first; fewer if there are not as many.

        Raises:
            CodeError: as :meth:`best`, or if the search kept fewer.
        """
        if not 1 <= count <= self.keep:
            raise CodeError(f"the search kept {self.keep} networks for each budget (got {count}); set its 'keep'")
        inside = self._within({} if limits is None else limits)
        order = np.argsort(self.losses[inside], kind="stable")  # costs and numbers decide between equals already
        return [self[int(place)] for place in inside[order[:count]]]

    def pareto(self) -> Front:
        """The networks that no other one dominates, where the search kept more."""
        kept = undominated(self.costs, self.losses)
        return Front(
            table=self.table,
            cost_names=self.cost_names,
            numbers=self.numbers[kept],
            costs=self.costs[kept],
            losses=self.losses[kept],
            keep=1,
            smallest=self.smallest,
        )

    def _within(self, limits: Mapping[str, float]) -> NDArray[np.int64]:
        """Places of the networks whose costs are not above the limits."""
        allowed = np.ones(len(self), dtype=bool)
        for name, limit in limits.items():
            if name not in self.cost_names:
                raise CodeError(f"the search was for {list(self.cost_names)}, not for {name!r}; search for it too")
            if not limit >= self.smallest[name]:  # a limit that is not a number neither
                raise CodeError(
                    f"no network of '{self.space.name}' has {name} <= {limit:,}; the smallest one has "
                    f"{self.smallest[name]:,}"
                )
            allowed &= self.costs[:, self.cost_names.index(name)] <= limit
        if not allowed.any():
            said = " and ".join(f"{name} <= {limit:,}" for name, limit in limits.items())
            least = ", ".join(f"{name} {least:,}" for name, least in self.smallest.items())
            raise CodeError(f"no network that was searched has {said}; the smallest ones have {least}, each by itself")
        return np.flatnonzero(allowed).astype(np.int64)
