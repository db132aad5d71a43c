"""Training in 16 bits, with little memory, and with a penalty on large parameters."""

import logging
import os
import resource
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from ppuda_like.errors import CheckpointError, PpudaLikeError
from ppuda_like.ghn import GHN, OptimConfig, _net_run, train_ghn
from ppuda_like.ghn._net_run import NetRun
from ppuda_like.ghn._train_state import LossScale
from tests.ghn.training_runs import lines, tiny, weights

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_16_bits_change_the_loss_by_little(tmp_path: Path, amp: Literal["bf16", "fp16"]) -> None:
    train_ghn(tiny(tmp_path / "32", steps=2), progress=False)
    train_ghn(tiny(tmp_path / "16", steps=2, amp=amp), progress=False)
    wide, narrow = lines(tmp_path / "32"), lines(tmp_path / "16")
    assert [line["loss"] for line in narrow] == pytest.approx([line["loss"] for line in wide], rel=0.02)
    assert [line["grad_norm"] for line in narrow] == pytest.approx([line["grad_norm"] for line in wide], rel=0.2)
    assert [line["loss"] for line in narrow] != [line["loss"] for line in wide]


def test_half_precision_resumes_with_its_scale(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"

    def interrupt(metrics: Mapping[str, float], step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert train_ghn(tiny(tmp_path, amp="fp16"), log=interrupt, progress=False).steps == 2
    assert torch.load(state, weights_only=True)["progress"]["loss_scale"] == {"value": 2.0**14, "steps": 2}
    train_ghn(tiny(tmp_path, amp="fp16"), progress=False)
    assert torch.load(state, weights_only=True)["progress"]["loss_scale"] == {"value": 2.0**14, "steps": 4}


def test_loss_scale_halves_after_an_overflow_and_doubles_after_a_while() -> None:
    scale = LossScale(value=8.0)
    scale.update(overflow=True)
    assert scale == LossScale(value=4.0, steps=0)
    for _ in range(500):
        scale.update(overflow=False)
    assert scale == LossScale(value=8.0, steps=0)
    for _ in range(10):
        scale.update(overflow=True)
    assert scale.value == 1.0


def test_gradient_that_overflows_leaves_the_network_out_and_halves_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = LossScale(value=1e38)
    monkeypatch.setattr("ppuda_like.ghn._training.load_state", _with_scale(huge))
    result = train_ghn(tiny(tmp_path, steps=1, amp="fp16"), progress=False)
    assert (result.skipped_nets, result.skipped_steps) == (2, 1)
    assert huge.value == 5e37


def _with_scale(scale: LossScale) -> Any:
    from ppuda_like.ghn._train_state import Progress

    return lambda *_: Progress(loss_scale=scale)


def test_penalty_is_the_gradient_of_the_sum_of_norms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[float, list[Tensor]] = {}
    run = NetRun._run

    def kept(self: NetRun, *args: Any) -> Any:
        result = run(self, *args)
        found.setdefault(self.config.optim.norm_penalty, list(result.gradients))
        tensors[:] = tensors or [tensor.detach() for tensor in result.tensors]
        return result

    tensors: list[Tensor] = []
    monkeypatch.setattr(NetRun, "_run", kept)
    for strength in (0.0, 0.5):
        train_ghn(tiny(tmp_path / str(strength), steps=1, optim=OptimConfig(norm_penalty=strength)), progress=False)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    torch.autograd.backward(sum((leaf.norm() for leaf in leaves), torch.zeros(())) * 0.5 / 2)  # of 2 networks
    for plain, penalised, leaf in zip(found[0.0], found[0.5], leaves, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(penalised - plain, leaf.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_network_that_runs_out_of_memory_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    calls = 0

    def fail_first(output: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return main_output(output)

    main_output = _net_run.main_output
    monkeypatch.setattr(_net_run, "main_output", fail_first)
    with caplog.at_level(logging.WARNING):
        result = train_ghn(tiny(tmp_path, steps=1), progress=False)
    assert (result.skipped_nets, result.skipped_steps) == (1, 0)
    assert "out of memory in a network of" in caplog.text
    assert lines(tmp_path)[0]["loss"] > 0


def test_memory_that_runs_out_in_the_hypernetwork_skips_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: GHN, *_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GHN, "predict", fail)
    config = tiny(tmp_path)
    with pytest.raises(PpudaLikeError, match=r"2 steps of 2 .* \(at most 1 may; 4 networks ran out of memory\); lower"):
        train_ghn(replace(config, optim=replace(config.optim, max_skipped=1)), progress=False)


def test_other_errors_are_not_taken_for_want_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(output: object) -> Tensor:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(_net_run, "main_output", fail)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        train_ghn(tiny(tmp_path, steps=1), progress=False)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may not grow beyond 100 kB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_last_checkpoint(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    train_ghn(tiny(tmp_path, steps=4, max_minutes=1e-9), progress=False)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    request.getfixturevalue("small_files")
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint '.*state.pt' .*the one before.*make room"):
        train_ghn(tiny(tmp_path, steps=4), progress=False)
    for name in ("state.pt", "ghn.safetensors"):
        assert (tmp_path / name).read_bytes() == kept[name]
    assert {path.name for path in tmp_path.iterdir()} == kept.keys()
    assert weights(tmp_path / "ghn.safetensors")
