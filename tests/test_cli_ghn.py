import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ppuda_like.cli import main
from ppuda_like.ghn import GHN, GHNConfig

TINY = (
    "--ghn.hid 8 --nets.meta-batch 2 --nets.widths 8 --nets.fc-dims 16 --nets.max-nodes 100 --nets.max-macs 3000000 "
    "--batch-size 4 --steps 2 --log-steps 1 --fast-size 16 --fast-share 1"
).split()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", *map(str, arguments)])
    main()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GHN(GHNConfig.ghn2(hid=8)).save_pretrained(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_training_and_its_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "train-ghn", "--out", tmp_path, *TINY, "--max-minutes", "1e-6")
    assert capsys.readouterr().out.startswith("1 of 2 steps done; checkpoint")
    run(monkeypatch, "train-ghn", "--out", tmp_path, *TINY)
    assert capsys.readouterr().out.startswith("2 of 2 steps done")
    assert json.loads((tmp_path / "config.json").read_text())["augment"] == "affine"
    assert GHN.from_pretrained(tmp_path / "ghn.safetensors").config.hid == 8


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [("ghn1", GHNConfig.ghn1()), ("ghn3-t", GHNConfig.ghn3("T", num_classes=10, kernel=11)), ("mlp", GHNConfig.mlp())],
)
def test_presets_are_made_for_the_images(
    preset: str, wanted: GHNConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "train-ghn", "--out", tmp_path, "--preset", preset, *TINY[2:], "--max-minutes", "1e-6")
    assert GHN.from_pretrained(tmp_path / "ghn.safetensors").config == wanted


def test_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*command, "ppuda_like", "train-ghn", "--out", str(tmp_path), *TINY], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 of 2 steps done") == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["nets"]) for line in lines] == [(1, 2.0), (2, 2.0)]


def test_evaluation_of_chosen_networks_on_some_images(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nets.csv"
    command = ("eval-ghn", "--ghn", checkpoint, "--width", 8, "--num-images", 32, "--out", out)
    run(monkeypatch, *command, "--net", 1, 3)
    with out.open(newline="") as file:
        assert [row["net"] for row in csv.DictReader(file)] == ["1", "3"]
    text = capsys.readouterr().out
    assert "2 networks, 32 images" in text
    assert "  3: " in text


def test_evaluation_of_torchvision_models(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "eval-ghn", "--ghn", checkpoint, "--split", "resnet18,shufflenet_v2_x0_5", "--num-images", 16)
    assert "torchvision: top-1" in (text := capsys.readouterr().out)
    assert "  shufflenet_v2_x0_5: " in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train-ghn", "--out", "{tmp}/run", "--data", "cifar10", "--data-root", "{tmp}"), "cifar10"),
        (("train-ghn", "--out", "{tmp}/run", "--ghn.num-classes", "7"), "the images of 'digits' have 10 classes"),
        (("train-ghn", "--out", "{tmp}/run", "--optim.lr", "0"), "'lr' must be positive (got 0.0)"),
        (("eval-ghn", "--ghn", "{tmp}/small.safetensors", "--split", "resnet18", "--width", "8"), "'width' is for"),
        (("eval-ghn", "--ghn", "{tmp}/small.safetensors", "--store", "{tmp}/none.h5"), "none.h5"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
