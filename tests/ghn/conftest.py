"""Small hypernetworks."""

import pytest
import torch

from ppuda_like.ghn import GHN, GHNConfig


@pytest.fixture
def ghn() -> GHN:
    """A GHN-2 of 16-channel blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(GHNConfig.ghn2(num_classes=10, kernel=5, hid=8))
