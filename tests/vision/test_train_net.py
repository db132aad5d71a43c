import json
import math
import os
import signal
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like._seeds import derived_seed
from ppuda_like.deepnets import DARTS, Network
from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.vision import (
    ImageData,
    ImageStream,
    NetTrainConfig,
    NetTrainResult,
    _train_net,
    _train_run,
    evaluate,
    load_weights,
    train_net,
)

TIMES = {"seconds", "images_per_second", "val_seconds"}


def patches(count: int = 24, classes: int = 3) -> ImageData:
    """Images of which one channel, that of their class, is brighter than the others."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % classes
    images = torch.rand(count, 3, 6, 6, generator=generator) / 2
    images[torch.arange(count), labels] += 0.5
    return ImageData(images=images, labels=labels, class_names=tuple("abc"[:classes]))


TRAIN, VAL = patches(), patches(12)


def tiny(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )


def short(out: Path, **changes: Any) -> NetTrainConfig:
    return NetTrainConfig(**{"out": out, "epochs": 3, "batch_size": 8, "augment": "none", "lr": 0.1} | changes)


def train(model: nn.Module, config: NetTrainConfig, **options: Any) -> NetTrainResult:
    return train_net(model, config, TRAIN, VAL, progress=False, **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in found]


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_what_a_run_leaves(tmp_path: Path) -> None:
    seen: list[int] = []
    model = tiny()
    result = train(model, short(tmp_path), log=lambda metrics, step: seen.append(step))
    assert (result.epochs, result.steps, result.finished, result.skipped_steps) == (3, 9, True, 0)
    assert seen == [3, 6, 9] == [line["step"] for line in lines(tmp_path)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "metrics.jsonl",
        "state.pt",
    ]
    config = json.loads((tmp_path / "config.json").read_text())
    assert NetTrainConfig(**config) == short(tmp_path)
    # The network is left as it was last validated, and the best epoch is kept.
    assert same(model.state_dict(), load_file(result.last))
    assert not model.training
    assert result.val is not None
    assert result.best is not None
    found = evaluate(model, VAL)
    assert (
        (found.top1, found.loss) == (result.val.top1, result.val.loss) == (lines(tmp_path)[-1]["val_top1"], found.loss)
    )
    assert result.best_top1 == max(line["val_top1"] for line in lines(tmp_path))
    load_weights(model, result.best)
    assert evaluate(model, VAL).top1 == result.best_top1


def test_it_learns(tmp_path: Path) -> None:
    config = short(tmp_path, epochs=12, augment="crop", ema=0.8, label_smoothing=0.1, warmup=0.5)
    assert train(tiny(), config).best_top1 == 1.0


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    first = train(tiny(), short(tmp_path))
    model = tiny(seed=7)
    again = train(model, short(tmp_path))
    assert (again.steps, again.finished, again.val) == (9, True, first.val)
    assert same(model.state_dict(), load_file(first.last))


def test_it_is_plain_sgd(tmp_path: Path) -> None:
    model, oracle = tiny(), tiny()
    model[3].p = oracle[3].p = 0.0
    config = short(
        tmp_path, nesterov=True, schedule="step", milestones=(1, 2), factor=0.5, clip=0.3, label_smoothing=0.1
    )
    train(model, config)
    optimizer = torch.optim.SGD(oracle.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2], 0.5)
    stream = ImageStream(TRAIN, batch_size=8, seed=0)
    for step in range(9):
        images, labels = stream[step]
        optimizer.zero_grad()
        F.cross_entropy(oracle(images), labels, label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(oracle.parameters(), 0.3)
        optimizer.step()
        if step % 3 == 2:
            schedule.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(oracle.state_dict()))


VARIANTS: dict[str, dict[str, Any]] = {
    "sgd": {"ema": 0.9, "nesterov": True, "augment": "crop", "bn_images": 16},
    "adamw": {"optimizer": "adamw", "amp": "bf16", "warmup": 1.5, "schedule": "exponential", "factor": 0.5},
    "adam": {"optimizer": "adam", "channels_last": True, "decay_all": False, "workers": 0, "bn_batch_stats": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_after_every_step_it_equals_a_run_in_one_piece_bit_for_bit(tmp_path: Path, variant: str) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    model = tiny()
    expected = train(model, short(whole, **VARIANTS[variant]))
    config = short(pieces, **VARIANTS[variant], max_minutes=1e-9)
    for step in range(1, 10):
        part = tiny(seed=step - 1)  # after the first call, initial weights play no part in a resumption
        result = train(part, config)
        assert (result.steps, result.finished) == (step, False)
    result = train(part, config)
    assert (result.epochs, result.steps, result.finished) == (3, 9, True)
    assert same(part.state_dict(), model.state_dict())
    assert same(load_file(result.last), load_file(expected.last))
    assert result.best is not None
    assert expected.best is not None
    assert same(load_file(result.best), load_file(expected.best))
    assert without_times(lines(pieces)) == without_times(lines(whole))
    assert not same(load_file(expected.last), copied(tiny()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_make_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    expected = train(tiny(), short(tmp_path / "whole"))

    class Signalling(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 5:
                os.kill(os.getpid(), number)
            return super().forward(x)  # type: ignore[no-any-return]

    handler = signal.getsignal(number)
    model = Signalling(*tiny())
    part = train(model, short(tmp_path / "pieces"))
    assert (part.epochs, part.steps, part.finished) == (1, 4, False)  # the fifth pass was of the validation
    assert signal.getsignal(number) is handler
    rest = train(model, short(tmp_path / "pieces"))
    assert rest.finished
    assert same(load_file(rest.last), load_file(expected.last))


def test_killed_between_checkpoints_it_goes_on_from_the_last(tmp_path: Path) -> None:
    train(tiny(), short(tmp_path / "whole"))

    class Killed(Exception):
        pass

    def kill(metrics: Mapping[str, float], step: int) -> None:
        if step == 6:
            raise Killed

    config = short(tmp_path / "pieces", checkpoint_minutes=0.0)
    with pytest.raises(Killed):
        train(tiny(), config, log=kill)
    assert len(lines(config.out)) == 2
    with (config.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert train(tiny(), config).steps == 9
    assert without_times(lines(config.out)) == without_times(lines(tmp_path / "whole"))


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone = train(tiny(), short(tmp_path / "alone", epochs=1))
    helped = train(tiny(), short(tmp_path / "helped", epochs=1, workers=1))
    assert same(load_file(alone.last), load_file(helped.last))


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(tiny(), short(tmp_path / "0"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)  # nor does anything depend on it
    train(tiny(), short(tmp_path / "1"))
    first, second = (load_file(tmp_path / name / "last.safetensors") for name in "01")
    assert same(first, second)
    train(tiny(), short(tmp_path / "2", seed=1))
    assert not same(first, load_file(tmp_path / "2" / "last.safetensors"))


def test_average_of_the_weights(tmp_path: Path) -> None:
    class WithTable(nn.Module):
        """A network with integers among its buffers, as Swin transformers have."""

        def __init__(self) -> None:
            super().__init__()
            self.net = tiny()
            self.register_buffer("table", torch.arange(1_000))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                history.append(copied(self))
            return self.net(x)  # type: ignore[no-any-return]

    history: list[dict[str, Tensor]] = []
    model = WithTable()
    train(model, short(tmp_path, ema=0.5))
    history.append({key: value for key, value in torch.load(tmp_path / "state.pt")["model"].items()})
    average = history[1]
    for update, now in enumerate(history[2:], start=1):
        decay = min(0.5, (1 + update) / (10 + update))
        average = {key: decay * average[key] + (1 - decay) * now[key] for key in now}
    found = model.state_dict()
    assert torch.equal(found["table"], torch.arange(1_000))
    for key in ("net.0.weight", "net.1.running_var", "net.6.bias"):
        torch.testing.assert_close(found[key], average[key])
        assert not torch.equal(found[key], history[-1][key])


def spoiled(*positions: int) -> ImageData:
    images = TRAIN.images.clone()
    images[list(positions)] = math.nan
    return replace(TRAIN, images=images)


def test_a_step_without_finite_loss_leaves_no_trace(tmp_path: Path) -> None:
    model = tiny()
    before = copied(model)
    result = train_net(model, short(tmp_path, ema=0.9), spoiled(*range(24)), progress=False)
    assert (result.steps, result.skipped_steps, result.finished) == (9, 9, True)
    assert same(model.state_dict(), before)
    assert (result.val, result.best, result.best_top1) == (None, None, None)
    assert "loss" not in lines(tmp_path)[0]
    assert [line["skipped_steps"] for line in lines(tmp_path)] == [3, 6, 9]


def test_one_bad_image_costs_one_step_an_epoch(tmp_path: Path) -> None:
    model = tiny()
    result = train_net(model, short(tmp_path, epochs=8), spoiled(5), VAL, progress=False)
    assert (result.steps, result.skipped_steps) == (24, 8)
    assert result.best_top1 == 1.0
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


def test_too_many_bad_steps_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PpudaLikeError, match=r"3 steps of 3 had no finite loss.*\(at most 2 may.*lower 'lr'"):
        train_net(tiny(), short(tmp_path, max_skipped=2), spoiled(*range(24)), progress=False)


def test_a_gradient_that_is_not_finite_is_a_bad_step(tmp_path: Path) -> None:
    class Root(nn.Module):
        """Its loss is finite, its gradient at 0 is not."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) + self.weight.abs().sqrt()

    model = Root()
    result = train_net(model, short(tmp_path, epochs=1), TRAIN, progress=False)
    assert result.skipped_steps == 3
    assert torch.equal(model.weight, torch.zeros(3))


class Steep(nn.Module):
    """A gradient that float16 can hold only if the loss is scaled by less than about 100."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)) * 1_000)  # type: ignore[no-any-return]


def test_overflows_of_float16_are_not_bad_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_train_net, "available_device", lambda name: torch.device("cpu"))  # a scaler works there too
    model = Steep()
    config = short(tmp_path, amp="fp16", device="cuda", epochs=8, lr=1e-3, max_skipped=0, max_minutes=1e-9)
    while not (result := train(model, config)).finished:
        pass
    assert 5 < result.overflows < 20
    assert result.skipped_steps == 0
    assert "loss" in lines(tmp_path)[-1]
    assert model.linear.weight.dtype == torch.float32


def test_in_float16_a_loss_that_is_not_finite_is_a_bad_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_train_net, "available_device", lambda name: torch.device("cpu"))
    config = short(tmp_path, amp="fp16", device="cuda", epochs=1)
    result = train_net(tiny(), config, spoiled(*range(24)), progress=False)
    assert (result.skipped_steps, result.overflows) == (3, 0)


def test_drop_path_grows_by_epoch(tmp_path: Path) -> None:
    class Dropping(nn.Sequential):
        drop_path_rate = 0.0

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                rates.append(self.drop_path_rate)
            return super().forward(x)  # type: ignore[no-any-return]

    rates: list[float] = []
    model = Dropping(*tiny())
    train(model, short(tmp_path, drop_path=0.3))
    assert rates == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2] * 3)
    assert model.drop_path_rate == 0.0
    assert [line["drop_path"] for line in lines(tmp_path)] == pytest.approx([0.0, 0.1, 0.2])


def test_network_of_deepnets_with_auxiliary_head_and_drop_path(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Network(C=4, num_classes=3, genotype=DARTS, n_cells=3, auxiliary=True, norm="bn-track")
    images = F.interpolate(TRAIN.images, size=32)
    config = short(tmp_path, epochs=2, auxiliary=0.4, drop_path=0.2)
    assert model.auxiliary_head is not None
    before = model.auxiliary_head.classifier.weight.clone()
    result = train_net(model, config, replace(TRAIN, images=images), progress=False)
    assert result.finished
    assert not torch.equal(model.auxiliary_head.classifier.weight, before)
    assert lines(tmp_path)[0]["loss"] > 1.3 * math.log(3)  # both losses, at about log(3) each


def test_without_weight_an_auxiliary_head_is_left_aside(tmp_path: Path) -> None:
    class WithAux(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = tiny(), tiny(1)

        def forward(self, x: Tensor) -> Any:
            return namedtuple("Outputs", "logits aux")(self.main(x), self.aux(x))

    model, plain = WithAux(), tiny()
    model.main[3].p = plain[3].p = 0.0
    aux = copied(model.aux)
    train(model, short(tmp_path / "aux"))
    train(plain, short(tmp_path / "plain"))
    assert same(model.main.state_dict(), plain.state_dict())
    assert same({"weight": model.aux[0].weight}, {"weight": aux["0.weight"]})


def test_validation_with_the_statistics_of_the_batch(tmp_path: Path) -> None:
    model = tiny()
    result = train(model, short(tmp_path, bn_batch_stats=True))
    assert [module.training for module in model] == [index == 1 for index in range(7)]
    assert result.val is not None
    assert evaluate(model, VAL).loss == result.val.loss
    assert evaluate(model.eval(), VAL).loss != result.val.loss


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_statistics_taken_anew_are_those_of_the_images_under_the_last_weights(tmp_path: Path, ema: float) -> None:
    model, before = tiny(), tiny()
    result = train(model, short(tmp_path / "new", bn_images=24, augment="crop", ema=ema))
    with torch.no_grad():
        seen = model[0](TRAIN.batch(torch.arange(24))[0])
    torch.testing.assert_close(model[1].running_mean, seen.mean((0, 2, 3)))
    # Of three batches of 8 images: the means of their variances.
    stream = ImageStream(TRAIN, batch_size=8, seed=derived_seed(0, "bn"))
    with torch.no_grad():
        variances = [model[0](stream[number][0]).var((0, 2, 3)) for number in range(3)]
    torch.testing.assert_close(model[1].running_var, torch.stack(variances).mean(0))
    assert result.val is not None
    assert evaluate(model, VAL).loss == result.val.loss
    # They play no part in training.
    train(before, short(tmp_path / "run up", augment="crop", ema=ema))
    assert same(dict(model.named_parameters()), dict(before.named_parameters()))
    assert not torch.allclose(model[1].running_mean, before[1].running_mean, rtol=0.01)


@pytest.mark.parametrize(("images", "batches"), [(1, 1), (8, 1), (9, 2), (1_000, 3)])
def test_statistics_are_taken_over_whole_batches(tmp_path: Path, images: int, batches: int) -> None:
    model = tiny()
    train(model, short(tmp_path, epochs=1, bn_images=images))
    assert model[1].num_batches_tracked == batches


def test_with_the_statistics_of_the_batch_no_others_are_taken(tmp_path: Path) -> None:
    config = short(tmp_path, epochs=1, bn_images=8, bn_batch_stats=True)
    model = tiny()
    train(model, config)
    assert model[1].num_batches_tracked == 3
    assert config.identity == replace(config, bn_images=0).identity != replace(config, bn_batch_stats=False).identity


def test_decay_of_norms_and_biases_is_optional(tmp_path: Path) -> None:
    class Idle(nn.Module):
        """Its loss has a gradient of zero, so that decay alone changes the weights."""

        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.ones(3, 3))
            self.vector = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) + 0 * (self.matrix.sum() + self.vector.sum())

    shrunk = (1 - 0.1 * 0.5) ** 9
    for decay_all in (True, False):
        model = Idle()
        config = short(tmp_path / str(decay_all), momentum=0.0, weight_decay=0.5, schedule="constant")
        train(model, replace(config, decay_all=decay_all))
        torch.testing.assert_close(model.matrix.data, torch.full((3, 3), shrunk))
        torch.testing.assert_close(model.vector.data, torch.full((3,), shrunk if decay_all else 1.0))


def test_frozen_weights_stay(tmp_path: Path) -> None:
    model = tiny()
    before = copied(model)
    model[0].requires_grad_(False)
    train(model, short(tmp_path))
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[6].weight, before["6.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lr": 0.2},
            r"another config \(different: lr, 0.1 before, now 0.2\); resume with the same one, delete '.*pt'",
        ),
        ({"epochs": 5, "seed": 3}, "different: epochs, 3 before, now 5; seed, 0 before, now 3"),
    ],
)
def test_state_of_another_config_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    train(tiny(), short(tmp_path))
    with pytest.raises(CheckpointError, match=message):
        train(tiny(), short(tmp_path, **changes))


def test_state_of_another_network_is_refused(tmp_path: Path) -> None:
    train(tiny(), short(tmp_path))
    other = tiny()
    other[6] = nn.Linear(4, 3, bias=False)
    with pytest.raises(
        CheckpointError, match=r"another model \(different: 6.bias, float32 \(3,\) trained before, now n"
    ):
        train(other, short(tmp_path))
    frozen = tiny()
    frozen[0].requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"0.weight, .* trained before, now .*; 0.bias"):
        train(frozen, short(tmp_path))


def test_state_of_other_images_is_refused(tmp_path: Path) -> None:
    train(tiny(), short(tmp_path))
    with pytest.raises(CheckpointError, match=r"another data \(different: images to train on, 24 before, now 48\)"):
        train_net(tiny(), short(tmp_path), patches(48), VAL, progress=False)


def test_what_may_change_between_a_run_and_its_resumption(tmp_path: Path) -> None:
    train(tiny(), short(tmp_path, max_minutes=1e-9))
    moved = (tmp_path / "moved").resolve()
    moved.mkdir()
    (tmp_path / "state.pt").rename(moved / "state.pt")
    config = short(moved, checkpoint_minutes=1.0, val_batch_size=5, max_minutes=9.0)
    assert train(tiny(), config).steps == 9


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut off"])
def test_broken_state_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read the training state .*state.pt.*delete '"):
        train(tiny(), short(tmp_path))
    assert (tmp_path / "state.pt").read_bytes() == content


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"must have format 1 \(got 99\)"):
        train(tiny(), short(tmp_path))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = short(tmp_path, max_minutes=1e-9)
    train(tiny(), config)
    before = (tmp_path / "state.pt").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*No space left.*make room"):
            train(tiny(), config)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    assert train(tiny(), replace(config, max_minutes=None)).finished


def test_memory_that_does_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 1 EiB")

    monkeypatch.setattr(_train_run, "training_loss", exhausted)
    with pytest.raises(PpudaLikeError, match=r"batches of 8 images of 6 pixels \(tried.*lower 'batch_size'"):
        train(tiny(), short(tmp_path))


def test_what_does_not_go_together(tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, model: nn.Module, **changes: Any) -> None:
        with pytest.raises(error, match=message):
            train(model, short(tmp_path, **changes))

    refused(
        DataError,
        r"shape \(8, 3\).*got \(8, 5\)\); build it with num_classes=3",
        nn.Sequential(*tiny()[:6], nn.Linear(4, 5)),
    )
    refused(DataError, r"does not take images of shape \(8, 3, 6, 6\): .*Kernel size", nn.Conv2d(3, 3, 9))
    refused(
        DataError,
        r"does not take images of shape \(1, 3, 6, 6\).*batch size",
        nn.Sequential(*tiny()[4:6], nn.BatchNorm1d(3)),
        batch_size=1,
    )
    refused(DataError, "'batch_size'", tiny(), batch_size=25)
    refused(DataError, "meta device", tiny().to("meta"))
    refused(DataError, "no parameter that requires a gradient", tiny().requires_grad_(False))
    refused(DataError, "returns none in training", tiny(), auxiliary=0.4)
    refused(PpudaLikeError, "a Sequential has no 'drop_path_rate'", tiny(), drop_path=0.1)
    with pytest.raises(DataError, match=r"must have the 3 classes .*\(got 2: a, b"):
        train_net(tiny(), short(tmp_path), TRAIN, patches(12, 2), progress=False)


def test_a_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PpudaLikeError, match="torch finds no CUDA device for device 'cuda:0'; take 'cpu'"):
        train(tiny(), short(tmp_path, device="cuda:0"))
