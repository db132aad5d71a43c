import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ppuda_like import ComputationalGraph, __version__, trace
from ppuda_like.cli import main
from ppuda_like.ghn import GHN, GHNConfig

NET = """
from torch import nn

def tied(num_classes=10):
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    last = nn.Linear(3, num_classes)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), last)
"""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ghn") / "small.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GHN(GHNConfig.ghn2(hid=8)).save_pretrained(path)
    return path


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:tied"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", *map(str, arguments)])
    main()


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("lower", [None, "ppuda", "extended"])
def test_graph_to_json(
    lower: str | None, tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--lower", lower] if lower else []
    run(monkeypatch, "graph", net, "--out", tmp_path / "g.json", "--input-shape", 2, 3, 4, 4, *options)
    graph = ComputationalGraph.from_json((tmp_path / "g.json").read_text())
    assert graph.vocabulary == lower
    assert graph.out_shapes[0] == (2, 3, 4, 4)
    out = capsys.readouterr().out
    assert repr(graph) in out
    assert out.endswith(f"wrote {tmp_path / 'g.json'}\n")


@pytest.mark.parametrize("suffix", ["png", "svg", "dot"])
def test_graph_to_picture(suffix: str, tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "graph", net, "--out", tmp_path / f"g.{suffix}")
    head = (tmp_path / f"g.{suffix}").read_bytes()[:400]
    assert {"png": b"\x89PNG", "svg": b"<svg", "dot": b"digraph"}[suffix] in head


def test_predict_writes_every_parameter(
    tmp_path: Path, net: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.safetensors"
    run(monkeypatch, "predict", net, "--ghn", checkpoint, "--out", out, "--report")
    text = capsys.readouterr().out
    assert "predicted 5 of 5 tensors" in text
    assert "random initialisation" in text
    tensors = load_file(out)
    assert set(tensors) == {"2.weight", "2.bias", "4.bias", "6.weight", "6.bias"}
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    model.append(nn.Linear(3, 10))
    model[4].weight = model[2].weight
    expected = GHN.from_pretrained(checkpoint).predict(trace(model, (1, 3, 32, 32)))[0]
    torch.testing.assert_close(tensors, expected)


def test_eval_ghn_writes_a_row_per_network(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nets.csv"
    run(monkeypatch, "eval-ghn", "--ghn", checkpoint, "--num-nets", 2, "--width", 8, "--out", out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert all(0 <= float(row["top1"]) <= 1 for row in rows)
    assert "2 networks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("graph", "resnet5"), "torchvision has no model 'resnet5'"),
        (("graph", "nets.py:f"), "there is no file 'nets.py'"),
        (("graph", "{net}", "--input-shape", "1", "7", "4", "4"), "failed in '2'"),
        (("graph", "{net}", "--out", "{tmp}/g.xyz"), "must end in one of"),
        (("predict", "{net}", "--ghn", "nothing"), "no bundled checkpoint is called 'nothing'"),
        (("predict", "{net}", "--ghn", "{checkpoint}", "--data", "{tmp}/none"), "image"),
        (("predict", "{net}", "--ghn", "{checkpoint}", "--data", "{tmp}"), "class"),
        (("eval-ghn", "--ghn", "{checkpoint}", "--split", "nothing"), "unknown split 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    net: str,
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [argument.format(net=net, tmp=tmp_path, checkpoint=checkpoint) for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *filled)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("ppuda-like: error: ")
    assert message in error


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ppuda_like", "graph", "alexnet", "--rows", "4"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ComputationalGraph(AlexNet, full" in done.stdout
    assert done.stderr == ""
