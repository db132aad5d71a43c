import csv
import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.predictors import NASBENCH201_OPS
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    CodeSpace,
    CodeTable,
    MultiResolutionCode,
    list_tables,
    load_table,
    read_table,
    write_table,
)

FIXTURE = Path(__file__).parents[2] / "fixtures" / "nasbench_mr_seg_rows.csv"
SPACES = {space.name: space for space in (MULTI_RESOLUTION, NASBENCH201)}


def some(space: CodeSpace = MULTI_RESOLUTION, num: int = 5) -> CodeTable:
    rng = np.random.default_rng(0)
    metrics = {"top1": rng.normal(size=num) * 1e-7, "with, comma": rng.normal(size=num) * 1e9}
    return CodeTable(name="a table", space=space, codes=space.sample(num, rng), metrics=metrics)


def same(first: CodeTable, second: CodeTable) -> bool:
    return (
        first.name == second.name
        and first.space is second.space
        and np.array_equal(first.codes, second.codes)
        and list(first.metrics) == list(second.metrics)
        and np.array_equal(first.matrix(), second.matrix())
    )


def published_rows() -> list[dict[str, Any]]:
    """The rows of the fixture as the published pickle has them."""
    found = []
    for row in csv.DictReader(io.StringIO(FIXTURE.read_text())):
        code = MultiResolutionCode.from_text(row.pop("code"))
        found.append(
            {name: float(value) for name, value in row.items()}
            | {
                "input_channel": list(code.stem),
                "inverted_residual_setting": [[b, list(n), list(c)] for b, n, c in code.settings],
                "last_channel": code.last_channel,
                "embedding": list(code.numbers),
            }
        )
    return found


def cell_rows(num: int = 4) -> list[dict[str, Any]]:
    codes = NASBENCH201.sample(num, np.random.default_rng(0))
    costs = NASBENCH201.costs(codes)
    return [
        {
            "embedding": NASBENCH201.relax(code)[0].astype(np.float32),
            "Acc": 30.0 + row,
            "Flops": round(flops / 1e6, 2),
            "Params": round(params / 1e6, 3),
        }
        for row, (code, (flops, params)) in enumerate(zip(codes, costs.tolist(), strict=True))
    ]


@pytest.mark.parametrize("space", list(SPACES))
@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_files_hold_the_same_to_the_last_bit(tmp_path: Path, suffix: str, space: str) -> None:
    path = tmp_path / f"other{suffix}"
    write_table(some(SPACES[space]), path)
    assert same(read_table(path), some(SPACES[space]))
    assert read_table(path, name="mine").name == "mine"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_could_not_be_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.npz"
    write_table(some(), path)
    before = path.read_bytes()

    def fail(file: Path, **_: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(some(), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_published_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "seg" / "trainval.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(published_rows(), protocol=3))
    table = read_table(path)
    assert same(table, read_table(FIXTURE, name="seg"))
    assert list(table.metrics) == ["mIoU", "mAcc", "aAcc"]
    other = path.with_name("seg_trainval.pkl")
    path.rename(other)
    assert read_table(other).name == "seg"


@pytest.mark.parametrize("protocol", [3, 4])
def test_published_cells_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "cells.pkl"
    path.write_bytes(pickle.dumps(cell_rows(), protocol=protocol))
    table = read_table(path)
    assert table.space is NASBENCH201
    assert np.array_equal(table.codes, NASBENCH201.sample(4, np.random.default_rng(0)))
    assert table["Acc"].tolist() == [30, 31, 32, 33]


def change(row: int, **values: Any) -> Any:
    def changed(rows: list[dict[str, Any]]) -> Any:
        rows[row] |= values
        return rows

    return changed


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda rows: {"rows": rows}, "a list with a dictionary"),
        (lambda rows: [], "a list with a dictionary"),
        (lambda rows: [*rows, 3], "a list with a dictionary"),
        (lambda rows: [*rows, rows[0]], "rows 0 and 60 .* the same code"),
        (change(7, mIoU="high"), "row 7: 'mIoU' must be a number .got str"),
        (change(7, mIoU=True), "row 7: 'mIoU' must be a number .got bool"),
        (change(7, mIoU=10**400), "row 7: 'mIoU' must be a number"),
        (change(7, mIoU=float("nan")), "must be finite .got nan in row 7"),
        (change(7, extra=1.0), "row 7 must have"),
        (change(7, flops=1.0), "1 of 60 rows have costs that are not those of their codes, first row 7"),
        (change(7, params=float("nan")), "first row 7"),
        (change(7, embedding=[1, 2, 3]), r"in all rows .got \[3, 27\]"),
        (change(7, embedding="code"), "row 7 must have an 'embedding'"),
        (change(7, embedding=None), "row 7 must have an 'embedding'"),
        (change(7, last_channel=8), "row 7: 'embedding' is .* its modules say"),
        (change(7, inverted_residual_setting=3), "row 7: its modules are no lists"),
        (change(7, inverted_residual_setting=[]), "row 7: stage 1 must be"),
        (lambda rows: [{"mIoU": 1.0}], "row 0 must have an 'embedding'"),
        (lambda rows: [{"embedding": rows[0]["embedding"]}], "must have a metric"),
        (lambda rows: [{"embedding": [7] * 27, "mIoU": 1.0}], "'in0' .* in steps of 8"),
        (lambda rows: [{"embedding": [2**80] * 27, "mIoU": 1.0}], "integers"),
        (lambda rows: [{"embedding": [0.5] * 27, "mIoU": 1.0}], "integers"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, damage: Any, told: str) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps(damage(published_rows())))
    with pytest.raises(DataError, match=told) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("wrong", [np.zeros(30), np.full(30, 0.2), np.eye(5)[[0] * 6].ravel() * 2])
def test_cells_that_are_not_one_hot_are_refused(tmp_path: Path, wrong: Any) -> None:
    rows = cell_rows()
    rows[2]["embedding"] = wrong
    path = tmp_path / "cells.pkl"
    path.write_bytes(pickle.dumps(rows))
    with pytest.raises(DataError, match="row 2: 'embedding' must have a single 1"):
        read_table(path)


def test_plain_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    cells = [
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
    ]
    path.write_text(f"accuracy,code,params\n1.5,{cells[0]},0.079\n\n2,{cells[1]},0.079\n")
    table = read_table(path)
    assert (table.name, list(table.metrics)) == ("mine", ["accuracy"])
    assert table.codes.tolist() == [[1] * 6, [1, 1, 1, 1, 1, 2]]


def written(tmp_path: Path) -> list[str]:
    write_table(some(), tmp_path / "table.csv")
    return (tmp_path / "table.csv").read_text().splitlines()


def head(**changes: Any) -> Any:
    def changed(lines: list[str]) -> list[str]:
        return ["# " + json.dumps(json.loads(lines[0][2:]) | changes), *lines[1:]]

    return changed


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda lines: [], "a column 'code'"),
        (lambda lines: lines[:-1], "it has 4 codes, 5 were written"),
        (lambda lines: [lines[0].replace('"', ""), *lines[1:]], "not text with a header"),
        (lambda lines: ["# []", *lines[1:]], "first line must tell the format"),
        (head(format="other"), "first line must tell the format"),
        (head(version=2), "version 2; this package reads version 1"),
        (head(space="cells"), "no space of codes is called 'cells'"),
        (head(space="nas-bench-201"), "must be of one space"),
        (head(name=3), "the name of the table"),
        (lambda lines: [lines[1].replace("code", "text"), *lines[2:]], "a column 'code'"),
        (lambda lines: ["code,x,x", *lines[2:]], "no two of the same name"),
        (lambda lines: [*lines[1:3], lines[3] + ",1"], "row 1 must have 3 fields .got 4"),
        (lambda lines: [*lines[1:3], lines[3].rpartition(",")[0] + ",high"], "row 1: 'with, comma' must be a number"),
        (lambda lines: [*lines[1:3], lines[3].rpartition(",")[0] + ","], "row 1: 'with, comma' must be a number"),
        (lambda lines: [*lines[1:3], "8_8,1,2"], "row 1: a multi-resolution code is 27 numbers"),
        (lambda lines: [*lines[1:3], lines[2]], "rows 0 and 1 .* the same code"),
        (lambda lines: lines[1:2], "must be of one space .got no code"),
        (lambda lines: ["code", *(line.split(",")[0] for line in lines[2:])], "must have a metric"),
    ],
)
def test_damaged_csv_is_refused(tmp_path: Path, damage: Any, told: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(damage(written(tmp_path))))
    with pytest.raises(DataError, match=told):
        read_table(path)


def test_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        read_table(path)


def arrays(space: CodeSpace = NASBENCH201) -> dict[str, Any]:
    codes = space.sample(3, np.random.default_rng(0)).astype(np.uint8)
    return {
        "codes": codes,
        "code_names": np.array(space.names),
        "op_names": np.array(NASBENCH201_OPS),
        "metrics": np.arange(6.0).reshape(3, 2),
        "metric_names": np.array(["a", "b"]),
    }


def test_the_converted_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.npz"
    np.savez(path, **arrays())
    table = read_table(path)
    assert (table.name, table.space, list(table.metrics)) == ("cells", NASBENCH201, ["a", "b"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"codes": None}, "missing codes"),
        ({"metric_names": None, "metrics": None}, "missing metrics, metric_names"),
        ({"op_names": None}, "'op_names' must be"),
        ({"op_names": np.array(NASBENCH201_OPS[::-1])}, "'op_names' must be"),
        ({"code_names": np.array(["x"])}, "'code_names' must be those of multi-resolution or nas-bench-201"),
        ({"metrics": np.zeros((3, 3))}, r"numbers of shape \(3, 2\)"),
        ({"metrics": np.array([["x", "y"]] * 3)}, "numbers of shape"),
        ({"metrics": np.full((3, 2), np.nan)}, "must be finite"),
        ({"metric_names": np.array(["a", "a"])}, "two metrics have the same name"),
        ({"codes": np.full((3, 6), 5)}, "must be 0..4"),
        ({"codes": np.zeros((3, 6), dtype=int)}, "the same code"),
        ({"codes": np.zeros((3, 6))}, "integers"),
        ({"codes": np.array([{}, {}, {}])}, "allow_pickle=False"),
        ({"metric_names": np.array(["a", "Params"])}, "costs that are not those of their codes"),
    ],
)
def test_other_archives_are_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    path = tmp_path / "table.npz"
    np.savez(path, **{name: value for name, value in (arrays() | changes).items() if value is not None})
    with pytest.raises(DataError, match=told):
        read_table(path)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    write_table(some(num=100), path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 3, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_table(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = next(info for info in archive.infolist() if info.filename == "metrics.npy").header_offset
    for _ in range(20):  # somewhere in the compressed values
        damaged = bytearray(content)
        damaged[place + 60 + int(rng.integers(300))] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_table(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppuda_like.search.ncp._table_files._MAX_BYTES", 1 << 20)
    path = tmp_path / "table.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("codes.npy", "w") as file:
        file.write(bytes(2 << 20))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(DataError, match="unpacked"):
        read_table(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a \.npz, \.csv, \.pkl file"):
        read_table(tmp_path / "table.h5")
    with pytest.raises(DataError, match="there is no table"):
        read_table(tmp_path / "table.npz")
    with pytest.raises(DataError, match=r"written to a \.npz or \.csv"):
        write_table(some(), tmp_path / "table.pkl")
    assert list(tmp_path.iterdir()) == []


def test_the_bundled_table() -> None:
    table = load_table("seg")
    assert list_tables() == ["seg"]
    assert len(table) == 1000
    assert (table.main, table.space) == ("mIoU", MULTI_RESOLUTION)
    rows = read_table(FIXTURE)
    known = {code.tobytes(): values for code, values in zip(table.codes, table.matrix().tolist(), strict=True)}
    shared = [
        known.get(code.tobytes(), values) == values
        for code, values in zip(rows.codes, rows.matrix().tolist(), strict=True)
    ]
    assert all(shared)
    assert sum(code.tobytes() in known for code in rows.codes) > 10


def test_tables_load_by_name_or_path(tmp_path: Path) -> None:
    write_table(some(), tmp_path / "seg.npz")
    assert len(load_table(tmp_path / "seg.npz")) == 5
    with pytest.raises(DataError, match=r"no table of codes is called 'sag'.*did you mean \['seg'\]"):
        load_table("sag")
    with pytest.raises(DataError, match=r"there are \['seg'\]"):
        load_table("imagenet")
    with pytest.raises(DataError, match="there is no table"):
        load_table(tmp_path / "other.csv")
