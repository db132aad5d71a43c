import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks import BlockTrainConfig, Frontier
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._scaler import LossScaler
from ppuda_like.vision import NetTrainConfig


def test_published_values() -> None:
    scaler = LossScaler()
    assert scaler.scale == 2**32
    scaler.update(finite=False)
    assert scaler.scale == 2**31
    for _ in range(999):
        scaler.update(finite=True)
    assert scaler.scale == 2**31
    scaler.update(finite=True)
    assert scaler.scale == 2**32
    for _ in range(40):
        scaler.update(finite=False)
    assert scaler.scale == 1


@given(st.lists(st.one_of(st.just(False), st.integers(1, 2500)), max_size=20))
def test_doubles_once_for_each_1000_clean_steps_on_end(runs: list[bool | int]) -> None:
    scaler, wanted, clean = LossScaler(), 32, 0
    for run in runs:
        if run is False:
            scaler.update(finite=False)
            wanted, clean = max(0, wanted - 1), 0
        else:
            for _ in range(int(run)):
                scaler.update(finite=True)
            wanted, clean = wanted + (clean + int(run)) // 1000, (clean + int(run)) % 1000
        copy = LossScaler()
        copy.load_state_dict(scaler.state_dict())
        scaler = copy
        assert scaler.scale == 2.0**wanted


class Narrow(nn.Module):
    """Makes a frontier of what it gets."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        with torch.no_grad():
            self.linear.weight.fill_(0.25)
            self.linear.bias.fill_(0.0)

    def forward(self, frontier: Frontier) -> Frontier:
        (x,) = frontier.values
        return Frontier((self.linear(x),))


class Head(AuxiliaryNet):
    def forward(self, x: Tensor) -> Tensor:
        return x


def half_learner(index: int, inputs: int, lr: float = 0.5) -> Learner:
    # A config for a GPU; the tensors below lie on the CPU, whose float16 overflows alike.
    training = NetTrainConfig(out=Path("run"), amp="fp16", device="cuda", lr=lr, clip=0.0, max_skipped=2)
    block = Narrow(inputs, 3)
    return Learner(index, block, Head(), BlockTrainConfig(training=training), 10, 3)


LABELS = torch.tensor([0, 1, 2, 0])


def test_overflows_are_skipped_until_the_scale_fits() -> None:
    learner = half_learner(0, 4)
    x = torch.linspace(-1, 1, 16).view(4, 4)
    before = learner.block.get_parameter("linear.weight").clone()
    scales, numbers = [], 0
    while learner.block.get_parameter("linear.weight").equal(before):
        scales.append(learner.scaler.scale if learner.scaler else math.nan)
        _, metrics = learner.step(Frontier((x,)), LABELS, numbers)
        numbers += 1
    assert len(scales) > 5
    assert scales == [2.0 ** (32 - i) for i in range(len(scales))]
    assert (learner.overflows, learner.skipped) == (numbers - 1, 0)
    # The step that fits is that of single precision.
    twin = Narrow(4, 3)
    loss = nn.functional.cross_entropy(twin.linear(x), LABELS)
    torch.autograd.backward(loss)
    assert twin.linear.weight.grad is not None
    torch.testing.assert_close(
        learner.block.get_parameter("linear.weight"),
        twin.linear.weight - 0.5 * (twin.linear.weight.grad + 3e-4 * twin.linear.weight),
        rtol=2e-3,
        atol=2e-3,
    )
    assert metrics["loss"] == pytest.approx(float(loss.detach()), rel=1e-2)
    copy = half_learner(0, 4)
    copy.load_state_dict(learner.state_dict())
    assert (copy.overflows, copy.scaler and copy.scaler.scale) == (learner.overflows, scales[-1])


def test_an_overflow_in_one_block_is_none_of_another() -> None:
    def train(times: float) -> list[Learner]:
        learners = [half_learner(0, 4, 1e-3), half_learner(1, 3, 1e-5)]
        for number in range(40):
            frontier, _ = learners[0].step(Frontier((torch.linspace(-1, 1, 16).view(4, 4),)), LABELS, number)
            learners[1].step(Frontier((frontier.newest * times,)), LABELS, number)
        return learners

    calm, wild = train(1.0), train(100.0)
    assert wild[1].overflows > calm[1].overflows
    one, other = calm[0], wild[0]
    assert one.scaler is not None
    assert other.scaler is not None
    assert one.scaler.state_dict() == other.scaler.state_dict()
    assert one.block.get_parameter("linear.weight").equal(other.block.get_parameter("linear.weight"))


def test_a_loss_without_a_value_is_no_overflow() -> None:
    learner = half_learner(0, 4)
    frontier = Frontier((torch.full((4, 4), math.nan),))
    for number in range(2):
        assert learner.step(frontier, LABELS, number)[1] == {}
    with pytest.raises(PpudaLikeError, match="3 steps of 3 of block 0"):
        learner.step(frontier, LABELS, 2)
    assert learner.overflows == 0
