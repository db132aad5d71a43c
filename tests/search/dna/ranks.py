"""A training shared by two processes: by itself, so that the second one imports no more than it needs."""

import os
from pathlib import Path

import pytest
import torch

from ppuda_like._ranks import process_group
from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.dna import DistilConfig, distil
from tests.search.dna import tiny


def config(out: Path, same_images: bool) -> DistilConfig:
    """A step of two paths, on the same images or each on its own."""
    return tiny.config(out / str(same_images), epochs=1, batch_size=16, paths=2, same_images=same_images)


def train(rank: int, port: int, out: Path) -> None:
    """Take part in both, and be refused what two processes cannot share."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    with process_group("cpu"):
        for same_images in (True, False):
            given = tiny.teacher(), tiny.space(), config(out, same_images), tiny.images(32)
            assert distil(*given, progress=False).finished
        with pytest.raises(PpudaLikeError, match="2 processes cannot share 3 paths of a step evenly"):
            distil(tiny.teacher(), tiny.space(), tiny.config(out, paths=3), tiny.images(), progress=False)
