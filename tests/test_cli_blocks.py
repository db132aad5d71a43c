"""The command ``ppuda-like blocks``, from a network to trained blocks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from ppuda_like.cli import main
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import BlockSearchResult
from tests.search.blocks.test_decode import PUBLISHED

NET = """
from torch import nn

def net(num_classes=10):
    convs = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*convs, nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, num_classes))
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(NET)
    return f"{path}:net"


def run(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "blocks", *map(str, words)])
    main()
    return capsys.readouterr().out


def error(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "blocks", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_cuts(capsys, monkeypatch, tmp_path):
    places = tmp_path / "cuts.json"
    out = run(capsys, monkeypatch, "cuts", "sedona:vgg11", "--num-blocks", "3", "--cut", "uniform", "--out", places)
    assert "36 places where at most one value crosses, 36 of them may be cut; 8 units" in out
    rows = [line.split() for line in out.splitlines()]
    table = [row for row in rows if row[:1] and row[0].isdigit()]
    assert [row[1] for row in table[:8]] == ["0", "0", "1", "1", "1", "2", "2", "2"]
    assert json.loads(places.read_text())["format"] == 1
    picture = tmp_path / "cuts.png"
    run(
        capsys, monkeypatch, "cuts", "resnet18", "--at", "layer1", "layer3.0", "--auxiliary", "linear", "--out", picture
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_decode_as_published_and_balanced(capsys, monkeypatch):
    file = PUBLISHED / "vgg19.npz"
    out = run(capsys, monkeypatch, "decode", "sedona:vgg19", file, "--blocks", "4", "0")
    assert "4         5 12 13           light-4 light-1 light-1" in out
    assert "7 (free)  5 10 11 12 13 14  light-4 light-2 light-1 light-1 light-1 light-1" in out
    assert " 1.94 " in out
    even = run(capsys, monkeypatch, "decode", "sedona:vgg19", file, "--blocks", "4", "--balance", "inf")
    assert " 3.4" in even


def test_train_resume_and_eval(capsys, monkeypatch, tmp_path, spec):
    out = tmp_path / "run"
    words = ["train", spec, "--out", out, "--at", "1", "4", "--auxiliary", "linear", "mlp", "--num-images", "96"]
    words += ["--batch-size", "32", "--epochs", "1", "--lr", "0.05"]
    trained = run(capsys, monkeypatch, *words)
    assert "3 steps in" in trained
    assert run(capsys, monkeypatch, *words).splitlines()[-4:] == trained.splitlines()[-4:]  # nothing left to do
    measured = run(capsys, monkeypatch, "eval", spec, "--run", out)
    assert measured.splitlines()[-4:] == trained.splitlines()[-4:]
    assert "accuracy on 250 images" in measured
    assert json.loads((out / "config.json").read_text())["augment"] != "crop"  # digits must not be mirrored


def test_blocks_of_a_search_and_networks_trained_as_a_whole(capsys, monkeypatch, tmp_path, spec):
    file = tmp_path / "found.npz"
    np.savez(file, alpha=np.array([-1.0, 2.0]), beta=np.array([[1.0, 0, 0, 0], [0, 0, 2.0, 0]]))
    words = ("train", spec, "--num-images", "32", "--batch-size", "32", "--epochs", "1")
    found = run(capsys, monkeypatch, *words, "--out", tmp_path / "searched", "--cut", file)
    assert "0      4           light-3 " in found
    for method in ("backprop", "dni"):
        whole = run(capsys, monkeypatch, *words, "--out", tmp_path / method, "--method", method)
        assert [line.split()[0] for line in whole.splitlines()[-2:]] == ["block", "0"]
        measured = run(capsys, monkeypatch, "eval", spec, "--run", tmp_path / method)
        assert measured.splitlines() == whole.splitlines()[-3:]


def test_asynchronous(capsys, monkeypatch, tmp_path, spec):
    words = ("train", spec, "--num-images", "32", "--batch-size", "8", "--epochs", "1", "--auxiliary", "linear")
    replay = ("--method", "async", "--replay.size", "1", "--replay.slow-block", "1", "--replay.slow-noise", "0.9")
    out = run(capsys, monkeypatch, *words, *replay, "--out", tmp_path)
    # The first block makes its four steps long before the slow second one, and runs on for it.
    assert re.search(r"buffer behind block 0: (\d\d|[5-9]) batches written, [1-9]\d* of them never read; 4 reads", out)


def test_search_then_train(capsys, monkeypatch, tmp_path, spec):
    words = ["search", spec, "--out", tmp_path, "--num-images", "96", "--batch-size", "16", "--val-batch-size", "16"]
    words += ["--pretrain-steps", "4", "--iterations", "2", "--unroll", "2", "--candidates", "linear", "mlp"]
    out = run(capsys, monkeypatch, *words)
    assert "2 updates in" in out
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["2", "3"]
    found = BlockSearchResult.load(tmp_path / "result.npz")
    chosen = found.decode(2)
    table = run(capsys, monkeypatch, "cuts", spec, "--cut", tmp_path / "result.npz", "--input-shape", 1, 3, 32, 32)
    assert f" {chosen.auxiliaries[0]} " in table


def test_mistakes_end_with_one_line(capsys, monkeypatch, tmp_path, spec):
    cuts = ("cuts", spec, "--input-shape", "1", "3", "32", "32")
    assert "must be balanced, uniform" in error(capsys, monkeypatch, *cuts, "--cut", "even")
    names = ("--auxiliary", "linear", "linear", "linear")
    assert "one for each of 2 cuts (got 3)" in error(capsys, monkeypatch, *cuts, "--num-blocks", "3", *names)
    many = error(capsys, monkeypatch, *cuts, "--num-blocks", "5")
    assert "5 blocks were asked for, but the network has 3 units" in many
    wrong = error(capsys, monkeypatch, "decode", "sedona:vgg11", PUBLISHED / "vgg19.npz")
    assert "a search of a network of 16 units, but this one has 8" in wrong
    assert "no network of SEDONA is called 'vgg12'" in error(capsys, monkeypatch, "cuts", "sedona:vgg12")
    assert "give the folder of a finished training" in error(capsys, monkeypatch, "eval", spec, "--run", tmp_path)


def test_the_stored_cuts_fit_the_graph_of_the_library(capsys, monkeypatch, tmp_path, spec):
    places = tmp_path / "cuts.json"
    run(capsys, monkeypatch, "cuts", spec, "--at", "4", "--input-shape", "1", "3", "32", "32", "--out", places)
    scope: dict[str, object] = {}
    exec(NET, scope)
    model = scope["net"]()  # type: ignore[operator]
    assert isinstance(model, nn.Module)
    graph = trace(model.eval(), (1, 3, 32, 32))
    assert Partition.from_json(Path(places).read_text(), graph) == Partition.at(graph, ["4"], reads="newest")
