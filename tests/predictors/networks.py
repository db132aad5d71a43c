"""Networks for tests."""

from collections.abc import Callable

import torch
from torch import nn


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with the same parameters each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
