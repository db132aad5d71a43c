"""The command ``ppuda-like dna``, from a teacher to a retrained network."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ppuda_like._cli_dna_run import DnaRun, load_space
from ppuda_like._factories import build_model
from ppuda_like.cli import main
from ppuda_like.search.dna import NetworkDefinition, Ratings, cifar_space, cost_table, search
from ppuda_like.vision import save_weights
from tests.search.dna import tiny

TEACHER = """
from torch import nn

def net(num_classes=10):
    first = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(6, 10, 3, 2, 1), nn.BatchNorm2d(10))
    return nn.Sequential(first, second, nn.Flatten(), nn.Linear(160, num_classes))
"""
IMAGES = ("--data", "digits", "--image-size", "16")


def run(*words: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ppuda-like", "dna", *map(str, words)])
        main()


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a user's mistake ends with."""
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "net.py").write_text(TEACHER)
    (folder / "space.json").write_text(json.dumps(tiny.space((2, 1)).to_dict()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_weights(build_model(f"{folder / 'net.py'}:net"), folder / "net.safetensors")
    return folder


def training(teacher: Path, out: Path, *more: object) -> tuple[object, ...]:
    given = ("--weights", teacher / "net.safetensors", "--space", teacher / "space.json", "--out", out)
    return ("train", f"{teacher / 'net.py'}:net", *given, *IMAGES, "--num-images", 96, "--held-out", 32, *more)


SHORT = ("--epochs", 1, "--batch-size", 16)


@pytest.fixture(scope="module")
def searched(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("search")
    run(*training(teacher, out, *SHORT))
    run("rate", out, "--batch-size", 16, "--calibration", 16)
    return out


def test_train_and_rate_leave_what_a_search_needs(searched: Path) -> None:
    found = DnaRun.load(searched)
    assert found.space == tiny.space((2, 1))
    assert found.taps == ("0", "1")  # found on the graph
    train, held = found.split()
    assert (len(train), len(held)) == (64, 32)
    ratings = Ratings.load(found.ratings_folder, found.space)
    assert [len(ratings.values(stage)) for stage in (0, 1)] == [9, 5]
    assert json.loads((searched / "supernet" / "config.json").read_text())["augment"] == "affine"  # digits


def test_features_on_disk_stand_in_for_the_teacher(teacher: Path, tmp_path: Path) -> None:
    plain = training(teacher, tmp_path / "plain", *SHORT, "--augment", "none")
    run(*plain)
    run(*training(teacher, tmp_path / "cached", *SHORT, "--cache", "--stages", 1))
    name = "stage1-cell0.safetensors"
    one, other = (load_file(tmp_path / which / "supernet" / name) for which in ("plain", "cached"))
    for key, tensor in one.items():
        torch.testing.assert_close(other[key], tensor, rtol=0.05, atol=0.05)  # features of 16 bits
    assert not (tmp_path / "cached" / "supernet" / "stage0-cell0.safetensors").exists()


def test_search_prints_and_writes_the_best(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = load_space(str(searched))
    front = search(Ratings.load(searched / "ratings", space), ("macs", "params"))
    limits = {"macs": float(np.median(front.costs[:, 0])), "params": float(front.costs[:, 1].max())}
    best = front.best(limits)
    run("search", searched, "--macs", limits["macs"], "--params", limits["params"], "--draws", 5, "--out", tmp_path)
    out = capsys.readouterr().out
    assert f"  {best}  predicted loss {best.loss:.6f}" in out
    assert "of 5 draws" in out
    assert NetworkDefinition.load(tmp_path / "network.json") == best.definition
    with (tmp_path / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["architecture"] for row in rows] == [str(found) for found in front]
    assert [int(row["params"]) for row in rows] == front.costs[:, 1].tolist()
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_search_by_latency_measures_once(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "latency.json"
    run("search", searched, "--latency", 1000, "--latency-table", table)
    assert "latency_ns" in capsys.readouterr().out
    before = table.read_bytes()
    run("search", searched, "--latency", 1000, "--latency-table", table)
    assert table.read_bytes() == before
    assert "the smallest one has" in fails(capsys, "search", searched, "--latency", 1e-9, "--latency-table", table)


def test_search_of_published_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = cifar_space(depths=(1, 1, 1, 1))
    (tmp_path / "space.json").write_text(json.dumps(space.to_dict()))
    files = [tmp_path / f"potential-{stage}.yaml" for stage in range(4)]
    for file in files:
        file.write_text("cl_loss:\n- 0.4\n- 0.3\n- 0.6\n- 0.5\n")
    run("search", *files, "--space", tmp_path / "space.json", "--flops", 1e9)
    assert "  1 1 1 1  predicted loss 1.200000" in capsys.readouterr().out
    smallest = min(cost_table(space).costs_of(space.sample(999, np.random.default_rng(0)), ["flops_counter"])[:, 0])
    line = fails(capsys, "search", *files, "--space", tmp_path / "space.json", "--flops", smallest - 1)
    assert f"the smallest one has {smallest:,}" in line
    files[2].write_text("cl_loss:\n- 0.0\n- 0.0\n- 0.0\n- 0.0\n")
    assert "is 0 for every path: nothing was rated" in fails(
        capsys, "search", *files, "--space", tmp_path / "space.json"
    )


def test_retrain_from_a_file_and_from_the_supernet(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = load_space(str(searched))
    space.definition(space.parse("12 1:2")).save(tmp_path / "network.json")
    short = (*IMAGES, "--epochs", 1, "--warmup", 0, "--batch-size", 128, "--drop-connect", 0)
    run("retrain", tmp_path / "network.json", "--out", tmp_path / "file", *short)
    out = capsys.readouterr().out
    assert "accuracy on 250 test images of 10 classes:" in out
    assert json.loads((tmp_path / "file" / "config.json").read_text())["ema"] == 0.9998  # the published recipe
    run("retrain", "12 1:2", "--supernet", searched, "--out", tmp_path / "cut", "--preset", "sgd50", *short)
    assert "tensors of the supernet: " in capsys.readouterr().out


def test_report_beside_sizes(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("report")
    assert "| flops_counter (size alone) | 0.755 | 0.903 | 0.928 |" in capsys.readouterr().out
    texts = ["00 0:0", "11 0:1", "22 1:2", "02 1:0", "10 1:1"]
    file = tmp_path / "accuracies.csv"
    file.write_text("architecture,accuracy\n" + "".join(f"{text},{50 + i}\n" for i, text in enumerate(texts)))
    run("report", file, "--ratings", searched, "--regress")
    out = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")][1:] == [
        "ratings (relative_l1)",
        "regression, left out",
        "macs (size alone)",
        "params (size alone)",
    ]
    assert "--weights " in out
    file.write_text("network,accuracy\n00 0:0,50\n")
    assert "must have columns 'architecture' and 'accuracy'" in fails(capsys, "report", file, "--ratings", searched)


def test_mistakes_end_with_one_line(
    teacher: Path, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no folder of a search" in fails(capsys, "rate", tmp_path)
    assert "with another held_out" in fails(capsys, *training(teacher, searched, "--held-out", 16, *SHORT))
    other = training(teacher, tmp_path / "other", "--taps", "0.0", "0", *SHORT)
    assert "take another tap" in fails(capsys, *other)
    assert not (tmp_path / "other").exists()
    assert "is for images of 32 pixels" in fails(capsys, *training(teacher, tmp_path, "--space", "cifar"))
    assert "is no space: take cifar" in fails(capsys, *training(teacher, tmp_path, "--space", "cifer"))
    assert "ratings of 'tiny' are missing for stage 0" in fails(
        capsys, "search", searched / "ratings" / "stage1-cell0.npz", "--space", teacher / "space.json"
    )
    assert "say by --space which space" in fails(capsys, "search", searched / "ratings")
    assert "holds ratings of another space" in fails(capsys, "search", searched / "ratings", "--space", "cifar")
    assert "is no network: give a .json file" in fails(capsys, "retrain", "12 1:2", "--out", tmp_path, *IMAGES)
    (searched / "dna.json").write_text("{}")
    assert "must have the format" in fails(capsys, "search", searched)
