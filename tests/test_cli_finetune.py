import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ppuda_like.cli import main
from ppuda_like.ghn import GHN, GHNConfig

NET = """
from torch import nn

def net(num_classes=10):
    features = nn.Conv2d(3, 24, 3, stride=4), nn.BatchNorm2d(24), nn.ReLU()
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, num_classes))

def seven(num_classes=7):
    return net(7)
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GHN(GHNConfig.ghn2(hid=8)).save_pretrained(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:net"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "finetune", *map(str, arguments)])
    main()


def first_losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_starts_differ_and_shots_are_counted(
    tmp_path: Path, net: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--shots", 3, "--epochs", 1, "--batch-size", 10, "--lr", 1e-9)
    starts = {
        "predicted": ("--ghn", checkpoint),
        "orthogonal": ("--ghn", checkpoint, "--orth", "--noise", 1e-3),
        "kaiming": ("--start", "kaiming"),
        "default": ("--start", "default"),
    }
    for name, choice in starts.items():
        run(monkeypatch, net, "--out", tmp_path / name, *choice, *options)
    text = capsys.readouterr().out
    assert text.count("Sequential: predicted 6 of 6 tensors") == 2
    assert len({first_losses(tmp_path / name)[0] for name in starts}) == 4
    config = json.loads((tmp_path / "predicted" / "config.json").read_text())
    assert (config["weight_decay"], config["augment"]) == (1e-3, "affine")
    assert torch.load(tmp_path / "predicted" / "state.pt", weights_only=True)["progress"]["step"] == 3  # of 30 images
    weight = load_file(tmp_path / "orthogonal" / "last.safetensors")["0.weight"].flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(24), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start", "kaiming", "--orth"), "are for predicted weights (got --start kaiming)"),
        (("--init", "weights.safetensors"), "ppuda-like train-net --preset finetune"),
        (("--shots", "10000"), "fewer than the 10000 asked for"),
        (("--ghn", "nothing"), "no bundled checkpoint is called 'nothing'"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    net: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, net, "--out", tmp_path / "run", *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
