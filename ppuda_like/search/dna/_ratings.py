"""Ratings of every path of the cells of a space, and their files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.search.dna._ratings_file import SUFFIXES, rating_suffix, read_ratings
from ppuda_like.search.dna._space import Space

__all__ = ["CellRatings", "Ratings"]

Floats = NDArray[np.float64]

_FORMAT = "ppuda-like path ratings"
_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class CellRatings:
    """How far each path of a cell is from the teacher, by one measure or several; lower is better.

    The measures of the published search are ``relative_l1`` (mean absolute difference over the standard deviation of
    the target, the one to search by), ``mse``, ``relative_mse`` (over the variance), ``l1_over_mean`` (over the mean
    absolute target) and ``root_mse_over_variance``.

    Attributes:
        space: the cell belongs to.
        stage: number of the stage.
        cell: number of the cell in it.
        measures: by name, shape (num_paths,), in the order of the indices of paths.
        standard_errors: of measures, by the same names; empty where they are not known.
        meta: what else is known: images, teacher, seed.  It must be fit for JSON.

    Raises:
        DataError: if there is no such cell, no measure, or a measure has another length, is not finite, negative, or
            zero everywhere.
    """

    space: Space
    stage: int
    cell: int = 0
    measures: Mapping[str, Floats]
    standard_errors: Mapping[str, Floats] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stages = self.space.stages
        if not 0 <= self.stage < len(stages) or not 0 <= self.cell < len(stages[self.stage].cells):
            raise DataError(f"'{self.space.name}' has no stage {self.stage} with a cell {self.cell} to be rated")
        if not self.measures:
            raise DataError(f"{self.place} has no measure")
        unknown = self.standard_errors.keys() - self.measures.keys()
        if unknown:
            raise DataError(f"{self.place} has standard errors of {sorted(unknown)}, which it has no measure of")
        for key in ("measures", "standard_errors"):
            found = {
                name: self._checked(f"{key[:-1].replace('_', ' ')} '{name}'", values, zeros=key != "measures")
                for name, values in getattr(self, key).items()
            }
            object.__setattr__(self, key, MappingProxyType(found))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    @property
    def place(self) -> str:
        """What is rated, for messages."""
        return f"stage {self.stage}, cell {self.cell} of '{self.space.name}'"

    def _checked(self, what: str, values: ArrayLike, *, zeros: bool) -> Floats:
        found = np.array(values, dtype=np.float64)
        paths = self.space.stages[self.stage].cells[self.cell].num_paths
        if found.shape != (paths,):
            raise DataError(f"{what} of {self.place} must have one value for each of {paths} paths (got {found.shape})")
        wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
        if len(wrong):
            raise DataError(
                f"{what} of {self.place} must be finite and not negative (got {found[wrong[0]]} for path {wrong[0]}, "
                f"and {len(wrong) - 1} more such)"
            )
        if not zeros and not found.any():
            raise DataError(
                f"{what} of {self.place} is 0 for every path: nothing was rated. The published program writes such "
                "files when it runs outside of distributed mode; rate anew, or choose another measure"
            )
        found.flags.writeable = False
        return found

    def identity(self) -> dict[str, Any]:
        """What ratings are good for: the cell, where it is, and what comes before it."""
        return _identity(self.space, self.stage, self.cell)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, ``.npz`` or ``.json``, that appears complete or not at all.

        Raises:
            DataError: if the file is called otherwise.
        """
        suffix = rating_suffix(path)
        head = {"format": _FORMAT, "version": _VERSION, "identity": self.identity(), "meta": dict(self.meta)}
        arrays = {f"measure:{name}": values for name, values in self.measures.items()}
        arrays |= {f"standard_error:{name}": values for name, values in self.standard_errors.items()}
        with replacing(path) as temporary:
            if suffix == ".npz":
                np.savez_compressed(temporary, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]
            else:
                lists = {name: values.tolist() for name, values in arrays.items()}
                temporary.write_text(json.dumps({**head, "arrays": lists}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: Space) -> CellRatings:
        """Read a file that :meth:`save` wrote.

        Args:
            path: of the file.
            space: the ratings are to be of; which stage and cell it is, the file knows.

        Raises:
            DataError: if the file is missing, damaged, or of another space; it names the difference.
        """
        head, arrays = read_ratings(path)
        if head.get("format") != _FORMAT:
            raise DataError(f"'{path}' holds no ratings: its 'format' must be '{_FORMAT}' (got {head.get('format')!r})")
        if head.get("version") != _VERSION:
            raise DataError(f"'{path}' has version {head.get('version')!r} of the format, {_VERSION} is read")
        identity, meta = head.get("identity"), head.get("meta")
        if not isinstance(identity, dict) or not isinstance(meta, dict):
            raise DataError(f"'{path}' is damaged: it does not say what was rated")
        by_kind: dict[str, dict[str, Any]] = {"measure": {}, "standard_error": {}}
        for name, values in arrays.items():
            kind, _, measure = name.partition(":")
            if kind not in by_kind:
                raise DataError(f"'{path}' is damaged: it holds {name!r}, which is no measure")
            by_kind[kind][measure] = values
        stage, cell = _find(identity, space, path)
        try:
            return cls(
                space=space,
                stage=stage,
                cell=cell,
                measures=by_kind["measure"],
                standard_errors=by_kind["standard_error"],
                meta=meta,
            )
        except (TypeError, ValueError) as error:  # DataError is one of them
            raise DataError(f"in '{path}': {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratings:
    """Ratings of all cells of a space, by one measure.

    A stage that has a single path needs none: it counts as 0, whatever is taken elsewhere.

    Attributes:
        space: of the cells.
        cells: ratings of each cell.
        measure: to search by.

    Raises:
        DataError: if a cell is rated twice, not at all, in another space, or not by the measure.

    Example:
        >>> from ppuda_like.search.dna import cifar_space
        >>> space = cifar_space(depths=(1, 1, 1, 1))
        >>> ratings = Ratings.from_arrays(space, [[0.4, 0.3, 0.5, 0.6]] * 4)
        >>> ratings.values(2)
        array([0.4, 0.3, 0.5, 0.6])
    """

    space: Space
    cells: tuple[CellRatings, ...]
    measure: str = "relative_l1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(sorted(self.cells, key=lambda found: (found.stage, found.cell))))
        seen: set[tuple[int, int]] = set()
        for found in self.cells:
            if found.space != self.space:
                raise DataError(f"{found.place} is rated in another space than '{self.space.name}'")
            if (found.stage, found.cell) in seen:
                raise DataError(f"{found.place} is rated twice")
            if self.measure not in found.measures:
                raise DataError(f"{found.place} is not rated by '{self.measure}', only by {sorted(found.measures)}")
            seen.add((found.stage, found.cell))
        missing = [
            f"stage {number}, cell {cell}"
            for number, stage in enumerate(self.space.stages)
            for cell in range(len(stage.cells))
            if (number, cell) not in seen and stage.num_paths > 1
        ]
        if missing:
            raise DataError(f"ratings of '{self.space.name}' are missing for {'; '.join(missing)}; rate these first")

    @classmethod
    def from_arrays(
        cls,
        space: Space,
        values: Iterable[ArrayLike],
        standard_errors: Iterable[ArrayLike] | None = None,
        *,
        measure: str = "relative_l1",
    ) -> Ratings:
        """Ratings from one array for each stage, the paths of all of its cells one after another.

        Args:
            space: of the stages.
            values: shape (num_paths,) for each stage.
            standard_errors: of the values, of the same shapes; None if they are not known.
            measure: what the values are.

        Raises:
            DataError: if there is not one array for each stage, and as for :class:`CellRatings`.
        """
        arrays = [np.asarray(found, dtype=np.float64) for found in values]
        errors = None if standard_errors is None else [np.asarray(found, dtype=np.float64) for found in standard_errors]
        for found in (arrays, errors):
            if found is not None and [array.shape for array in found] != [(paths,) for paths in space.num_paths]:
                raise DataError(
                    f"ratings of '{space.name}' must have one value for each path of its stages, {space.num_paths} "
                    f"(got shapes {[array.shape for array in found]})"
                )
        cells = []
        for number, stage in enumerate(space.stages):
            for place, (cell, offset) in enumerate(zip(stage.cells, stage.offsets, strict=True)):
                part = slice(offset, offset + cell.num_paths)
                cells.append(
                    CellRatings(
                        space=space,
                        stage=number,
                        cell=place,
                        measures={measure: arrays[number][part]},
                        standard_errors={} if errors is None else {measure: errors[number][part]},
                    )
                )
        return cls(space=space, cells=tuple(cells), measure=measure)

    @classmethod
    def load(
        cls,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        space: Space,
        measure: str = "relative_l1",
    ) -> Ratings:
        """Read the ratings of all cells.

        Args:
            files: one for each cell, or the folder that holds them and no other ``.npz`` and ``.json`` files.
            space: of the cells.
            measure: to search by.

        Raises:
            DataError: as for :meth:`CellRatings.load` and :class:`Ratings`.
        """
        if isinstance(files, (str, os.PathLike)):
            folder = Path(files)
            files = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES)
            if not files:
                raise DataError(f"there are no ratings in '{folder}', no {' or '.join(SUFFIXES)} file")
        cells = tuple(CellRatings.load(path, space) for path in files)
        return cls(space=space, cells=cells, measure=measure)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``stageI-cellJ.npz`` files, one for each cell, into a folder."""
        for found in self.cells:
            found.save(Path(folder) / f"stage{found.stage}-cell{found.cell}.npz")

    def values(self, stage: int) -> Floats:
        """Ratings of all paths of a stage, shape (num_paths,)."""
        return self._joined(stage, {found.cell: found.measures[self.measure] for found in self._of(stage)})

    def errors(self, stage: int) -> Floats:
        """Standard errors of :meth:`values`.

        Raises:
            DataError: if they are not known.
        """
        known = {}
        for found in self._of(stage):
            if self.measure not in found.standard_errors:
                raise DataError(f"the standard errors of '{self.measure}' are not known for {found.place}")
            known[found.cell] = found.standard_errors[self.measure]
        return self._joined(stage, known)

    def with_values(self, values: Iterable[ArrayLike]) -> Ratings:
        """The same with other values; standard errors are left out."""
        return Ratings.from_arrays(self.space, values, measure=self.measure)

    def _of(self, stage: int) -> list[CellRatings]:
        return [found for found in self.cells if found.stage == stage]

    def _joined(self, stage: int, known: Mapping[int, Floats]) -> Floats:
        if not known:
            return np.zeros(1)  # one path: there was nothing to rate
        return np.concatenate([known[cell] for cell in range(len(self.space.stages[stage].cells))])


def _identity(space: Space, stage: int, cell: int) -> dict[str, Any]:
    return {
        "stage": stage,
        **space.stages[stage].cells[cell].to_dict(),
        "stride": space.stages[stage].stride,
        "size": space.size_in(stage),
        "image_size": space.image_size,
    }


def _find(identity: dict[str, Any], space: Space, path: str | os.PathLike[str]) -> tuple[int, int]:
    """The stage and the cell that a file is about."""
    stage = identity.get("stage")
    if not isinstance(stage, int) or not 0 <= stage < len(space.stages):
        raise DataError(f"'{path}' rates stage {stage!r}, '{space.name}' has stages 0..{len(space.stages) - 1}")
    differences = []
    for cell in range(len(space.stages[stage].cells)):
        wanted = _identity(space, stage, cell)
        differing = [key for key, value in wanted.items() if identity.get(key) != value]
        if not differing:
            return stage, cell
        said = "; ".join(f"{key} {identity.get(key)!r}, not {wanted[key]!r}" for key in differing)
        differences.append(f"cell {cell}: {said}")
    raise DataError(
        f"'{path}' holds ratings of another space: it differs from stage {stage} of '{space.name}' in "
        f"{' | '.join(differences)}"
    )
