"""Search spaces of networks in stages: one cell for each stage, one operation for each layer of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._cell import Cell, Stage, check_range
from ppuda_like.search.dna._definition import Layer, NetworkDefinition, parse_layer
from ppuda_like.search.dna._parts import Head, Part, Stem

__all__ = ["Architecture", "Space"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Architecture:
    """One network of a space, by numbers; :meth:`Space.definition` says what they mean.

    Attributes:
        paths: operation of each layer of each stage.
        cells: of each stage; empty for the first one everywhere.
    """

    paths: tuple[tuple[int, ...], ...]
    cells: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(tuple(int(op) for op in path) for path in self.paths))
        object.__setattr__(self, "cells", tuple(int(cell) for cell in self.cells) or (0,) * len(self.paths))
        if len(self.cells) != len(self.paths):
            raise CodeError(f"'cells' must be one for each of {len(self.paths)} stages (got {len(self.cells)})")


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space of networks: a stem, stages of which a cell and a path are chosen, and a head.

    The input of a stage has the width of the cell that the stage before it has, so what a cell costs depends on that
    choice too.

    Attributes:
        name: of the space.
        stages: what is chosen.
        first: layers between the stem and the first stage, which are not chosen.
        stem: first convolution.
        head: what follows the last stage.
        image_size: side of the square images.
    """

    name: str
    stages: tuple[Stage, ...]
    first: tuple[Layer, ...] = ()
    stem: Stem = field(default_factory=Stem)
    head: Head = field(default_factory=Head)
    image_size: int = 224

    def __post_init__(self) -> None:
        if not self.stages:
            raise CodeError(f"space '{self.name}' must have stages")
        if self.image_size < 1:
            raise CodeError(f"'image_size' must be positive (got {self.image_size})")

    @property
    def size(self) -> int:
        """How many networks there are."""
        return math.prod(stage.num_paths for stage in self.stages)

    @property
    def num_paths(self) -> tuple[int, ...]:
        """Paths of each stage, all cells together."""
        return tuple(stage.num_paths for stage in self.stages)

    @cached_property
    def _first_parts(self) -> list[Part]:
        parts = [self.stem.part(self.image_size)]
        for layer in (one for several in self.first for one in several.single()):
            before = parts[-1]
            parts.append(
                Part(
                    what=layer.operation,
                    c_in=before.c_out,
                    c_out=layer.width,
                    stride=layer.stride,
                    size=before.size_out,
                )
            )
        return parts

    def first_parts(self) -> list[Part]:
        """What is before the first stage and not chosen: the stem, and layers one by one."""
        return list(self._first_parts)

    def size_in(self, stage: int) -> int:
        """Side of the features that go into a stage; behind the last one, those that go into the head."""
        size = self._first_parts[-1].size_out
        for before in self.stages[:stage]:
            size = -(-size // before.stride)
        return size

    def widths_in(self, stage: int) -> tuple[int, ...]:
        """Widths, ascending, that the input of a stage may have; behind the last one, those of the head's input."""
        if stage == 0:
            return (self._first_parts[-1].c_out,)
        return tuple(sorted({cell.width for cell in self.stages[stage - 1].cells}))

    def all_parts(self) -> list[Part]:
        """Every stem, layer and head that a network of the space may have, each once."""
        found = self.first_parts()
        for number, stage in enumerate(self.stages):
            for width in self.widths_in(number):
                for cell in range(len(stage.cells)):
                    found += [part for layer in self.layer_parts(number, cell, width) for part in layer]
        last = len(self.stages)
        found += [self.head.part(width, self.size_in(last)) for width in self.widths_in(last)]
        return list(dict.fromkeys(found))

    def layer_parts(self, stage: int, cell: int, c_in: int, c_out: int | None = None) -> list[list[Part]]:
        """Every operation at every layer of a cell, as parts that modules and costs are made of.

        Args:
            stage: number of the stage.
            cell: number of the cell in it.
            c_in: input channels of the stage.
            c_out: see :meth:`Cell.shapes`.

        Returns:
            For each layer its operations.
        """
        chosen, stride = self.stages[stage].cells[cell], self.stages[stage].stride
        size = self.size_in(stage)
        found = []
        for shape in chosen.shapes(stride, c_in, c_out):
            found.append([Part(what=what, size=size, **shape._asdict()) for what in chosen.operations])
            size = found[-1][0].size_out
        return found

    # ---------------------------------------------------------------------------------------------- networks

    def check(self, architecture: Architecture) -> None:
        """Refuse an architecture that is not in the space.

        Raises:
            CodeError: if a stage, a cell, a layer or an operation is missing or too many; it names the place.
        """
        if len(architecture.paths) != len(self.stages):
            raise CodeError(f"'{self.name}' has {len(self.stages)} stages (got paths for {len(architecture.paths)})")
        for number, (stage, cell, path) in enumerate(
            zip(self.stages, architecture.cells, architecture.paths, strict=True)
        ):
            if not 0 <= cell < len(stage.cells):
                raise CodeError(f"stage {number} of '{self.name}' has cells 0..{len(stage.cells) - 1} (got {cell})")
            depth, ops = stage.cells[cell].depth, len(stage.cells[cell].operations)
            if len(path) != depth or not all(0 <= op < ops for op in path):
                raise CodeError(
                    f"stage {number} of '{self.name}' has {depth} layers with operations 0..{ops - 1} in cell {cell} "
                    f"(got {list(path)})"
                )

    def architecture(self, numbers: ArrayLike) -> Architecture:
        """The architecture of the number of a path for each stage, shape (stages,).

        Raises:
            CodeError: if there is not one whole number for each stage, or a stage has no such path.
        """
        found = np.asarray(numbers)
        if found.shape != (len(self.stages),) or found.dtype.kind not in "iu":
            raise CodeError(
                f"an architecture of '{self.name}' is one whole number for each of {len(self.stages)} stages "
                f"(got {found.dtype}, shape {found.shape})"
            )
        located = [stage.locate(number) for stage, number in zip(self.stages, found.tolist(), strict=True)]
        return Architecture(tuple(path for _, path in located), tuple(cell for cell, _ in located))

    def numbers(self, architecture: Architecture) -> Indices:
        """The number of the path of each stage, shape (stages,); :meth:`architecture` is the inverse.

        Raises:
            CodeError: as :meth:`check`.
        """
        self.check(architecture)
        return np.array(
            [
                stage.offsets[cell] + int(stage.cells[cell].indices([path])[0])
                for stage, cell, path in zip(self.stages, architecture.cells, architecture.paths, strict=True)
            ]
        )

    def check_numbers(self, numbers: ArrayLike) -> Indices:
        """Numbers of paths of many networks, shape (n, stages), as integers.

        Raises:
            CodeError: if they have another shape, or a stage has no such path.
        """
        found = np.asarray(numbers)
        if found.ndim != 2 or found.shape[1] != len(self.stages) or found.dtype.kind not in "iu":
            raise CodeError(
                f"numbers of paths of '{self.name}' must be integers of shape (n, {len(self.stages)}) "
                f"(got {found.dtype}, shape {found.shape})"
            )
        for stage, (column, paths) in enumerate(zip(found.T, self.num_paths, strict=True)):
            check_range(column, paths, f"paths of stage {stage}")
        return found.astype(np.int64)

    def sample(self, num: int, rng: np.random.Generator) -> Indices:
        """Numbers of paths of networks that are drawn uniformly, shape (num, stages); they may repeat."""
        return np.stack([rng.integers(paths, size=num) for paths in self.num_paths], axis=1)

    def definition(self, architecture: Architecture) -> NetworkDefinition:
        """The network of an architecture.

        Raises:
            CodeError: as :meth:`check`.
        """
        self.check(architecture)
        stages = [self.first] if self.first else []
        for stage, number, path in zip(self.stages, architecture.cells, architecture.paths, strict=True):
            cell = stage.cells[number]
            stages.append(
                tuple(
                    Layer(operation=cell.operations[op], width=cell.width, stride=1 if place else stage.stride)
                    for place, op in enumerate(path)
                )
            )
        return NetworkDefinition(
            stages=tuple(stages),
            stem=self.stem,
            head=self.head,
            image_size=self.image_size,
            name=f"{self.name} {self.format(architecture)}",
        )

    def format(self, architecture: Architecture) -> str:
        """An architecture as text: for each stage the cell, where there are several, and the operations.

        Raises:
            CodeError: as :meth:`check`.

        Example:
            >>> from ppuda_like.search.dna import imagenet_space
            >>> space = imagenet_space()
            >>> architecture = space.parse("10 1101 1011 0114 1411 0")
            >>> architecture.paths[0], space.format(architecture)
            ((1, 0), '10 1101 1011 0114 1411 0')
        """
        self.check(architecture)
        words = []
        for stage, cell, path in zip(self.stages, architecture.cells, architecture.paths, strict=True):
            joint = "" if len(stage.cells[cell].operations) <= 10 else "."
            words.append((f"{cell}:" if len(stage.cells) > 1 else "") + joint.join(map(str, path)))
        return " ".join(words)

    def parse(self, text: str) -> Architecture:
        """The architecture that :meth:`format` wrote.

        Raises:
            CodeError: if the text is none of this space.
        """
        words = text.split()
        if len(words) != len(self.stages):
            raise CodeError(f"'{self.name}' has {len(self.stages)} stages (got {len(words)} words in '{text}')")
        cells, paths = [], []
        for number, (stage, word) in enumerate(zip(self.stages, words, strict=True)):
            cell, _, ops = word.rpartition(":") if len(stage.cells) > 1 else ("0", "", word)
            try:
                cells.append(int(cell))
                if not 0 <= cells[-1] < len(stage.cells):
                    raise CodeError(f"stage {number} of '{self.name}' has cells 0..{len(stage.cells) - 1} (got {cell})")
                several = len(stage.cells[cells[-1]].operations) > 10
                paths.append(tuple(map(int, ops.split(".") if several else ops)))
            except CodeError:
                raise
            except ValueError as error:
                form = "CELL:OPERATIONS" if len(stage.cells) > 1 else "OPERATIONS"
                raise CodeError(f"stage {number} of '{self.name}' is written {form} (got '{word}')") from error
        architecture = Architecture(tuple(paths), tuple(cells))
        self.check(architecture)
        return architecture

    # ------------------------------------------------------------------------------------------------- files

    def to_dict(self) -> dict[str, Any]:
        """The space as numbers, texts, lists and dictionaries; :meth:`from_dict` is the inverse."""
        return {
            "name": self.name,
            "stem": self.stem.to_dict(),
            "first": list(map(str, self.first)),
            "stages": [
                {"stride": stage.stride, "cells": [cell.to_dict() for cell in stage.cells]} for stage in self.stages
            ],
            "head": self.head.to_dict(),
            "image_size": self.image_size,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Space:
        """The space that :meth:`to_dict` gave.

        Raises:
            CodeError: if something is missing or no part of a space.
        """
        try:
            return cls(
                name=values["name"],
                stem=Stem(**values["stem"]),
                first=tuple(map(parse_layer, values["first"])),
                stages=tuple(
                    Stage(stride=stage["stride"], cells=tuple(Cell.from_dict(cell) for cell in stage["cells"]))
                    for stage in values["stages"]
                ),
                head=Head(**values["head"]),
                image_size=values["image_size"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CodeError(f"this describes no space: {type(error).__name__}: {error}") from error

    def with_cells(self, stage: int, cells: Sequence[Cell]) -> Space:
        """The same space with other cells in a stage."""
        stages = list(self.stages)
        stages[stage] = replace(stages[stage], cells=tuple(cells))
        return replace(self, stages=tuple(stages))
