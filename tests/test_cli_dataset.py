import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pytest

from ppuda_like.cli import main
from ppuda_like.deepnets import DeepNets, generate


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("test", 8, path, executor=executor)
    return path


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "nets.h5"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "dataset", *map(str, arguments)])
    main()


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a user's mistake ends with."""
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if "error" in line]) == 1
    return lines[-1]


def test_generate_then_again(
    tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "made.h5"
    run(monkeypatch, "generate", path, "--split", "test", "--num-nets", 8, "--workers", 1)
    assert "8 networks of split test" in capsys.readouterr().out
    assert path.read_bytes() == original.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["made.h5"]
    run(monkeypatch, "generate", path, "--split", "test", "--num-nets", 8, "--workers", 1)
    assert "8 of them from an earlier run" in capsys.readouterr().out
    told = fails(monkeypatch, capsys, "generate", path, "--split", "test", "--num-nets", 9, "--workers", 1)
    assert "num_nets 8, not 9" in told


def test_stats(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "stats", store, "--out", tmp_path / "nets.png")
    out = capsys.readouterr().out
    assert out.startswith("test: 8 networks (seed 1)")
    assert "candidates were drawn" in out
    assert (tmp_path / "nets.png").stat().st_size > 10_000


def test_show(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "show", store, 3, "--out", tmp_path / "net.png")
    out = capsys.readouterr().out
    dataset = DeepNets(store, "test")
    assert f"num_params_cifar10          {dataset.table()['num_params_cifar10'][3]:,}" in out
    assert all(op in out for op in dataset.genotype(3).ops)
    assert repr(dataset.graph(3)) in out
    assert (tmp_path / "net.png").exists()
    assert "networks 0..7 (got 8)" in fails(monkeypatch, capsys, "show", store, 8)


def test_check(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "check", store, "--workers", 1)
    assert "sound (8 of test)" in capsys.readouterr().out
    with h5py.File(store, "r+") as file:
        file["test/table/depth"][2] = 1
    assert "has 1 problems" in fails(monkeypatch, capsys, "check", store, "--workers", 1)


def test_export_then_import(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "export", store, tmp_path / "out.hdf5", tmp_path / "out.json")
    run(monkeypatch, "import", tmp_path / "out.hdf5", tmp_path / "out.json", tmp_path / "back.h5")
    before, after = DeepNets(store, "test"), DeepNets(tmp_path / "back.h5", "test")
    assert [before.config(i) for i in range(8)] == [after.config(i) for i in range(8)]
    assert "8" in capsys.readouterr().out


def test_mistakes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no file" in fails(monkeypatch, capsys, "stats", tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no networks")
    assert "is no HDF5 file" in fails(monkeypatch, capsys, "show", tmp_path / "text.h5", 0)
    assert "holds no split 'train'; it holds test" in fails(
        monkeypatch, capsys, "check", store, "--split", "train", "--workers", 1
    )
