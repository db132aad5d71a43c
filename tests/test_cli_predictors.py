import csv
import shlex
from pathlib import Path

import numpy as np
import pytest

from ppuda_like import cli
from ppuda_like.deepnets import DeepNets, generate, network_graph, sample_network
from ppuda_like.predictors import GraphRegressor, LabelledGraphs, Predictor, PropertyInfo, rank


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictors")
    graphs = [network_graph(sample_network("test", i).replace(C=16)) for i in range(16)]
    sizes = np.array([graph.num_params for graph in graphs], dtype=float)
    data = LabelledGraphs(graphs=graphs, labels={"accuracy": sizes / (sizes + 1e6), "seconds": sizes * 1e-9})
    for info in (
        PropertyInfo(property="accuracy", scale="logit", width=16, description="accuracy of something"),
        PropertyInfo(property="seconds", scale="log", unit="s", width=16, higher_is_better=False),
    ):
        regressor = GraphRegressor(hidden=8, n_estimators=2, folds=3, steps=20)
        Predictor.fit(info, data, regressor).save(folder / f"{info.property}.safetensors")
    generate("test", 20, folder / "nets.h5")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("sys.argv", ["ppuda-like", *shlex.split(command)])
    cli.main()


def test_predict_property(files, monkeypatch, capsys):
    names = [str(files / f"{name}.safetensors") for name in ("accuracy", "seconds")]
    run(monkeypatch, f"predict-property resnet18 --predictor {' '.join(names)} --level 0.8")
    out = capsys.readouterr().out
    assert "resnet18 for 3x32x32 images and 10 classes: 11,173,962 parameters" in out
    assert "80 % interval" in out
    assert "accuracy of something" in out
    assert "Outside of what was learnt from: MACs" in out


def test_rank_prints_the_best_and_writes_all(files, monkeypatch, capsys):
    store, name = files / "nets.h5", files / "seconds.safetensors"
    nets = DeepNets(store, "test")
    most = float(np.median(nets.table()["num_params_cifar10"]))
    expected = rank(
        Predictor.from_pretrained(name), nets[nets.table()["num_params_cifar10"] < most], top=None, progress=False
    )
    run(
        monkeypatch,
        f"rank {store} --property {name} --top 3 --where 'num_params < {most}' --out {files / 'ranked.csv'}",
    )
    out = capsys.readouterr().out
    shown = [line.split()[2] for line in out.splitlines() if " network " in line and line.split()[0].isdecimal()]
    assert shown == [str(found.net) for found in expected[:3]]
    assert f"--arch {store}:test:{expected[0].net} --width 16" in out
    with (files / "ranked.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["net"]) for row in rows] == [found.net for found in expected]
    assert [float(row["value"]) for row in rows] == [found.estimate.value for found in expected]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rank {0}/nets.h5 --property nothing", "no bundled predictor is called 'nothing'"),
        ("rank {0}/none.h5 --property {0}/seconds.safetensors", "none.h5"),
        ("rank {0}/nets.h5 --property {0}/seconds.safetensors --where 'size < 3'", "no column 'size'"),
        ("rank {0}/nets.h5 --property {0}/seconds.safetensors --top 0", "'--top' must be at least 1"),
        ("predict-property resnet18 --predictor {0}/nets.h5", "nets.h5"),
        ("predict-property resnet9 --predictor {0}/seconds.safetensors", "no model 'resnet9'"),
    ],
)
def test_mistakes_end_with_one_line(files, monkeypatch, capsys, command, message):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, command.format(files))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
