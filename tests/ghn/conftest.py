"""Small hypernetworks and one thread."""

from collections.abc import Iterator

import pytest
import torch

from ppuda_like.ghn import GHN, GHNConfig


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small tensors are slower on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ghn() -> GHN:
    """A GHN-2 of 16-channel blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(GHNConfig.ghn2(num_classes=10, kernel=5, hid=8))
