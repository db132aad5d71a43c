"""What configs of runs have in common."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

import torch

from ppuda_like.errors import PpudaLikeError

__all__ = ["RunConfig"]


class RunConfig:
    """Base of frozen dataclasses that a training is a function of."""

    _free: ClassVar[frozenset[str]] = frozenset()
    """Fields that may change when a run is resumed, because what is trained does not depend on them."""

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as JSON values."""
        values = asdict(self)  # type: ignore[call-overload]  # of subclasses
        listed = {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
        return {**values, **listed, "out": str(values["out"])}

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its resumption: all that the trained weights depend on."""
        return {key: value for key, value in self.to_dict().items() if key not in self._free}

    def _require(self, key: str, met: bool, wanted: str) -> None:
        if not met:
            raise PpudaLikeError(f"'{key}' must be {wanted} (got {getattr(self, key)!r})")

    def _device_type(self) -> str:
        """The kind of the field ``device``."""
        device = getattr(self, "device")  # noqa: B009  # of subclasses
        try:
            return torch.device(device).type
        except RuntimeError as error:
            raise PpudaLikeError(
                f"'device' must be a device of torch, such as 'cpu' or 'cuda:0' (got {device!r})"
            ) from error
