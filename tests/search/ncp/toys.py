"""Predictors whose answers are known formulas."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ppuda_like.search.ncp import CodeSpace


class Toy:
    """Sums of random waves of a relaxed code, smooth and with many optima; the deviation is a wave too, squared."""

    def __init__(
        self,
        space: CodeSpace,
        table: str = "toy",
        metrics: tuple[str, ...] = ("acc", "top5"),
        seed: int = 0,
        *,
        certain: bool = False,
    ) -> None:
        self.space, self.table, self.metrics, self.certain = space, table, metrics, certain
        rng = np.random.default_rng(seed)
        self.scale: NDArray[np.float64] = rng.uniform(0.5, 2, len(metrics))
        self.low, self.range = torch.from_numpy(space.low), torch.from_numpy(space.high - space.low)
        self.inner = torch.from_numpy(rng.normal(size=(len(space.low), 12)))
        self.outer = torch.from_numpy(rng.normal(size=(12, len(metrics))))

    def forward(self, relaxed: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        relaxed = relaxed.double()
        waves = torch.tanh(((relaxed - self.low) / self.range - 0.5) @ self.inner)
        std = 0.1 + (waves**2) @ self.outer.abs()
        return waves @ self.outer, torch.zeros_like(std) if self.certain else std

    def predict(
        self, codes: ArrayLike, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, std = (part.numpy() for part in self.forward(torch.from_numpy(self.space.relax(codes))))
        return (mean, std) if return_std else mean
