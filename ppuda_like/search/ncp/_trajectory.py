"""What an edit went through."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppuda_like._conditions import rows_that_meet
from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.search.ncp._space import COST_NAMES

__all__ = ["EditTrajectory", "EditedCode"]

_FORMAT = "ppuda-like edit trajectory 1"
_SHAPES = {  # by the letters of sizes: steps, starts, numbers, relaxed numbers, metrics, costs
    "codes": "snd",
    "relaxed": "snr",
    "relaxed_predictions": "snm",
    "objective": "sn",
    "predictions": "snm",
    "stds": "snm",
    "costs": "snc",
}


@dataclass(frozen=True, kw_only=True)
class EditedCode:
    """A code on the way of an edit.

    Attributes:
        code: its numbers.
        start: number of the start that it came from.
        step: after how many updates.
        objective: value of the objective.
        predictions: metrics, by ``"<table>.<metric>"``.
        stds: standard deviations of the predictions, likewise.
        flops: operations of its network, exact.
        params: parameters, exact.
    """

    code: tuple[int, ...]
    start: int
    step: int
    objective: float
    predictions: dict[str, float]
    stds: dict[str, float]
    flops: float
    params: float


@dataclass(frozen=True, kw_only=True, eq=False)
class EditTrajectory:
    """Every code that an edit went through, by step and start.

    Attributes:
        space: name of the space of codes.
        metrics: names of what was predicted, ``"<table>.<metric>"``.
        codes: rounded codes, which meet the constraints, ``(steps, starts, d)``; those of step 0 are the starts.
        relaxed: the codes before rounding, ``(steps, starts, r)``.
        relaxed_predictions: metrics predicted for these, ``(steps, starts, m)``.
        objective: of the rounded codes, ``(steps, starts)``.
        predictions: metrics predicted for the rounded codes, ``(steps, starts, m)``.
        stds: standard deviations of the predictions; zeros where there are none, or none were wanted.
        costs: FLOPs and parameters of the rounded codes, exact, ``(steps, starts, 2)``.
        calls_per_step: codes that the predictors were asked about for each start and step.

    Raises:
        DataError: if shapes do not fit together.
    """

    space: str
    metrics: tuple[str, ...]
    codes: NDArray[np.int64]
    relaxed: NDArray[np.float64]
    relaxed_predictions: NDArray[np.float64]
    objective: NDArray[np.float64]
    predictions: NDArray[np.float64]
    stds: NDArray[np.float64]
    costs: NDArray[np.float64]
    calls_per_step: int

    def __post_init__(self) -> None:
        sizes = {"m": len(self.metrics), "c": len(COST_NAMES)}
        for name, letters in _SHAPES.items():
            shape = getattr(self, name).shape
            wanted = tuple(sizes.setdefault(letter, size) for letter, size in zip(letters, shape, strict=False))
            if shape != wanted or len(shape) != len(letters) or 0 in shape:
                raise DataError(
                    f"'{name}' of a trajectory must have shape {wanted} to fit the rest, without a 0 (got {shape})"
                )

    @property
    def steps(self) -> int:
        """Codes of each start."""
        return len(self.codes)

    @property
    def starts(self) -> int:
        """Codes that the edit began with."""
        return int(self.codes.shape[1])

    def columns(self) -> dict[str, NDArray[Any]]:
        """Figures of the rounded codes, each of shape ``(steps, starts)``, by the names that conditions use.

        They are ``step``, ``start``, ``objective``, ``flops``, ``params``, the metrics by their full names and, where
        that is unambiguous, without the table.
        """
        places: NDArray[np.int64] = np.indices(self.objective.shape)
        found: dict[str, NDArray[Any]] = {"step": places[0], "start": places[1], "objective": self.objective}
        found |= {name: self.costs[:, :, place] for place, name in enumerate(COST_NAMES)}
        full = {name: self.predictions[:, :, place] for place, name in enumerate(self.metrics)}
        bare = [name.partition(".")[2] for name in self.metrics]
        for name, values in full.items():
            short = name.partition(".")[2]
            if bare.count(short) == 1 and short not in found:
                found[short] = values
        return found | full

    def best(self, where: str | None = None) -> EditedCode:
        """The rounded code of the highest objective, the earliest of equals.

        Args:
            where: a condition on the columns of :meth:`columns`, ``"flops < 2e9 and step > 0"`` for instance.

        Raises:
            DataError: if the condition cannot be read, names no column, or is met by no code.
        """
        value = self.objective
        if where is not None:
            met = rows_that_meet(where, self.columns(), owner="trajectories", example="flops < 2e9 and step > 0")
            if not met.any():
                raise DataError(f"no code of the trajectory meets '{where}'; ask for less, or constrain the edit")
            value = np.where(met, value, -np.inf)
        step, start = (int(place) for place in np.unravel_index(value.argmax(), value.shape))
        return self.at(step, start)

    def at(self, step: int, start: int = 0) -> EditedCode:
        """The code of a start after so many updates; negative numbers count from the end."""
        step, start = range(self.steps)[step], range(self.starts)[start]
        place = step, start
        return EditedCode(
            code=tuple(self.codes[place].tolist()),
            start=start,
            step=step,
            objective=float(self.objective[place]),
            predictions=dict(zip(self.metrics, self.predictions[place].tolist(), strict=True)),
            stds=dict(zip(self.metrics, self.stds[place].tolist(), strict=True)),
            flops=float(self.costs[place][0]),
            params=float(self.costs[place][1]),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row for each start and step: the code joined by '_', objective, predictions, deviations, costs."""
        head = ["start", "step", "code", "objective", *self.metrics, *(f"std({name})" for name in self.metrics)]
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*head, *COST_NAMES])
            for start in range(self.starts):
                for step in range(self.steps):
                    place = step, start
                    numbers = [self.predictions[place], self.stds[place], self.costs[place]]
                    code = "_".join(map(str, self.codes[place].tolist()))
                    row = [start, step, code, float(self.objective[place])]
                    writer.writerow([*row, *np.concatenate(numbers).tolist()])

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write all of it."""
        found = asdict(self)
        found |= {name: found[name].tolist() for name in _SHAPES}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"format": _FORMAT, **found}))

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> EditTrajectory:
        """Read what :meth:`to_json` wrote.

        Raises:
            DataError: if the file is something else.
        """
        path = Path(path)
        try:
            found = json.loads(path.read_text())
        except ValueError as error:  # neither JSON nor UTF-8
            raise DataError(f"'{path}' is no trajectory: {error}; write one with EditTrajectory.to_json") from error
        if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
            raise DataError(f"'{path}' is not of the format '{_FORMAT}'; write one with EditTrajectory.to_json")
        wanted = {field.name for field in fields(cls)}
        if set(found) != wanted:
            raise DataError(f"'{path}' must hold {', '.join(sorted(wanted))} (got {', '.join(sorted(found))})")
        try:
            arrays: dict[str, NDArray[Any]] = {
                name: np.asarray(found[name], dtype=np.int64 if name == "codes" else np.float64) for name in _SHAPES
            }
        except (TypeError, ValueError) as error:
            raise DataError(f"'{path}' holds something else than arrays of numbers: {error}") from error
        return cls(
            space=str(found["space"]),
            metrics=tuple(map(str, found["metrics"])),
            calls_per_step=int(found["calls_per_step"]),
            **arrays,
        )
