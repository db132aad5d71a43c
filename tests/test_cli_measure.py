import sys
from pathlib import Path

import pytest

from ppuda_like.cli import main
from ppuda_like.deepnets import DeepNets
from ppuda_like.predictors import PropertyTable

TINY = "--steps 2 --checks 1 --batch-size 8 --num-images 20 --width 8".split()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", *map(str, arguments)])
    main()


def test_networks_of_a_split_and_of_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.csv"
    run(monkeypatch, "measure", "test", "--net", 88, "--out", out, *TINY)
    assert capsys.readouterr().out.startswith("1 networks of split test")
    drawn = PropertyTable.load(out)
    assert drawn.index.tolist() == [88]  # type: ignore[union-attr]
    store = tmp_path / "nets.h5"
    run(monkeypatch, "dataset", "generate", store, "--split", "test", "--num-nets", 89, "--workers", 1)
    run(monkeypatch, "measure", f"{store}:test", "--net", 88, "--out", tmp_path / "stored.h5", *TINY)
    assert f"wrote {tmp_path / 'stored.h5'}" in capsys.readouterr().out
    stored = PropertyTable.load(tmp_path / "stored.h5")
    assert stored["val_loss"].tolist() == drawn["val_loss"].tolist()
    assert stored.labelled(DeepNets(store, "test")).graphs == drawn.labelled().graphs


def test_mistakes_end_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (("test", "--out", tmp_path / "labels.txt"), (f"{tmp_path}/no.h5:test", "--out", "labels.csv")):
        with pytest.raises(SystemExit, match="2"):
            run(monkeypatch, "measure", *arguments, "--nets", 1, *TINY)
        assert capsys.readouterr().err.startswith("ppuda-like: error: ")
    assert not list(tmp_path.iterdir())
