"""Stored networks and graphs of the reference, and one thread for all tests."""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

FIXTURES = Path(__file__).parent / "fixtures"


def _load(name: str) -> Any:
    return json.loads(lzma.decompress((FIXTURES / name).read_bytes()))


@pytest.fixture(scope="session")
def golden_graphs() -> dict[str, Any]:
    """Lowered graphs: `networks` by name, and `deepnets_test`, 59 generated ones with their arguments."""
    return dict(_load("golden_graphs.json.xz"))


@pytest.fixture(scope="session")
def golden_nets() -> dict[str, Any]:
    """`nets`: arguments and counts of 500 networks; `parameter_nodes` of some; `darts_parameters`: shapes by name."""
    return dict(_load("deepnets_test_args.json.xz"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small tensors are slower on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
