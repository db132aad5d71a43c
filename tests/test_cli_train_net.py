import json
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ppuda_like import _cli_options, _cli_train_net
from ppuda_like.cli import main
from ppuda_like.deepnets import Network, NetworkConfig, generate
from ppuda_like.vision import NetTrainResult, digits, train_net

MODEL = """
from torch import nn

def net(num_classes=7):
    convolution = nn.Conv2d(3, 8, 3, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, num_classes))

def diverging(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes), *[nn.Linear(num_classes, num_classes)] * 200)

def seven(num_classes):
    return net()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "train-net", *map(str, arguments)])
    main()


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a user's mistake ends with."""
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if "error" in line]) == 1
    return lines[-1]


def config_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "config.json").read_text()))


def test_train_then_again(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = (f"{model}:net", "--image-size", 8, "--epochs", 3, "--lr", 0.1, "--nesterov", "--out", out)
    torch.manual_seed(0)
    run(monkeypatch, *arguments)
    said = capsys.readouterr().out
    assert said.startswith("3 epochs, ")
    assert "accuracy on 250 test images of 10 classes:" in said
    accuracies = re.findall(r"(last|best): top-1 +([\d.]+) %, top-5 +([\d.]+) %  (\S+)", said)
    assert [(name, path) for name, *_, path in accuracies] == [
        (name, str(out / f"{name}.safetensors")) for name in ("last", "best")
    ]
    assert all(60 < float(top1) <= float(top5) for _, top1, top5, _ in accuracies)
    found = config_of(out)
    assert (found["epochs"], found["lr"], found["nesterov"], found["weight_decay"]) == (3, 0.1, True, 3e-4)
    assert found["augment"] == "affine"  # digits are not mirrored
    before = load_file(out / "last.safetensors")
    torch.manual_seed(1)  # the initial weights depend on the seed of the run alone
    run(monkeypatch, *arguments)
    assert capsys.readouterr().out.splitlines()[1:] == said.splitlines()[1:]
    run(monkeypatch, *arguments[:-1], tmp_path / "other")
    assert all(torch.equal(before[key], value) for key, value in load_file(tmp_path / "other/last.safetensors").items())


def test_presets_and_what_replaces_them(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (f"{model}:net", "--image-size", 8, "--epochs", 1, "--out")
    run(monkeypatch, *common, tmp_path / "a", "--preset", "finetune", "--augment", "crop")
    found = config_of(tmp_path / "a")
    assert (found["weight_decay"], found["augment"]) == (1e-3, "crop")
    run(monkeypatch, *common, tmp_path / "b", "--preset", "darts", "--drop-path", 0, "--auxiliary", 0)
    assert config_of(tmp_path / "b")["augment"] == "crop-cutout"
    told = fails(monkeypatch, capsys, *common, tmp_path / "c", "--preset", "darts")
    assert "a Sequential has no 'drop_path_rate'" in told


def test_stopped_and_continued(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> NetTrainResult:
        return train_net(*arguments, log=lambda metrics, step: os.kill(os.getpid(), signal.SIGTERM))

    arguments = (f"{model}:net", "--image-size", 8, "--epochs", 2, "--out", tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(_cli_train_net, "train_net", interrupted)
        run(patched, *arguments)
    said = capsys.readouterr().out
    assert said == "stopped after 1 of 2 epochs (13 steps); the same command goes on from there\n"
    run(monkeypatch, *arguments)
    assert capsys.readouterr().out.startswith("2 epochs")
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2


def test_given_weights(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (f"{model}:net", "--image-size", 8, "--epochs", 1, "--lr", 1e-30, "--weight-decay", 0)
    run(monkeypatch, *common, "--seed", 1, "--out", tmp_path / "first")
    given = tmp_path / "first/last.safetensors"
    run(monkeypatch, *common, "--seed", 2, "--init", given, "--out", tmp_path / "second")
    first, second = load_file(given), load_file(tmp_path / "second/last.safetensors")
    assert torch.equal(first["0.weight"], second["0.weight"])
    assert f"starts from {given}\n" in capsys.readouterr().out
    save_file(first | {"4.weight": torch.zeros(3, 72), "4.bias": torch.zeros(3)}, tmp_path / "three.safetensors")
    more = (*common, "--init", tmp_path / "three.safetensors", "--out", tmp_path / "third")
    assert "a new class layer must be asked for" in fails(monkeypatch, capsys, *more)
    run(monkeypatch, *more, "--new-class-layer")
    assert "three.safetensors, but for 4.weight, 4.bias\n" in capsys.readouterr().out


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that the command would train; it trains none of them."""
    found: list[Any] = []

    def caught(model: object, *arguments: object) -> NetTrainResult:
        found.append(model)
        path = Path("none")
        return NetTrainResult(
            last=path,
            best=None,
            best_top1=None,
            val=None,
            epochs=0,
            steps=0,
            finished=False,
            skipped_steps=0,
            overflows=0,
            seconds=0.0,
        )

    monkeypatch.setattr(_cli_train_net, "train_net", caught)
    return found


def network(built: list[Any]) -> NetworkConfig:
    assert isinstance(built[-1], Network)
    return built[-1].config


def test_networks_of_deepnets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], built: list[Any]
) -> None:
    out = ("--out", tmp_path / "run")
    run(monkeypatch, "--arch", "test:3", "--width", 8, "--auxiliary", 0.4, *out)
    found = network(built)
    assert (found.C, found.num_classes, found.auxiliary, found.norm) == (8, 10, True, "bn-track")
    run(monkeypatch, "--arch", "test:3", "--bn-batch-stats", *out)
    assert network(built) == found.replace(C=network(built).C, auxiliary=False, norm="bnorm")
    run(monkeypatch, "--arch", "bnfree:0", *out)
    assert network(built).norm is None
    store = tmp_path / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("test", 4, store, executor=executor)
    run(monkeypatch, "--arch", f"{store}:test:3", "--width", 8, "--auxiliary", 0.4, *out)
    assert network(built) == found
    run(monkeypatch, "--arch", "predefined:0", *out)
    assert type(built[-1]).__name__ == "ResNet"
    capsys.readouterr()
    assert "networks 0..3 (got 4)" in fails(monkeypatch, capsys, "--arch", f"{store}:test:4", *out)
    assert "'train'" in fails(monkeypatch, capsys, "--arch", f"{store}:train:0", *out)
    assert "a ResNet-50" in fails(monkeypatch, capsys, "--arch", "predefined:0", "--width", 8, *out)
    assert "must be SPLIT:INDEX" in fails(monkeypatch, capsys, "--arch", "test", *out)
    assert "must be SPLIT:INDEX" in fails(monkeypatch, capsys, "--arch", "test:-1", *out)
    assert "unknown split 'tests'; did you mean" in fails(monkeypatch, capsys, "--arch", "tests:0", *out)


def test_torchvision_networks_are_adapted_to_small_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[Any]
) -> None:
    run(monkeypatch, "resnet18", "--out", tmp_path)
    assert (built[-1].conv1.kernel_size, built[-1].fc.out_features) == ((3, 3), 10)
    run(monkeypatch, "resnet18", "--image-size", 64, "--out", tmp_path)
    assert built[-1].conv1.kernel_size == (7, 7)


def test_other_data(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def loaded(name: str, split: Any, size: int | None, **options: object) -> object:
        seen.append(f"{name} {split} {size} {options['root']} {options['download']}")
        return digits(split, 8)

    monkeypatch.setattr(_cli_options, "load_images", loaded)
    out = tmp_path / "run"
    run(monkeypatch, f"{model}:net", "--data", "cifar10", "--data-root", "r", "--download", "--epochs", 1, "--out", out)
    assert seen == [f"cifar10 {split} 32 r True" for split in ("train", "val", "test")]
    assert config_of(out)["augment"] == "crop"


def test_mistakes(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--image-size", 8, "--epochs", 1, "--out", tmp_path / "run")
    assert "either MODEL or --arch" in fails(monkeypatch, capsys, *out)
    assert "either MODEL or --arch" in fails(monkeypatch, capsys, "resnet18", "--arch", "test:0", *out)
    assert "'--width' is for networks of DeepNets" in fails(monkeypatch, capsys, "resnet18", "--width", 8, *out)
    assert "torchvision has no model 'resnet19'" in fails(monkeypatch, capsys, "resnet19", *out)
    assert "no data set 'nowhere'" in fails(monkeypatch, capsys, f"{model}:net", "--data", "nowhere", *out)
    told = fails(monkeypatch, capsys, f"{model}:seven", *out)
    assert "must return logits of shape (96, 10)" in told
    assert "(got (96, 7)); build it with num_classes=10" in told
    told = fails(monkeypatch, capsys, f"{model}:diverging", *out, "--lr", 1e30, "--max-skipped", 2)
    assert "had no finite loss or gradient (at most 2 may" in told
    assert "'lr' must be positive (got 0.0)" in fails(monkeypatch, capsys, f"{model}:net", *out, "--lr", 0)
    assert "needs a CUDA device" in fails(monkeypatch, capsys, f"{model}:net", *out, "--amp", "fp16")
