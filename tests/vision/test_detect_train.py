import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection import FasterRCNN

from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.vision import (
    DetectConfig,
    DetectorConfig,
    PennFudan,
    detector,
    evaluate_detector,
    generate_pedestrians,
    penn_fudan,
    train_detector,
)
from ppuda_like.vision._detect_batches import epoch_batches
from ppuda_like.vision._detect_config import learning_rate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PennFudan:
    return penn_fudan(generate_pedestrians(tmp_path_factory.mktemp("data") / "made", 5, size=(32, 48)))


def tiny(*, norm: bool = True) -> FasterRCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(8, 8, 2, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )
    config = DetectorConfig(min_size=32, max_size=48, anchor_sizes=(8, 16, 24), head_width=8, proposals=10)
    return detector(body, config=config, input_shape=(1, 3, 32, 32))


def config_for(out: Path, **options: Any) -> DetectConfig:
    return DetectConfig(**{"out": out, "epochs": 2, "seed": 3, **options})


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


# ------------------------------------------------------------------------------------------------------------ runs


def test_a_run(tmp_path: Path, data: PennFudan) -> None:
    model, seen = tiny().eval(), []
    before = torch.random.get_rng_state()
    result = train_detector(model, config_for(tmp_path), data, data, log=lambda metrics, step: seen.append(step))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not model.training
    assert (result.epochs, result.steps, result.finished, result.skipped_steps) == (2, 6, True, 0)
    assert seen == [3, 6] == [line["step"] for line in lines(tmp_path)]
    assert result.score is not None
    assert result.score.ap50 == evaluate_detector(model, data).ap50 == lines(tmp_path)[-1]["val_ap50"]
    assert lines(tmp_path)[0]["loss"] > lines(tmp_path)[1]["loss"]
    assert result.weights is not None
    torch.testing.assert_close(load_file(result.weights), dict(model.state_dict()), rtol=0, atol=0)
    assert json.loads((tmp_path / "config.json").read_text())["epochs"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "detector.safetensors", "metrics.jsonl", "state.pt"
    }  # fmt: skip


def test_a_detector_learns_to_find_squares(tmp_path: Path) -> None:
    class Squares:
        """One bright square on black in each image."""

        def __len__(self) -> int:
            return 8

        def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Tensor]]:
            x, y = 4 * (position % 4), 3 * (position % 5)
            image = torch.zeros(3, 32, 48)
            image[:, y : y + 16, x : x + 16] = 1
            boxes = torch.tensor([[x, y, x + 16, y + 16]], dtype=torch.float32)
            return image, {"boxes": boxes, "labels": torch.tensor([1])}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
    how = DetectorConfig(
        min_size=32, max_size=48, anchor_sizes=(16,), aspect_ratios=(1.0,), head_width=16, proposals=10
    )
    model = detector(body, config=how, input_shape=(1, 3, 32, 32))
    before = evaluate_detector(model, Squares())
    config = config_for(tmp_path, epochs=30, lr=0.05, lr_step=20, val_epochs=100, clip=2.0)
    result = train_detector(model, config, Squares(), Squares())
    assert result.score is not None
    assert result.score.ap50 > 0.6 > before.ap50
    assert [("val_ap50" in line) for line in lines(tmp_path)] == [False] * 29 + [True]


def test_seeds_decide(tmp_path: Path, data: PennFudan) -> None:
    states = []
    for name, seed, noise in (("a", 1, 0), ("b", 1, 99), ("c", 2, 0)):
        model = tiny()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            train_detector(model, config_for(tmp_path / name, seed=seed, epochs=1), data)
        states.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not torch.equal(states[0]["backbone.body.0.weight"], states[2]["backbone.body.0.weight"])


def test_a_run_goes_on_bit_for_bit(tmp_path: Path, data: PennFudan) -> None:
    whole, parts = tiny(), tiny()
    train_detector(whole, config_for(tmp_path / "whole", epochs=3), data, data)
    first = config_for(tmp_path / "parts", epochs=1)
    train_detector(parts, first, data, data)
    fresh = tiny()
    result = train_detector(fresh, replace(first, epochs=3, workers=1), data, data)
    assert result.steps == 9
    torch.testing.assert_close(dict(fresh.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)
    assert timeless(lines(tmp_path / "parts")) == timeless(lines(tmp_path / "whole"))
    again = train_detector(tiny(), replace(first, epochs=3), data, data)
    assert (again.steps, again.score, again.finished) == (9, result.score, True)


def test_a_signal_ends_the_epoch_and_the_next_call_does_it_anew(tmp_path: Path, data: PennFudan) -> None:
    class Signalling:
        def __init__(self, at: int) -> None:
            self.reads, self.at = 0, at

        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
            self.reads += 1
            if self.reads == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
            return data[position]

    handler = signal.getsignal(signal.SIGTERM)
    result = train_detector(tiny(), config_for(tmp_path / "cut"), Signalling(8))
    assert (result.epochs, result.finished, result.weights) == (1, False, None)
    assert signal.getsignal(signal.SIGTERM) is handler
    fresh, whole = tiny(), tiny()
    assert train_detector(fresh, config_for(tmp_path / "cut"), data).finished
    train_detector(whole, config_for(tmp_path / "whole"), data)
    torch.testing.assert_close(dict(fresh.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_other_runs_are_not_continued(tmp_path: Path, data: PennFudan) -> None:
    config = config_for(tmp_path, epochs=1, name="tiny, random")
    train_detector(tiny(), config, data)
    for other, images, message in (
        (replace(config, lr=0.1), data, "lr, 0.005 before, now 0.1"),
        (replace(config, name="tiny, predicted"), data, "name, tiny, random before, now tiny, predicted"),
        (config, [data[0]], "training images, 5 before, now 1"),
    ):
        with pytest.raises(CheckpointError, match=f"was started with another setup .*{message}"):
            train_detector(tiny(), other, images)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="number of tensors"):
        train_detector(tiny(norm=False), config, data)


@pytest.mark.parametrize("content", [b"", b"no state", None])
def test_broken_states(tmp_path: Path, data: PennFudan, content: bytes | None) -> None:
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"format": 99}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state.*delete '.*state.pt' to start anew"):
        train_detector(tiny(), config_for(tmp_path), data)


def test_a_state_runs_no_code(tmp_path: Path, data: PennFudan) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"format": 1, "facts": Evil()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        train_detector(tiny(), config_for(tmp_path), data)
    assert not (tmp_path / "harm").exists()


# --------------------------------------------------------------------------------------------- what is not finite


class SometimesBroken(nn.Module):
    """Features that are NaN at some calls, in the loss or in the gradient only."""

    def __init__(self, calls: set[int], where: str) -> None:
        super().__init__()
        self.calls, self.where, self.count = calls, where, 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
            if self.count in self.calls:
                if self.where == "loss":
                    return x * float("nan")
                x.register_hook(lambda gradient: gradient * float("inf"))
        return x


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_steps_that_are_not_finite_leave_no_trace(tmp_path: Path, data: PennFudan, where: str) -> None:
    model = tiny()
    model.backbone.body[3] = SometimesBroken({1, 2, 3}, where)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = train_detector(model, config_for(tmp_path, epochs=1), data)
    assert result.skipped_steps == 3 == lines(tmp_path)[0]["skipped_steps"]
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_too_many_of_them_are_an_error(tmp_path: Path, data: PennFudan) -> None:
    model = tiny()
    model.backbone.body[3] = SometimesBroken(set(range(100)), "loss")
    with pytest.raises(PpudaLikeError, match=r"3 steps of 3 had no finite loss and gradient \(at most 2 may\); lower"):
        train_detector(model, config_for(tmp_path, max_skipped=2), data)


# --------------------------------------------------------------------------------------------- batches and schedule


def test_an_epoch_sees_every_image_once(data: PennFudan) -> None:
    orders = []
    for epoch in (0, 1):
        found = list(epoch_batches(data, epoch, batch_size=2, num_classes=2, flip=0.5, seed=1))
        assert [len(images) for images, _ in found] == [2, 2, 1]
        orders.append([target["image_id"] for _, targets in found for target in targets])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(5))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("plain", [True, False])
def test_mirrored_images(data: PennFudan, plain: bool) -> None:
    """Mirrored boxes hold the mirrored pixels, and mirroring twice changes nothing."""

    def strip(target: Mapping[str, Any]) -> dict[str, Any]:
        return {key: torch.as_tensor(target[key]).as_subclass(Tensor) for key in ("boxes", "labels")}

    given = [(image, strip(target) if plain else target) for image, target in (data[i] for i in range(5))]
    straight = {"batch_size": 5, "num_classes": 2, "seed": 0}
    ((images, targets),) = epoch_batches(given, 0, flip=0.0, **straight)  # type: ignore[arg-type]
    ((mirrored, mirrored_targets),) = epoch_batches(given, 0, flip=1.0, **straight)  # type: ignore[arg-type]
    for image, target, other, other_target in zip(images, targets, mirrored, mirrored_targets, strict=True):
        assert torch.equal(torch.as_tensor(image).flip(2), torch.as_tensor(other))
        for box, other_box in zip(target["boxes"].long().tolist(), other_target["boxes"].long().tolist(), strict=True):
            (x1, y1, x2, y2), (u1, v1, u2, v2) = box, other_box
            assert torch.equal(image[:, y1:y2, x1:x2].flip(2), other[:, v1:v2, u1:u2])


def test_masks_are_mirrored_with_their_boxes(data: PennFudan) -> None:
    ((_, targets),) = epoch_batches(replace(data, with_masks=True), 0, batch_size=5, num_classes=2, flip=1.0, seed=0)
    for target in targets:
        assert isinstance(target["masks"], tv_tensors.Mask)
        for mask, (x1, y1, x2, y2) in zip(target["masks"], target["boxes"].long().tolist(), strict=True):
            assert mask[y1:y2, x1:x2].sum() == mask.sum()


def test_the_published_schedule() -> None:
    config = DetectConfig(out=Path("x"))
    rates = [learning_rate(config, step, 60) for step in range(600)]
    assert rates[0] == pytest.approx(5e-6)
    assert rates[:60] == sorted(rates[:60])
    assert [rates[60 * epoch + 59] for epoch in range(10)] == pytest.approx(
        [5e-3] * 3 + [5e-4] * 3 + [5e-5] * 3 + [5e-6]
    )


def test_one_step_per_epoch_needs_no_warm_up() -> None:
    assert learning_rate(DetectConfig(out=Path("x"), lr=1.0), 0, 1) == 1.0


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"lr": 0.0}, {"flip": 1.5}, {"clip": 0.0}, {"momentum": -1.0}, {"lr": float("nan")}]
)
def test_configs_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"'{next(iter(options))}' must be"):
        config_for(Path("x"), **options)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images to train on"):
        train_detector(tiny(), config_for(tmp_path), [])  # type: ignore[arg-type]
