"""The factor that keeps small gradients in half precision from vanishing."""

from __future__ import annotations

from typing import Any

__all__ = ["LossScaler"]


class LossScaler:
    """A factor of the loss, which follows what the gradients bear.

    Each block has one of its own: as no gradient crosses a boundary, an overflow in one block concerns no other.  The
    values are those of DGL (arXiv:1901.08164, released code).  Whoever learns knows whether its gradient is finite, so
    nothing here waits for a device, as ``torch.amp.GradScaler`` does, which has no lower bound either.

    Attributes:
        scale: the factor.  It starts at 2^32; a step without a finite gradient, which is to be skipped, halves it, down
            to 1; each 1 000 steps on end with one double it.

    Example:
        >>> scaler = LossScaler()
        >>> scaler.update(finite=False)
        >>> scaler.scale == 2.0**31
        True
    """

    START = 2.0**32
    PATIENCE = 1000

    def __init__(self) -> None:
        self.scale = self.START
        self._clean = 0

    def update(self, *, finite: bool) -> None:
        """Take note of a step, and of whether its gradient was finite."""
        if not finite:
            self.scale, self._clean = max(1.0, self.scale / 2), 0
            return
        self._clean += 1
        if self._clean == self.PATIENCE:
            self.scale, self._clean = self.scale * 2, 0

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""
        return {"scale": self.scale, "clean": self._clean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.scale, self._clean = state["scale"], state["clean"]
