"""RMSprop in TensorFlow's form."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision import ImageData, NetTrainConfig, RMSpropTF, train_net


def by_hand(start: float, gradients: list[float], lrs: list[float], **options: float) -> float:
    """One number, as TensorFlow's documentation writes the rule, a step at a time."""
    x, square, move = start, 1.0, 0.0
    for gradient, lr in zip(gradients, lrs, strict=True):
        g = gradient + options["weight_decay"] * x
        square = options["alpha"] * square + (1 - options["alpha"]) * g**2
        move = options["momentum"] * move + lr * g / math.sqrt(square + options["eps"])
        x -= move
    return x


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_are_those_of_the_rule(momentum: float, weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, generator=generator, dtype=torch.double)
    gradients = torch.randn(6, 2, 3, generator=generator, dtype=torch.double) * 1e-2  # so small that eps matters
    lrs = [0.1, 0.1, 0.05, 0.05, 0.2, 0.01]
    options = {"alpha": 0.8, "eps": 1e-3, "momentum": momentum, "weight_decay": weight_decay}
    whole, idle = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = RMSpropTF([whole, idle], **options)
    for gradient, lr in zip(gradients, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        whole.grad = gradient.clone()
        optimizer.step()
    for place in range(6):
        wanted = by_hand(float(start.flatten()[place]), gradients.flatten(1)[:, place].tolist(), lrs, **options)
        assert whole.flatten()[place].item() == pytest.approx(wanted, rel=1e-12)
    assert torch.equal(idle, start)  # nothing for what has no gradient
    assert idle not in optimizer.state


def test_a_step_evaluates_a_closure() -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = RMSpropTF([parameter], lr=0.1)

    def closure() -> float:
        loss = parameter.square().sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert parameter.item() < 2.0


def test_a_run_resumes_exactly_and_others_do_not_know_its_options(tmp_path: Path) -> None:
    labels = torch.arange(16) % 2
    images = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + labels[:, None, None, None]
    data = ImageData(images=images, labels=labels, class_names=("a", "b"))

    def net() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))

    def config(name: str, **changes: Any) -> NetTrainConfig:
        given = {"epochs": 3, "batch_size": 8, "augment": "none", "optimizer": "rmsprop", "lr": 0.01}
        return NetTrainConfig(out=tmp_path / name, **given | changes)

    whole, parts = net(), net()
    train_net(whole, config("whole"), data)
    while not train_net(parts, config("parts", max_minutes=1e-9), data).finished:
        pass
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    assert config("x").identity["eps"] == 1e-3
    assert not {"alpha", "eps"} & config("x", optimizer="sgd").identity.keys()
    with pytest.raises(PpudaLikeError, match="'eps' must be positive"):
        config("x", eps=0.0)
