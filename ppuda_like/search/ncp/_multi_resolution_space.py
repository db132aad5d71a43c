"""The space of multi-resolution networks: 27 numbers each, 2 ** 80 codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ppuda_like.search.ncp._features import multi_resolution_features
from ppuda_like.search.ncp._layout import HIGH, LOW, NAMES, STEP
from ppuda_like.search.ncp._multi_resolution_costs import code_costs
from ppuda_like.search.ncp._space import code_array, relaxed_array

__all__ = ["MULTI_RESOLUTION", "MultiResolutionSpace"]


@dataclass(frozen=True)
class MultiResolutionSpace:
    """The search space of NAS-Bench-MR (arXiv:2103.13253), a :class:`CodeSpace`.

    Fourteen numbers count modules and residual blocks, 1..4; thirteen are numbers of channels, 8..128 in steps of 8.
    A relaxed code is those 27 numbers, not necessarily whole.

    Example:
        >>> import numpy as np
        >>> codes = MULTI_RESOLUTION.sample(2, np.random.default_rng(0))
        >>> codes.shape, MULTI_RESOLUTION.costs(codes).shape
        ((2, 27), (2, 2))
    """

    name: ClassVar[str] = "multi-resolution"
    names: ClassVar[tuple[str, ...]] = NAMES
    low: ClassVar[NDArray[np.float64]] = LOW.astype(np.float64)
    high: ClassVar[NDArray[np.float64]] = HIGH.astype(np.float64)

    def check(self, codes: ArrayLike) -> NDArray[np.int64]:
        """See :meth:`CodeSpace.check`."""
        return code_array(codes, NAMES, LOW, HIGH, STEP, "the multi-resolution space")

    def relax(self, codes: ArrayLike) -> NDArray[np.float64]:
        """The numbers themselves, as floats; see :meth:`CodeSpace.relax`."""
        return self.check(codes).astype(np.float64)

    def round(self, relaxed: ArrayLike) -> NDArray[np.int64]:
        """The nearest legal numbers, upwards from the middle; see :meth:`CodeSpace.round`."""
        numbers = np.clip(relaxed_array(relaxed, len(NAMES), "the multi-resolution space"), self.low, self.high)
        found: NDArray[np.int64] = np.trunc(numbers + STEP / 2).astype(np.int64) // STEP * STEP
        return found

    def sample(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See :meth:`CodeSpace.sample`."""
        found: NDArray[np.int64] = LOW + STEP * rng.integers((HIGH - LOW) // STEP + 1, size=(num, len(NAMES)))
        return found

    def neighbours(self, code: ArrayLike) -> NDArray[np.int64]:
        """The codes with one number a notch less or more; see :meth:`CodeSpace.neighbours`."""
        (numbers,) = self.check(code)
        notches = np.diag(STEP)
        found: NDArray[np.int64] = numbers + np.concatenate((-notches, notches))
        inside: NDArray[np.bool_] = ((found >= LOW) & (found <= HIGH)).all(axis=1)
        return found[inside]

    def costs(self, codes: ArrayLike) -> NDArray[np.float64]:
        """See :meth:`CodeSpace.costs`: a classifier of 50 classes on images of 128 x 128 pixels."""
        found: NDArray[np.float64] = code_costs(torch.from_numpy(self.relax(codes))).numpy()
        return found

    def relaxed_costs(self, relaxed: Tensor) -> Tensor:
        """See :meth:`CodeSpace.relaxed_costs`."""
        return code_costs(relaxed)

    def features(self, relaxed: Tensor) -> Tensor:
        """See :meth:`CodeSpace.features`."""
        return multi_resolution_features(relaxed)


MULTI_RESOLUTION = MultiResolutionSpace()
"""The space of :class:`MultiResolutionCode`."""
