"""What a hypernetwork did to each tensor of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ppuda_like.graph import Shape

__all__ = ["PredictionReport", "TensorReport"]

STATUSES = ("predicted", "tiled", "resized", "kept")


@dataclass(frozen=True, slots=True)
class TensorReport:
    """What happened to one parameter.

    Attributes:
        name: its path in the model.
        shape: its shape.
        status: ``"predicted"`` whole, ``"tiled"``: predicted and repeated along channels, ``"resized"``: predicted with
            a smaller kernel and enlarged, or ``"kept"``: left as it was.
        why: the rule used, or the reason it was kept.
    """

    name: str
    shape: Shape
    status: str
    why: str

    @property
    def size(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class PredictionReport:
    """What happened to the parameters of a model; a shared parameter counts once, under its first name.

    ``print(report)`` shows the totals, :meth:`table` every tensor.

    Attributes:
        model: name of the model.
        tensors: one entry per parameter, in the model's order.
        milliseconds: time from the model to the last written tensor.
    """

    model: str
    tensors: tuple[TensorReport, ...]
    milliseconds: float

    def of_status(self, *statuses: str) -> tuple[TensorReport, ...]:
        """The parameters with one of these statuses."""
        return tuple(tensor for tensor in self.tensors if tensor.status in statuses)

    @property
    def kept(self) -> tuple[TensorReport, ...]:
        """Parameters left as they were."""
        return self.of_status("kept")

    @property
    def num_predicted(self) -> int:
        """Number of parameters predicted, by any rule."""
        return len(self.tensors) - len(self.kept)

    @property
    def predicted_params(self) -> int:
        """Number of scalars in the predicted parameters."""
        return self.total_params - sum(tensor.size for tensor in self.kept)

    @property
    def total_params(self) -> int:
        """Number of scalars in all parameters."""
        return sum(tensor.size for tensor in self.tensors)

    def __str__(self) -> str:
        lines = [
            f"{self.model}: predicted {self.num_predicted} of {len(self.tensors)} tensors, "
            f"{self.predicted_params:,} of {self.total_params:,} parameters, in {self.milliseconds:.0f} ms"
        ]
        for status in STATUSES:
            found = self.of_status(status)
            if found:
                lines.append(
                    f"  {status:9} {len(found):5} tensors  {sum(tensor.size for tensor in found):13,} parameters"
                )
        reasons: dict[str, list[TensorReport]] = {}
        for tensor in self.kept:
            reasons.setdefault(tensor.why, []).append(tensor)
        lines += [f"    {why}: {_names(tensors)}" for why, tensors in reasons.items()]
        return "\n".join(lines)

    def table(self) -> str:
        """One line per parameter: name, shape, status and rule."""
        rows = [("parameter", "shape", "status", "how"), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for tensor in self.tensors:
            yield tensor.name, "x".join(map(str, tensor.shape)) or "1", tensor.status, tensor.why


def _names(tensors: list[TensorReport], most: int = 4) -> str:
    names = ", ".join(tensor.name for tensor in tensors[:most])
    return names if len(tensors) <= most else f"{names} and {len(tensors) - most} more"
