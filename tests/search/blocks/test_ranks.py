"""Blocks on two processes against blocks in one."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from ppuda_like._ranks import Ranks, process_group
from ppuda_like._runs import read_state
from ppuda_like.errors import CheckpointError, PpudaLikeError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    AuxiliaryNet,
    BlockwiseModel,
    _ranks,
    _train_run,
    auxiliaries_for,
    split,
    train_blocks,
)
from ppuda_like.search.blocks._parallel import _context
from tests.search.blocks._training import Stopper, assert_equal, config, images, parts, weights


class Dies(nn.Module):
    """Ends its process in the sixth step."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += self.training
        if self.count == 6:
            os._exit(0)
        return x * 1.0


def mortal() -> tuple[BlockwiseModel, list[AuxiliaryNet]]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 3), Dies()))
    blocks = split(model, Partition.at(trace(model.eval(), (2, 3, 8, 8)), ["2"])).train()
    return blocks, auxiliaries_for(blocks, "linear", 3)


def train_rank(rank: int, port: int, out: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    with process_group("cpu"):
        run = config(out / "whole", "ranks", augment="crop", queue=1)
        model, nets = parts(0.3)
        stopped = train_blocks(model, nets, run, images(), images(seed=1), log=Stopper())
        assert (stopped.steps, stopped.finished) == (4, False)
        model, nets = parts(0.3)
        found = train_blocks(model, nets, run, images(), images(seed=1))
        assert found.finished
        torch.save((weights(model, *nets), found.val and found.val.top1), out / f"{rank}.pt")
        with pytest.raises(CheckpointError, match="another config"):  # in both processes, and neither waits
            train_blocks(model, nets, config(out / "whole", "ranks", lr=1.0), images())
        with pytest.raises(PpudaLikeError, match="in a process group only the method 'ranks'"):
            train_blocks(model, nets, config(out / "none"), images())
        blocks, nets = mortal()
        with pytest.raises(PpudaLikeError, match="the process of rank 1 ended, or cannot be reached"):
            train_blocks(blocks, nets, config(out / "dies", "ranks"), images())
        (out / "told").write_text("by the other process")


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    _context()  # processes are forked off a server that has imported the package, where there is one
    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    mp.start_processes(train_rank, (port, tmp_path), nprocs=2, start_method=method)
    model, nets = parts(0.3)
    wanted = train_blocks(model, nets, config(tmp_path / "one", augment="crop"), images(), images(seed=1))
    assert wanted.val is not None
    for rank in range(2):
        found, top1 = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_equal(found, weights(model, *nets))
        assert top1 == wanted.val.top1
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "one")]
    assert lines[0] == lines[1]
    assert (tmp_path / "told").exists()
    state = read_state(tmp_path / "dies", 2, "cpu")
    assert state is not None
    assert state["step"] == 4


def test_processes_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, nets = parts()
    with pytest.raises(PpudaLikeError, match="start the program with torchrun, or take 'parallel'"):
        train_blocks(model, nets, config(tmp_path, "ranks"), images())
    for module in (_ranks, _train_run):
        monkeypatch.setattr(module, "ranks", lambda: Ranks(0, 4))
    with pytest.raises(PpudaLikeError, match="4 processes cannot share 3 blocks"):
        train_blocks(model, nets, config(tmp_path, "ranks"), images())
