"""What every long training run needs: metrics, a way to be stopped, and checkpoints that are complete or not there."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError

__all__ = ["JsonLines", "Log", "Means", "checkpoint_file", "stop_on_signals"]

Log = Callable[[Mapping[str, float], int], None]
"""A sink for metrics: it takes their values by name, and the step they belong to."""


class JsonLines:
    """A sink for metrics: one JSON object per call, appended to a file; a value that is not finite is null.

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
        values = {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")

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

    def state_dict(self) -> dict[str, tuple[float, int]]:
        """Sum and count of each value so far, for a checkpoint in between."""
        return {key: (total, self._counts[key]) for key, total in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, tuple[float, int]]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._sums = {key: total for key, (total, _) in state.items()}
        self._counts = {key: count for key, (_, count) in state.items()}


@contextmanager
def checkpoint_file(path: Path) -> Iterator[Path]:
    """A temporary path that becomes ``path`` on leaving, as :func:`replacing` does it.

    Raises:
        CheckpointError: if the file cannot be written; the one before is untouched then.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
        raise CheckpointError(
            f"cannot write the checkpoint '{path}' ({type(error).__name__}: {error}); the one before, if any, is "
            "untouched; make room, and run the same command again to continue from it"
        ) from error


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, in the main thread; their handlers are restored."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
