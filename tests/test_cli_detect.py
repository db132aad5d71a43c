import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from ppuda_like.cli import main
from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.vision import generate_pedestrians, save_weights

NET = """
from torch import nn
from torchvision.models import VisionTransformer

def vit():
    return VisionTransformer(32, 8, 1, 2, 16, 16)

def tiny(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""
SMALL = "--min-size 32 --max-size 48 --anchor-sizes 8 16 --head-width 8 --proposals 10 --num-test 1".split()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ghn") / "small.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GHN(GHNConfig.ghn2(hid=8)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_pedestrians(tmp_path_factory.mktemp("data") / "made", 3, size=(32, 48))


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:tiny"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "detect", *map(str, arguments)])
    main()


def start_of(out: Path) -> str:
    return str(json.loads((out / "config.json").read_text())["name"])


def test_a_run_and_its_continuation(
    net: str,
    data: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [net, "--ghn", checkpoint, "--data", data, "--out", tmp_path / "run", *SMALL]
    run(monkeypatch, *command, "--epochs", 1)
    out = capsys.readouterr().out
    assert f"with 6 tensors predicted by {checkpoint}, up to the input of '5': 8 channels, stride 8" in out
    assert "2 images to train on, 1 to test" in out
    assert "epoch 1, step 1: loss" in out
    assert "AP50" in out.splitlines()[-2]
    run(monkeypatch, *command, "--epochs", 2)
    assert "epoch 2, step 2: loss" in capsys.readouterr().out
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert str(checkpoint) in start_of(tmp_path / "run")


def test_where_weights_come_from(
    net: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space: dict[str, Any] = {}
    exec(NET, space)
    model: nn.Module = space["tiny"](7)
    save_weights(model, tmp_path / "w.safetensors")
    rest = ["--data", data, *SMALL, "--epochs", 1, "--lr", 1e-9]
    run(monkeypatch, net, "--weights", tmp_path / "w.safetensors", "--num-classes", 7, "--out", tmp_path / "a", *rest)
    run(monkeypatch, net, "--ghn", "none", "--out", tmp_path / "b", *rest)
    run(monkeypatch, net, "--ghn", "none", "--out", tmp_path / "c", *rest, "--seed", 1)
    capsys.readouterr()
    first = [
        torch.load(tmp_path / name / "state.pt", weights_only=True)["detector"]["backbone.body.0.weight"]
        for name in "abc"
    ]
    torch.testing.assert_close(first[0], model[0].weight.detach(), atol=1e-6, rtol=0)  # type: ignore[index]
    assert not torch.allclose(first[1], first[0])
    assert not torch.allclose(first[1], first[2])
    assert "w.safetensors" in start_of(tmp_path / "a")
    assert "random weights (seed 1)" in start_of(tmp_path / "c")


def test_weights_of_torchvision(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def state(url: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append({"url": url, **options})
        return torchvision.models.squeezenet1_1().state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", state)
    run(
        monkeypatch, "squeezenet1_1", "--ghn", "imagenet", "--data", data, "--out", tmp_path / "run", *SMALL,
        "--epochs", 1, "--pool-size", 2,
    )  # fmt: skip
    assert "SqueezeNet1_1_Weights.IMAGENET1K_V1" in capsys.readouterr().out
    assert asked[0]["weights_only"] is True
    assert asked[0]["check_hash"] is True


def test_generated_images(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ppuda_like._cli_detect._MADE_IMAGES", 3)
    for epochs in (1, 2):
        run(monkeypatch, net, "--ghn", "none", "--out", tmp_path / "run", *SMALL, "--epochs", epochs)
    assert capsys.readouterr().out.count("2 images to train on, 1 to test") == 2
    assert len(list((tmp_path / "run/generated/PNGImages").iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{net}", "--data", "{tmp}/none"), "no Penn-Fudan data at"),
        (("{net}", "--ghn", "nothing"), "no bundled checkpoint is called 'nothing'"),
        (("{net}", "--ghn", "imagenet"), "torchvision has no weights trained on ImageNet for"),
        (("resnet18", "--ghn", "imagenet", "--small-input"), "do not fit a weakened stem"),
        (("{net}", "--weights", "{tmp}/none.safetensors"), "there is no file of weights"),
        (("{net}x", "--ghn", "none"), "has no function or class 'tinyx'"),
        (("{vit}", "--ghn", "none"), "choose a network that keeps one"),
        (("{net}", "--ghn", "none", "--num-test", "3"), "'num_test' must be in 1..2"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    net: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vit = net.replace("tiny", "vit")
    filled = [argument.format(net=net, vit=vit, tmp=tmp_path) for argument in arguments]
    places = [] if "--data" in filled else ["--data", data]
    options = SMALL[:-2] if "--num-test" in filled else SMALL
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *filled, *places, "--out", tmp_path / "run", *options)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
