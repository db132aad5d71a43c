"""Training in several processes against training in one."""

import json
import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from ppuda_like._ranks import Ranks, process_group, ranks
from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn import GHNConfig, NetsConfig, OptimConfig, TrainConfig, _training, train_ghn
from ppuda_like.ghn._net_stream import NetStream

NETS = NetsConfig(meta_batch=4, widths=(8,), fc_dims=(16,), max_nodes=100, max_macs=3_000_000)


def config(out: Path, same_images: bool) -> TrainConfig:
    return TrainConfig(
        out=out,
        ghn=GHNConfig.ghn2(kernel=11, hid=8),
        nets=NETS,
        optim=OptimConfig(schedule="cosine", ema=0.9, net_norm=1.0),
        batch_size=4,
        fast_size=16,
        fast_share=1.0,
        same_images=same_images,
        steps=2,
        log_steps=1,
        val_steps=2 * same_images,
        val_nets=2,
        val_width=8,
    )


def train_rank(rank: int, port: int, out: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    with process_group("cpu") as device:
        assert (device, ranks()) == ("cpu", Ranks(rank, 2))
        for same_images in (True, False):
            train_ghn(config(out / str(same_images), same_images), progress=False)
        parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
        parameters[1 - rank].grad = torch.ones(2)
        ranks().sum_gradients(parameters)
        assert [None if p.grad is None else p.grad.tolist() for p in parameters] == [[1.0, 1.0], [1.0, 1.0], None]
        assert ranks().any(rank == 1)
        assert not ranks().any(False)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def metrics(folder: Path) -> list[Mapping[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    return found


def difference(found: Mapping[Any, Tensor], wanted: Mapping[Any, Tensor]) -> float:
    """Norm of the difference of all tensors together, relative to that of the wanted ones."""
    assert found.keys() == wanted.keys()
    far = math.hypot(*(float((found[key] - tensor).norm()) for key, tensor in wanted.items()))
    return far / math.hypot(*(float(tensor.norm()) for tensor in wanted.values()))


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    mp.start_processes(train_rank, (free_port(), tmp_path / "two"), nprocs=2, start_method="spawn")
    for same_images in (True, False):
        name = str(same_images)
        train_ghn(config(tmp_path / "one" / name, same_images), progress=False)
        one, two = (metrics(tmp_path / count / name) for count in ("one", "two"))
        # The gradients are equal but for the order of sums; the next step's networks amplify the last digits.
        for key in ("loss", "top1", "grad_norm", "nets"):
            assert two[0][key] == pytest.approx(one[0][key], rel=1e-5), key
            assert two[1][key] == pytest.approx(one[1][key], rel=1e-2), key
        assert [line.get("val_top1") for line in two] == pytest.approx([line.get("val_top1") for line in one], abs=0.01)
        alone, shared = (state(tmp_path / count / name) for count in ("one", "two"))
        assert difference(shared["ghn"], alone["ghn"]) < 1e-5
        moments = [{i: s["exp_avg"] for i, s in run["optimizer"]["state"].items()} for run in (shared, alone)]
        assert difference(*moments) < 1e-2


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_out_the_networks_of_a_meta_batch(world: int) -> None:
    def stream(ranks: Ranks) -> NetStream:
        return NetStream(NETS, GHNConfig.ghn2(hid=8), image_size=32, num_classes=10, seed=0, ranks=ranks)

    (whole,) = [stream(Ranks())[1]]
    shares = [stream(Ranks(rank, world))[1] for rank in range(world)]
    found = {i: net for share in shares for i, net in zip(share.positions, share.nets, strict=True)}
    assert sorted(found) == list(whole.positions) == [0, 1, 2, 3]
    assert [found[i].graph for i in range(4)] == [net.graph for net in whole.nets]
    assert max(len(share.nets) for share in shares) - min(len(share.nets) for share in shares) <= 1


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with process_group("cuda") as device:
        assert device == "cuda"
        assert ranks() == Ranks(0, 1)
    assert Ranks().gather("x") == ["x"]
    assert not Ranks().any(False)


def test_processes_that_do_not_divide_the_meta_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_training, "ranks", lambda: Ranks(0, 3))
    with pytest.raises(PpudaLikeError, match="3 processes cannot share a meta-batch of 4 networks evenly; choose"):
        train_ghn(config(tmp_path / "run", True), progress=False)
    assert not (tmp_path / "run").exists()
