"""Cells, the variants of a stage, and their paths by number."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._operations import Operation, parse_operation

__all__ = ["Cell", "LayerShape", "Stage", "check_range"]

Indices = NDArray[np.int64]


class LayerShape(NamedTuple):
    """Widths and stride of a layer of a cell."""

    c_in: int
    c_out: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One variant of a stage: so many layers of a width, each of them one of the operations.

    A *path* is an operation for each layer; its *index* is its place when all paths are sorted, the first layer being
    the most significant: the number that the operations write in base ``len(operations)``.

    Attributes:
        depth: layers.
        width: output channels of every layer.
        operations: that each layer is one of.

    Example:
        >>> operations = tuple(parse_operation(f"ir_k{k}_e{e}_se0.25") for e in (6, 3) for k in (3, 5, 7))
        >>> cell = Cell(depth=4, width=40, operations=operations)
        >>> cell.num_paths, cell.indices([[1, 0, 3, 1]]), cell.paths([235])
        (1296, array([235]), array([[1, 0, 3, 1]]))
    """

    depth: int
    width: int
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        if self.depth < 1 or self.width < 1:
            raise CodeError(f"'depth' and 'width' of a cell must be positive (got {self.depth} and {self.width})")
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise CodeError(f"'operations' must be one or more, all different (got {list(map(str, self.operations))})")
        if len(self.operations) ** self.depth > np.iinfo(np.int64).max:
            raise CodeError(
                f"{len(self.operations)} operations in {self.depth} layers are more paths than can be numbered"
            )

    @property
    def num_paths(self) -> int:
        """How many paths there are: operations to the power of layers."""
        return int(len(self.operations) ** self.depth)

    def indices(self, paths: ArrayLike) -> Indices:
        """Indices of paths, (n, depth) -> (n,).

        Raises:
            CodeError: if they have another shape, or an operation has no such number.
        """
        found = np.asarray(paths)
        if found.ndim != 2 or found.shape[1] != self.depth or found.dtype.kind not in "iu":
            raise CodeError(f"paths must be integers of shape (n, {self.depth}) (got {found.dtype}, {found.shape})")
        check_range(found, len(self.operations), "operations")
        powers = len(self.operations) ** np.arange(self.depth - 1, -1, -1, dtype=np.int64)
        return found.astype(np.int64) @ powers

    def paths(self, indices: ArrayLike | None = None) -> Indices:
        """Paths of indices, (n,) -> (n, depth); all of them, in order, for None.

        Raises:
            CodeError: if an index is none of ``0..num_paths - 1``.
        """
        found = np.arange(self.num_paths) if indices is None else np.asarray(indices)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise CodeError(f"indices must be integers of shape (n,) (got {found.dtype}, {found.shape})")
        check_range(found, self.num_paths, "paths")
        powers = len(self.operations) ** np.arange(self.depth - 1, -1, -1, dtype=np.int64)
        return found.astype(np.int64)[:, None] // powers % len(self.operations)

    def shapes(self, stride: int, c_in: int, c_out: int | None = None) -> list[LayerShape]:
        """Widths and strides of the layers.

        Args:
            stride: of the first layer.
            c_in: input channels of the first layer.
            c_out: output channels of the last layer; None for the cell's width.  A supernet that imitates a teacher has
                the teacher's width there.
        """
        widths = [c_in, *[self.width] * (self.depth - 1), self.width if c_out is None else c_out]
        return [
            LayerShape(before, after, 1 if place else stride) for place, (before, after) in enumerate(pairwise(widths))
        ]

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, operations as text."""
        return {"depth": self.depth, "width": self.width, "operations": list(map(str, self.operations))}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Cell:
        """The cell that :meth:`to_dict` gave."""
        operations = tuple(map(parse_operation, values["operations"]))
        return cls(depth=values["depth"], width=values["width"], operations=operations)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a space: one of its cells is taken, the first layer of which has the stage's stride.

    The paths of all cells are numbered through, those of the first cell first.

    Attributes:
        cells: of different depth, width or operations.
        stride: of the first layer.
    """

    cells: tuple[Cell, ...]
    stride: int = 1

    def __post_init__(self) -> None:
        if not self.cells or len(set(self.cells)) < len(self.cells):
            raise CodeError(f"'cells' of a stage must be one or more, all different (got {len(self.cells)})")
        if self.stride < 1:
            raise CodeError(f"'stride' of a stage must be positive (got {self.stride})")

    @property
    def num_paths(self) -> int:
        """Paths of all cells together."""
        return sum(cell.num_paths for cell in self.cells)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Number of the first path of each cell."""
        return tuple(sum(cell.num_paths for cell in self.cells[:place]) for place in range(len(self.cells)))

    def locate(self, number: int) -> tuple[int, tuple[int, ...]]:
        """The cell and the path of a number.

        Raises:
            CodeError: if the number is none of ``0..num_paths - 1``.
        """
        if not 0 <= number < self.num_paths:
            raise CodeError(f"paths of the stage are 0..{self.num_paths - 1} (got {number})")
        cell = max(place for place, offset in enumerate(self.offsets) if offset <= number)
        (path,) = self.cells[cell].paths([number - self.offsets[cell]]).tolist()
        return cell, tuple(path)


def check_range(found: NDArray[Any], count: int, what: str) -> None:
    """Refuse numbers that are none of ``0..count - 1``."""
    wrong = found[(found < 0) | (found >= count)]
    if wrong.size:
        raise CodeError(f"{what} are 0..{count - 1} (got {wrong.flat[0]})")
