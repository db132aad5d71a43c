import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision import NetTrainConfig
from ppuda_like.vision._train_schedule import drop_path_rate, learning_rate


def rates(config: NetTrainConfig, per_epoch: int) -> list[float]:
    return [learning_rate(config, step, per_epoch) for step in range(config.epochs * per_epoch)]


def torch_rates(schedule: type[torch.optim.lr_scheduler.LRScheduler], count: int, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    found = schedule(optimizer, **options)
    values = []
    for _ in range(count):
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        found.step()
    return values


def test_cosine_is_that_of_torch_by_step() -> None:
    config = NetTrainConfig(out=Path(), epochs=6, lr=0.4, final_lr=0.1)
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 30, T_max=30, eta_min=0.04)
    assert rates(config, 5) == pytest.approx(expected)


def test_step_and_exponential_are_those_of_torch_by_epoch() -> None:
    config = NetTrainConfig(out=Path(), epochs=6, lr=0.4, schedule="step", milestones=(2, 5), factor=0.3)
    expected = torch_rates(torch.optim.lr_scheduler.MultiStepLR, 6, milestones=[2, 5], gamma=0.3)
    assert rates(config, 4) == pytest.approx([rate for rate in expected for _ in range(4)])
    config = NetTrainConfig(out=Path(), epochs=6, lr=0.4, schedule="exponential", factor=0.97)
    expected = torch_rates(torch.optim.lr_scheduler.ExponentialLR, 6, gamma=0.97)
    assert rates(config, 4) == pytest.approx([rate for rate in expected for _ in range(4)])


@given(st.sampled_from(["cosine", "constant", "exponential"]), st.floats(0.1, 2.9), st.integers(1, 50))
def test_warmup_rises_in_even_steps(schedule: Any, warmup: float, per_epoch: int) -> None:
    config = NetTrainConfig(out=Path(), epochs=3, lr=1.0, schedule=schedule, factor=0.9, warmup=warmup)
    found = rates(config, per_epoch)
    count = round(warmup * per_epoch)
    assert found[:count] == pytest.approx([(step + 1) / (count + 1) for step in range(count)])
    assert all(now >= after for now, after in zip(found[count:], found[count + 1 :], strict=False))
    if schedule != "exponential" and count < len(found):
        assert found[count] == pytest.approx(1.0)


def test_drop_path_ends_an_epoch_before_its_full_rate() -> None:
    config = NetTrainConfig(out=Path(), epochs=10, drop_path=0.2)
    assert [drop_path_rate(config, epoch) for epoch in (0, 5, 9)] == pytest.approx([0.0, 0.1, 0.18])


def test_recipes() -> None:
    """Figures of arXiv:2110.13100 and arXiv:1806.09055."""
    common = {"optimizer": "sgd", "momentum": 0.9}
    sgd50 = common | {"epochs": 50, "lr": 0.025, "weight_decay": 3e-4, "batch_size": 96, "schedule": "cosine"}
    expected: dict[str, dict[str, Any]] = {
        "sgd50": sgd50 | {"final_lr": 0.0, "augment": "crop"},
        "darts": sgd50 | {"epochs": 600, "augment": "crop-cutout", "drop_path": 0.2, "auxiliary": 0.4},
        "imagenet": common
        | {"epochs": 250, "lr": 0.1, "weight_decay": 3e-5, "batch_size": 128, "schedule": "exponential"}
        | {"factor": 0.97, "label_smoothing": 0.1},
        "finetune": sgd50 | {"weight_decay": 1e-3, "bn_images": 1_000},
    }
    for name, values in expected.items():
        found = getattr(NetTrainConfig, name)("run").to_dict()
        assert {key: found[key] for key in values} == values
        assert getattr(NetTrainConfig, name)("run", epochs=2, lr=9.0).to_dict() == found | {"epochs": 2, "lr": 9.0}


def test_json_gives_the_config_back() -> None:
    config = NetTrainConfig(out=Path("run"), schedule="step", milestones=(3, 4), max_minutes=2.0)
    assert NetTrainConfig(**json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"'epochs' must be positive \(got 0\)"),
        ({"lr": float("nan")}, "'lr' must be positive"),
        ({"lr": float("inf")}, "'lr' must be positive"),
        ({"batch_size": -1}, "'batch_size' must be positive"),
        ({"weight_decay": -1.0}, "'weight_decay' must be 0 or more"),
        ({"momentum": 1.0}, "'momentum' must be at least 0 and below 1"),
        ({"drop_path": 1.0}, "'drop_path' must be at least 0 and below 1"),
        ({"ema": 1.5}, "'ema' must be at least 0 and below 1"),
        ({"betas": (0.9,)}, "'betas' must be two numbers"),
        ({"final_lr": 2.0}, "'final_lr' must be a share"),
        ({"epochs": 5, "warmup": 5.0}, "'warmup' must be at least 0 and below the 5 epochs"),
        ({"max_minutes": 0.0}, "'max_minutes' must be positive, or None"),
        ({"nesterov": True, "momentum": 0.0}, "'nesterov' must be off without momentum"),
        ({"milestones": (3,)}, "'milestones' must be given with the schedule 'step', and with no other"),
        ({"schedule": "step"}, "'milestones' must be given with the schedule 'step'"),
        ({"schedule": "step", "milestones": (4, 3)}, r"'milestones' must be ascending.*\(got \(4, 3\)\)"),
        ({"schedule": "step", "milestones": (0, 3)}, "'milestones' must be ascending numbers of epochs from 1"),
        ({"optimizer": "lion"}, r"'optimizer' must be one of sgd, adam, adamw, rmsprop \(got 'lion'\)"),
        ({"augment": "crops"}, "'augment' must be one of none, affine, crop"),
        ({"amp": "fp16"}, r"amp 'fp16' needs a CUDA device \(got device 'cpu'\); take 'bf16'"),
        ({"device": "abacus"}, "'device' must be a device of torch, such as 'cpu' or 'cuda:0'"),
    ],
)
def test_values_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        NetTrainConfig(**{"out": Path("run")} | changes)
