"""Metrics of a training run, averaged and written as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["JsonLines", "Means"]


class JsonLines:
    """A sink for metrics: one JSON object per call, appended to a file.

    Args:
        path: the file.
        after: step of the resumption; lines of later steps, written by a run that was killed, are dropped.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self.path = path
        kept = [line for line in self._lines() if json.loads(line)["step"] <= after]
        self.path.write_text("".join(line + "\n" for line in kept))

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the metrics of a step."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def _lines(self) -> list[str]:
        """The complete lines of the file; a run killed while writing leaves an incomplete last one."""
        if not self.path.exists():
            return []
        text = self.path.read_text()
        return text[: text.rfind("\n") + 1].splitlines()


class Means:
    """Means of named values since the last time they were taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Count values in."""
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
            self._counts[key] = self._counts.get(key, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, rounded for people to read; counting starts anew."""
        means = {key: round(total / self._counts[key], 6) for key, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means
