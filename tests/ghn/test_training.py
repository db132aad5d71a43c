import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.ghn import GHN, GHNConfig, OptimConfig, train_ghn
from ppuda_like.ghn._net_run import NetResult, NetRun
from tests.ghn.training_runs import lines, tiny, weights

pytestmark = pytest.mark.usefixtures("small_networks")


def test_run_leaves_a_checkpoint_its_config_and_metrics(tmp_path: Path) -> None:
    seen: list[int] = []
    result = train_ghn(tiny(tmp_path), log=lambda metrics, step: seen.append(step), progress=False)
    assert (result.steps, result.finished, result.skipped_steps, result.skipped_nets) == (4, True, 0, 0)
    assert seen == [1, 2, 3, 4] == [line["step"] for line in lines(tmp_path)]
    assert {"loss", "top1", "grad_norm", "lr", "nets_per_second"} <= lines(tmp_path)[0].keys()
    assert json.loads((tmp_path / "config.json").read_text())["nets"]["widths"] == [8]
    assert GHN.from_pretrained(result.checkpoint).config == tiny(tmp_path).ghn
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "ghn.safetensors",
        "metrics.jsonl",
        "state.pt",
    ]
    again = train_ghn(tiny(tmp_path), progress=False)
    assert (again.steps, again.finished) == (4, True)


def test_networks_side_by_side_take_one_thread_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: set[int] = set()
    outside: set[int] = set()
    run_net = NetRun.__call__

    def seen(self: NetRun, *args: Any) -> NetResult:
        inside.add(torch.get_num_threads())
        return run_net(self, *args)

    monkeypatch.setattr(NetRun, "__call__", seen)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        train_ghn(tiny(tmp_path, net_threads=2), log=lambda *_: outside.add(torch.get_num_threads()), progress=False)
    finally:
        torch.set_num_threads(before)
    assert (inside, outside) == ({1}, {3})


def test_interrupted_run_equals_one_in_a_piece_bit_for_bit(tmp_path: Path) -> None:
    whole = train_ghn(tiny(tmp_path / "whole"), progress=False)

    def interrupt(metrics: Mapping[str, float], step: int) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    pieces = tmp_path / "pieces"
    part = train_ghn(tiny(pieces), log=interrupt, progress=False)
    assert (part.steps, part.finished) == (1, False)
    assert signal.getsignal(signal.SIGTERM) is handler
    with (pieces / "metrics.jsonl").open("a") as file:  # what a run that was killed later would have left
        file.write('{"step": 2, "loss": 0}\n{"step": 3, "lo')
    rest = train_ghn(tiny(pieces, net_threads=2, max_minutes=60.0), progress=False)
    assert (rest.steps, rest.finished) == (4, True)
    assert [line["step"] for line in lines(pieces)] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines(pieces)] == [line["loss"] for line in lines(tmp_path / "whole")]
    torch.testing.assert_close(weights(rest.checkpoint), weights(whole.checkpoint), rtol=0, atol=0)
    first, second = (torch.load(folder / "state.pt", weights_only=True) for folder in (tmp_path / "whole", pieces))
    torch.testing.assert_close(second["ghn"], first["ghn"], rtol=0, atol=0)
    torch.testing.assert_close(second["optimizer"]["state"], first["optimizer"]["state"], rtol=0, atol=0)


def test_training_does_not_touch_the_global_random_state(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_ghn(tiny(tmp_path, steps=1, init="identity"), progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_loss_falls_on_one_meta_batch(tmp_path: Path) -> None:
    config = tiny(tmp_path, steps=40, log_steps=10, augment="none", batch_size=32, init="identity", fast_share=1.0)
    config = replace(config, nets=replace(config.nets, pool=1), optim=OptimConfig(lr=3e-3, schedule="cosine"))
    train_ghn(config, progress=False)
    losses = [line["loss"] for line in lines(tmp_path)]
    assert losses[-1] < losses[0] - 0.05
    assert losses[-1] < 2.25


def spoil(monkeypatch: pytest.MonkeyPatch, which: slice) -> None:
    predict = GHN.predict

    def broken(self: GHN, graphs: object, **options: bool) -> list[dict[str, Tensor]]:
        found = predict(self, graphs, **options)  # type: ignore[arg-type]
        for tensors in found[which]:
            tensors.update({name: tensor * float("nan") for name, tensor in tensors.items()})
        return found

    monkeypatch.setattr(GHN, "predict", broken)


def test_network_without_finite_loss_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, slice(1))
    result = train_ghn(tiny(tmp_path, steps=2), progress=False)
    assert (result.skipped_nets, result.skipped_steps) == (2, 0)
    assert all(tensor.isfinite().all() for tensor in weights(result.checkpoint).values())
    assert lines(tmp_path)[-1]["skipped_nets"] == 2


def test_steps_without_finite_loss_are_skipped_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, slice(None))
    config = tiny(tmp_path)
    result = train_ghn(replace(config, steps=1), progress=False)
    assert (result.skipped_steps, result.finished) == (1, True)
    assert "loss" not in lines(tmp_path)[0]
    config = replace(config, out=tmp_path / "limited", optim=replace(config.optim, max_skipped=2))
    with pytest.raises(
        PpudaLikeError, match=r"3 steps of 3 had no network with a finite loss and gradient \(at most 2 may"
    ):
        train_ghn(config, progress=False)


def test_validation_keeps_the_best(tmp_path: Path) -> None:
    result = train_ghn(tiny(tmp_path, steps=1, val_steps=1, val_nets=1, val_width=8, batch_size=64), progress=False)
    assert result.best == tmp_path / "best.safetensors"
    assert result.best.exists()
    assert result.best_top1 == pytest.approx(lines(tmp_path)[-1]["val_top1"])


def test_state_of_another_run_is_refused(tmp_path: Path) -> None:
    train_ghn(tiny(tmp_path, steps=1), progress=False)
    message = r"another config \(different: seed, 0 before, now 3; steps, 1 before, now 4\); resume with the same one"
    with pytest.raises(CheckpointError, match=message):
        train_ghn(tiny(tmp_path, seed=3), progress=False)


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut off"])
def test_broken_state_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read the training state .*state.pt.*delete '"):
        train_ghn(tiny(tmp_path), progress=False)
    assert (tmp_path / "state.pt").read_bytes() == content


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"must have format 2 \(got 99\)"):
        train_ghn(tiny(tmp_path), progress=False)


def test_missing_images_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set .*nowhere.*give the path of an image folder"):
        train_ghn(tiny(tmp_path / "run", data=str(tmp_path / "nowhere")), progress=False)


def test_start_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(3)
    first = GHN(tiny(tmp_path).ghn)
    first.save_pretrained(tmp_path / "first.safetensors")
    frozen = OptimConfig(lr=1e-30, weight_decay=0.0)  # a step that leaves the weights all but as they were
    config = tiny(tmp_path / "run", start=tmp_path / "first.safetensors", optim=frozen, steps=1)
    found = weights(train_ghn(config, progress=False).checkpoint)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-20)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["start"] == str(tmp_path / "first.safetensors")


def test_start_from_a_checkpoint_of_another_hypernetwork(tmp_path: Path) -> None:
    GHN(GHNConfig.ghn2(kernel=11, hid=16)).save_pretrained(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"hid=16.*hid=8.*give the run's 'ghn' the config of the checkpoint"):
        train_ghn(tiny(tmp_path / "run", start=tmp_path / "other.safetensors"), progress=False)
    assert list((tmp_path / "run").iterdir()) == []


def test_images_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run", ghn=GHNConfig.ghn2(num_classes=7, hid=8))
    with pytest.raises(DataError, match=r"'digits' have 10 classes, .* class layers of 7; set its 'num_classes' to 10"):
        train_ghn(config, progress=False)
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_metrics(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_ghn(tiny(tmp_path, steps=2, tensorboard=True), progress=False)
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([line["loss"] for line in lines(tmp_path)])
