"""The command ``ppuda-like ncp``, from a table to an edited code."""

from __future__ import annotations

import sys

import pytest

from ppuda_like.cli import main
from ppuda_like.search.ncp import EditTrajectory, TablePredictor, load_table, write_table


def run(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "ncp", *map(str, words)])
    main()
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "small.npz"
    write_table(load_table("seg").take(range(120)), path)
    return path


def test_fit_edit_and_judge(capsys, monkeypatch, tmp_path, table):
    files = [tmp_path / f"{half}.safetensors" for half in ("first", "second")]
    for file in files:
        out = run(capsys, monkeypatch, "fit", "--table", table, "--half", file.stem, "--out", file)
        assert "of 12 rows held out, learnt from 48" in out
        assert "learnt from 60 rows" in out
    assert TablePredictor.load(files[0]).metrics == ("mIoU", "mAcc", "aAcc")
    edit = (
        "edit",
        files[0],
        "--judges",
        files[1],
        "--table",
        table,
        "--max-flops",
        "1e9",
        "--steps",
        "4",
        "--random",
        "1",
    )
    out = run(capsys, monkeypatch, *edit, "--out", tmp_path / "edit")
    assert "4 steps from 2 starts" in out
    assert "mIoU by the judges: " in out
    assert "nearest measured codes by mIoU: row " in out
    trajectory = EditTrajectory.from_json(tmp_path / "edit" / "trajectory.json")
    assert trajectory.codes.shape == (4, 2, 27)
    assert (trajectory.costs[:, :, 0] <= 1e9).all()
    assert (tmp_path / "edit" / "edit.png").stat().st_size > 0
    assert len((tmp_path / "edit" / "trajectory.csv").read_text().splitlines()) == 9


def test_published_rule(capsys, monkeypatch, tmp_path, table):
    file = tmp_path / "mlp.safetensors"
    run(capsys, monkeypatch, "fit", "--table", table, "--kind", "mlp", "--out", file)
    out = run(capsys, monkeypatch, "edit", file, "--rule", "published", "--start", "video", "--steps", "3")
    assert "step 0: 8_8-1_1_1_88-1_2_1_1_8_8-" in out
    for extra in (("--max-flops", "1e9"), ("--terms", "mIoU=1")):
        assert "without terms, limits or uncertainty" in error(
            capsys, monkeypatch, "edit", file, "--rule", "published", *extra
        )


def error(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["ppuda-like", "ncp", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_mistakes_end_with_one_line(capsys, monkeypatch, tmp_path, table):
    file = tmp_path / "seg.safetensors"
    run(capsys, monkeypatch, "fit", "--table", table, "--out", file)
    assert "NAME=WEIGHT" in error(capsys, monkeypatch, "edit", file, "--terms", "mIoU")
    assert "mIou" in error(capsys, monkeypatch, "edit", file, "--terms", "mIou=1")
    assert "no code of 'multi-resolution' has at most" in error(
        capsys, monkeypatch, "edit", file, "--max-flops", "1000"
    )
    assert "ncp fit" in error(capsys, monkeypatch, "edit")
    assert "sag" in error(capsys, monkeypatch, "fit", "--table", "sag", "--out", file)


def test_compare(capsys, monkeypatch, tmp_path, table):
    words = ("compare", "--tables", table, "--kinds", "ridge", "k-nn", "--seeds", "1", "2", "--out", tmp_path / "c.csv")
    out = run(capsys, monkeypatch, *words)
    assert out.count("| ridge |") == out.count("| k-nn |") == 1
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 5


def test_show(capsys, monkeypatch, tmp_path):
    cell = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    out = run(capsys, monkeypatch, "show", cell, "--out", tmp_path / "cell.json")
    assert cell in out
    assert "as the benchmark counts them" in out
    assert (tmp_path / "cell.json").exists()
