"""Small hypernetworks."""

import pytest
import torch

from ppuda_like.ghn import GHN, GHNConfig, _net_stream
from tests.ghn.training_runs import small_network


@pytest.fixture
def ghn() -> GHN:
    """A GHN-2 of 16-channel blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(GHNConfig.ghn2(num_classes=10, kernel=5, hid=8))


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two cells in the place of sampled ones."""
    monkeypatch.setattr(_net_stream, "sample_network", small_network)
