"""Measured time as a cost."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ppuda_like._files import replacing
from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna._parts import Part
from ppuda_like.search.dna._space import Space

__all__ = ["LatencyTable", "measure_latency"]

_FORMAT = "ppuda-like latencies"
_VERSION = 1


@dataclass(frozen=True)
class LatencyTable:
    """Nanoseconds that each part of the networks of a space takes; a cost for :func:`cost_table`.

    The time of a network is taken as the sum of its parts' times, which leaves out what devices overlap.

    Attributes:
        nanoseconds: of each part, by its text.

    Example:
        >>> from ppuda_like.search.dna import cifar_space, cost_table
        >>> space = cifar_space(depths=(1, 1, 1, 1))
        >>> times = LatencyTable({str(part): 1_000 for part in space.all_parts()})
        >>> table = cost_table(space, {"latency_ns": times})
        >>> table.costs(space.parse("0 1 2 3"))["latency_ns"]
        7000
    """

    nanoseconds: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nanoseconds", MappingProxyType(dict(self.nanoseconds)))

    def __call__(self, part: Part) -> int:
        """Nanoseconds of a part.

        Raises:
            CodeError: if it was not measured.
        """
        text = str(part)
        if text not in self.nanoseconds:
            raise CodeError(f"the latency of '{text}' was not measured; measure all parts of the space")
        return self.nanoseconds[text]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file that appears complete or not at all."""
        values = {"format": _FORMAT, "version": _VERSION, "nanoseconds": dict(self.nanoseconds)}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatencyTable:
        """Read a file that :meth:`save` wrote, or another program in its place.

        Raises:
            DataError: if it is missing, damaged or something else, or a time is no positive whole number.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"'{path}' holds no latencies: {error}") from error
        if not isinstance(values, dict) or (values.get("format"), values.get("version")) != (_FORMAT, _VERSION):
            raise DataError(f"'{path}' holds no latencies: 'format' must be '{_FORMAT}' and 'version' {_VERSION}")
        times = values.get("nanoseconds")
        if not isinstance(times, dict):
            raise DataError(f"'{path}' is damaged: 'nanoseconds' must map parts to times")
        for text, value in times.items():
            if type(value) is not int or value < 1:
                raise DataError(f"'{path}': the latency of '{text}' must be a positive whole number (got {value!r})")
        return cls(times)


def measure_latency(
    space: Space,
    *,
    batch_size: int = 1,
    repeats: int = 15,
    device: str | torch.device = "cpu",
    clock: Callable[[], int] = time.perf_counter_ns,
) -> LatencyTable:
    """Measure what each part of the networks of a space takes: medians of forward passes in evaluation mode.

    The parts take turns, so that a slow spell of the machine meets all of them.

    Args:
        space: of the networks.
        batch_size: images at once.
        repeats: turns, after one to warm up.
        device: to measure on.
        clock: nanoseconds.

    Raises:
        CodeError: if ``batch_size`` or ``repeats`` is not positive.
    """
    if batch_size < 1 or repeats < 1:
        raise CodeError(f"'batch_size' and 'repeats' must be positive (got {batch_size} and {repeats})")
    place = torch.device(device)
    ready: dict[str, tuple[nn.Module, Tensor]] = {}
    with torch.random.fork_rng(devices=[]):
        for part in space.all_parts():
            module = part.build().eval().to(place)
            ready[str(part)] = module, torch.zeros((batch_size, *part.input_shape[1:]), device=place)
    times: dict[str, list[int]] = {text: [] for text in ready}
    with torch.inference_mode():
        for turn in range(repeats + 1):
            for text, (module, x) in ready.items():
                start = clock()
                module(x)
                if place.type == "cuda":
                    torch.cuda.synchronize(place)
                if turn:
                    times[text].append(clock() - start)
    return LatencyTable({text: max(1, round(statistics.median(found))) for text, found in times.items()})
