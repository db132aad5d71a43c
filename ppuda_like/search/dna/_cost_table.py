"""Costs of all networks of a space, as sums over what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._costs import PartCosts, part_costs
from ppuda_like.search.dna._parts import Part
from ppuda_like.search.dna._space import Architecture, Space

__all__ = ["CostTable", "cost_table"]

Integers = NDArray[np.int64]
PartCost = Callable[[Part], int]


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """What each operation costs at each place of a space; the cost of a network is the sum of its parts.

    :func:`cost_table` makes one.  Costs are whole numbers, so that sums are exact.

    Attributes:
        space: it is of.
        names: of the costs.
        first: what is before the first stage, shape (costs,).
        head: for each width of its input, shape (costs,).
        layers: for (stage, cell, width of the stage's input), shape (depth, operations, costs).
    """

    space: Space
    names: tuple[str, ...]
    first: Integers
    head: Mapping[int, Integers]
    layers: Mapping[tuple[int, int, int], Integers]

    def columns(self, names: Sequence[str]) -> list[int]:
        """Places of costs.

        Raises:
            CodeError: if there is no cost of a name.
        """
        for name in names:
            if name not in self.names:
                raise CodeError(
                    f"there is no cost {name!r} in the table of '{self.space.name}', only {list(self.names)}"
                )
        return [self.names.index(name) for name in names]

    def path_costs(self, stage: int, cell: int, c_in: int, names: Sequence[str] | None = None) -> Integers:
        """Costs of every path of a cell, in the order of their indices.

        Args:
            stage: number of the stage.
            cell: number of the cell in it.
            c_in: width of the stage's input.
            names: of the costs; None for all.

        Returns:
            (num_paths, costs).

        Raises:
            CodeError: if there is no cost of a name.
        """
        columns = slice(None) if names is None else self.columns(names)
        found: Integers
        found, *rest = self.layers[stage, cell, c_in][:, :, columns]
        for layer in rest:
            found = (found[:, None] + layer).reshape(-1, found.shape[1])
        return found

    def costs(self, architecture: Architecture) -> dict[str, int]:
        """Costs of one network.

        Raises:
            CodeError: if it is not in the space.
        """
        self.space.check(architecture)
        total, (width,) = self.first.copy(), self.space.widths_in(0)
        for stage, (cell, path) in enumerate(zip(architecture.cells, architecture.paths, strict=True)):
            total += self.layers[stage, cell, width][np.arange(len(path)), list(path)].sum(axis=0)
            width = self.space.stages[stage].cells[cell].width
        return dict(zip(self.names, (total + self.head[width]).tolist(), strict=True))

    def costs_of(self, numbers: ArrayLike, names: Sequence[str] | None = None) -> Integers:
        """Costs of many networks.

        Args:
            numbers: of the path of each stage, shape (n, stages), as :meth:`Space.sample` draws them.
            names: of the costs; None for all.

        Returns:
            (n, costs).

        Raises:
            CodeError: if a stage has no path of a number, or there is no cost of a name.
        """
        found = self.space.check_numbers(numbers)
        columns = self.columns(self.names if names is None else names)
        total = np.tile(self.first[columns], (len(found), 1))
        widths = np.full(len(found), self.space.widths_in(0)[0])
        for number, stage in enumerate(self.space.stages):
            after = widths.copy()
            for cell, (chosen, offset) in enumerate(zip(stage.cells, stage.offsets, strict=True)):
                inside = (found[:, number] >= offset) & (found[:, number] < offset + chosen.num_paths)
                for width in np.unique(widths[inside]).tolist():
                    rows = inside & (widths == width)
                    costs = self.path_costs(number, cell, width)[:, columns]
                    total[rows] += costs[found[rows, number] - offset]
                after[inside] = chosen.width
            widths = after
        for width in np.unique(widths).tolist():
            total[widths == width] += self.head[width][columns]
        return total


def cost_table(space: Space, extra: Mapping[str, PartCost] | None = None) -> CostTable:
    """Count all parts of a space: ``macs``, ``flops_counter`` and ``params`` of one image; see :class:`PartCosts`.

    Every part is the module that networks are built of, so the sums are what the networks have.

    Args:
        space: whose networks.
        extra: more costs by name: what a part costs, a whole number, see :func:`measure_latency` for instance.  Each
            distinct part is asked for once.

    Raises:
        CodeError: if an extra cost has a name that is taken, or is no whole number.

    Example:
        >>> from ppuda_like.search.dna import imagenet_space
        >>> space = imagenet_space()
        >>> cost_table(space).costs(space.parse("10 1101 1011 0114 1411 0"))  # this is DNA_c
        {'macs': 450138976, 'flops_counter': 465920048, 'params': 5273896}
    """
    extra = MappingProxyType({}) if extra is None else extra
    taken = set(extra) & set(PartCosts._fields)
    if taken:
        raise CodeError(f"the names {sorted(taken)} are taken; call the extra costs otherwise")
    known: dict[Part, list[int]] = {}

    def of(part: Part) -> list[int]:
        if part not in known:
            known[part] = [*part_costs(part), *(_whole(name, part, cost(part)) for name, cost in extra.items())]
        return known[part]

    return CostTable(
        space=space,
        names=(*PartCosts._fields, *extra),
        first=np.array([of(part) for part in space.first_parts()], dtype=np.int64).sum(axis=0),
        head={
            width: np.array(of(space.head.part(width, space.size_in(len(space.stages)))), dtype=np.int64)
            for width in space.widths_in(len(space.stages))
        },
        layers={
            (number, cell, width): np.array(
                [[of(part) for part in layer] for layer in space.layer_parts(number, cell, width)], dtype=np.int64
            )
            for number, stage in enumerate(space.stages)
            for cell in range(len(stage.cells))
            for width in space.widths_in(number)
        },
    )


@lru_cache(maxsize=32)
def counted(space: Space) -> CostTable:
    """The table of a space without extra costs, made once."""
    return cost_table(space)


def _whole(name: str, part: Part, cost: int) -> int:
    if isinstance(cost, bool) or not isinstance(cost, (int, np.integer)) or cost < 0:
        raise CodeError(
            f"cost '{name}' of {part.what} must be a whole number, not negative (got {cost!r}); choose a smaller unit"
        )
    return int(cost)
