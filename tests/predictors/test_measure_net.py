import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.predictors import MeasureConfig, Measured, PropertyImages, measure_network
from ppuda_like.predictors._measure_net import converge_time
from ppuda_like.vision import digits, evaluate, noisy
from tests.predictors.networks import seeded

IMAGES = PropertyImages(digits("train", 8), digits("val", 8), digits("test", 8))
TIMES = ("time", "train_seconds")

steps_and_heights = st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1)), min_size=1, max_size=9)


def curve_of(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    places = np.cumsum([step for step, _ in points]).tolist()
    return [(0.0, 0.1), *zip(places, [height for _, height in points], strict=True)]


curves = steps_and_heights.map(curve_of)


def linear() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192, track_running_stats=False), nn.Linear(192, 10))
    )


def values(found: Measured) -> dict[str, object]:
    return {name: value for name, value in vars(found).items() if name not in TIMES}


@given(curve=curves, share=st.floats(0.05, 1))
def test_a_curve_has_reached_the_share_there_and_not_before(curve: list[tuple[float, float]], share: float) -> None:
    found = converge_time(curve, share)
    places, heights = zip(*curve, strict=True)
    wanted = share * max(heights)
    assert places[0] <= found <= places[-1]
    assert np.interp(found, places, heights) >= wanted - 1e-9
    assert all(height < wanted for place, height in curve if place < found)


@given(curve=curves, low=st.floats(0.05, 1), high=st.floats(0.05, 1))
def test_more_is_reached_later(curve: list[tuple[float, float]], low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert converge_time(curve, low) <= converge_time(curve, high) + 1e-12


def test_accuracies_are_those_of_the_trained_network() -> None:
    model = linear()
    config = MeasureConfig(noise_std=0.6)
    found = measure_network(model, IMAGES, config)
    assert found.status == "ok"
    assert found.val_acc > 0.85
    model.eval()
    model[1].train()  # type: ignore[index, union-attr]  # statistics of the batch
    assert evaluate(model, IMAGES.val, progress=False).top1 == found.val_acc
    assert evaluate(model, IMAGES.test, progress=False).top1 == found.test_acc
    assert found.val_acc_noise < found.val_acc - 0.05
    assert evaluate(model, noisy(IMAGES.val, 0.6), progress=False).top1 == pytest.approx(found.val_acc_noise, abs=0.08)
    assert 0 < found.converge_time < 1
    assert 0 < found.time < found.train_seconds


def test_only_times_differ_between_runs_and_nothing_global_changes() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = torch.get_rng_state()
        found = [measure_network(linear(), IMAGES, MeasureConfig(steps=5, checks=2)) for _ in range(2)]
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert values(found[0]) == values(found[1])
    other = measure_network(linear(), IMAGES, MeasureConfig(steps=5, checks=2, seed=1))
    assert values(other) != values(found[0])


def test_dropout_is_seeded() -> None:
    def dropped() -> nn.Module:
        return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 10)))

    config = MeasureConfig(steps=5, checks=1)
    found = [values(measure_network(dropped(), IMAGES, config)) for _ in range(2)]
    assert found[0] == found[1]


class Broken(nn.Module):
    """Gives NaN from some pass on."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10))
        self.left = passes

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return x.flatten(1)[:, :10] * self.weight + (math.nan if self.left < 0 else 0)


@pytest.mark.parametrize("passes", [0, 3, 5])
def test_a_network_that_diverges_has_no_accuracy(passes: int) -> None:
    class Late(Broken):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits * math.nan if self.left == 0 and not self.training else logits

    found = measure_network(Late(passes), IMAGES, MeasureConfig(steps=5, checks=1))
    assert found.status == "diverged"
    names = ("val_acc", "val_acc_noise", "val_loss", "test_acc", "converge_time")
    assert all(math.isnan(getattr(found, name)) for name in names)
    assert found.train_seconds > 0


def test_a_network_that_does_not_learn_has_not_converged() -> None:
    class Guess(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight.expand(len(x), -1)

    found = measure_network(Guess(), IMAGES, MeasureConfig(steps=5, checks=1))
    assert found.status == "chance"
    assert found.val_acc == 0.1
    assert math.isnan(found.converge_time)


def test_time_does_not_count_other_work() -> None:
    class Counted(nn.Module):
        def __init__(self, repeats: int) -> None:
            super().__init__()
            self.layer, self.repeats = nn.Linear(192, 10), repeats

        def forward(self, x: Tensor) -> Tensor:
            work = torch.ones(128, 128)
            for _ in range(self.repeats):
                work = work @ torch.eye(128)
            return self.layer(x.flatten(1)) + 0 * work[0, 0]

    config = MeasureConfig(steps=2, checks=1)
    short, long = (measure_network(Counted(n), IMAGES, config).time for n in (0, 100))
    assert short < long


def test_networks_elsewhere_and_wrong_settings_are_refused() -> None:
    with pytest.raises(DataError, match="parameters on the CPU, where inference is timed"):
        measure_network(nn.Linear(192, 10, device="meta"), IMAGES, MeasureConfig())
    with pytest.raises(DataError, match=r"\(got none\)"):
        measure_network(nn.Flatten(), IMAGES, MeasureConfig())
    with pytest.raises(DataError, match=r"logits of shape \(125, 10\)|logits of shape \(6., 10\)"):
        measure_network(nn.Sequential(nn.Flatten(), nn.Linear(192, 11)), IMAGES, MeasureConfig(steps=2, checks=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "'steps' must be at least 1"),
        ({"checks": 81}, "'checks' must be at most 'steps', 80"),
        ({"lr": math.nan}, "'lr' must be positive"),
        ({"noise_std": -0.1}, "'noise_std' must be 0 or more"),
        ({"converged": 1.5}, "'converged' must be above 0 and at most 1"),
    ],
)
def test_settings_are_checked(changes: dict[str, float], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        MeasureConfig(**changes)  # type: ignore[arg-type]
