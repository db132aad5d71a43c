"""Metrics for TensorBoard, an optional package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ppuda_like.errors import PpudaLikeError

__all__ = ["TensorBoard"]


class TensorBoard:
    """A sink for metrics: each of them becomes a curve.  A context manager; leaving it writes what is pending.

    Args:
        folder: what ``tensorboard --logdir`` is given.
        after: step of the resumption; what a run that was killed wrote of later steps is hidden.

    Raises:
        PpudaLikeError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise PpudaLikeError(
                f"writing to TensorBoard needs the package tensorboard ({error}); install it with: "
                "pip install tensorboard, or do without it: metrics.jsonl holds the same figures"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a run that is killed keeps its curves

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
