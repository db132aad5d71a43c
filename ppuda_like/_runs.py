"""What every long training run needs: metrics, a way to be stopped, and checkpoints that are complete or not there."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError

__all__ = [
    "JsonLines",
    "Log",
    "Means",
    "check_same_run",
    "checkpoint_file",
    "read_state",
    "stop_on_signals",
    "write_state",
]

_STATE_FILE = "state.pt"

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


def write_state(folder: Path, version: int, parts: Mapping[str, Any]) -> None:
    """Write what a resumption of a run needs to ``state.pt`` in its folder, which appears complete or stays as it was.

    Args:
        folder: of the run.
        version: number of the format, which is to rise when older states can no longer be read.
        parts: tensors, state dicts of modules and optimisers, numbers and texts, by name.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with checkpoint_file(folder / _STATE_FILE) as path:
        torch.save({"format": version, **parts}, path)


def read_state(folder: Path, version: int, device: torch.device | str) -> dict[str, Any] | None:
    """What :func:`write_state` wrote in the folder of a run, with tensors on a device; None where there is nothing.

    No code of the file is run.

    Raises:
        CheckpointError: if the file is broken or of another format.
    """
    path = folder / _STATE_FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        reason = f"it is damaged or no such file: {type(error).__name__}"
        raise CheckpointError(f"cannot read the training state '{path}' ({reason}); {_remedy(folder)}") from error
    if not isinstance(state, dict) or state.get("format") != version:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"the training state '{path}' must have format {version} (got {found!r}); {_remedy(folder)}"
        )
    return state


def check_same_run(folder: Path, topic: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare facts of the run that left its state in a folder with those of the run that would continue it.

    Both may be nested.  A fact that is None and one that is not there are the same, so that what is added to a config
    does not end runs that never used it.

    Args:
        folder: of the run.
        topic: what the facts are of, for the message: ``"config"``.
        before: the facts in the state, as JSON brought them back.
        now: JSON values.

    Raises:
        CheckpointError: if some differ.
    """
    old, new = _flat(before), _flat(json.loads(json.dumps(now)))  # which turns tuples into lists
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        shown = [f"{key}, {_shown(old.get(key))} before, now {_shown(new.get(key))}" for key in changed[:3]]
        shown += [f"and {len(changed) - 3} more"] * (len(changed) > 3)
        raise CheckpointError(
            f"the run in '{folder}' was started with another {topic} (different: {'; '.join(shown)}); "
            f"resume with the same one, {_remedy(folder)}"
        )


def _remedy(folder: Path) -> str:
    return f"delete '{folder / _STATE_FILE}' to start anew, or choose another folder"


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same facts without nesting, by the names of all levels."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {prefix + key: value}
    return found


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
