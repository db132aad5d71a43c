"""Reading and writing the files of the released DeepNets-1M.

``fixtures/released_nets*.xz`` hold 11 of 500 networks that the generator published with DeepNets-1M (PPUDA,
github.com/facebookresearch/ppuda, MIT licence; arXiv:2110.13100) wrote for its split ``test`` on a draw of its own.
Numbers start at 0 here; nothing else is changed.
"""

import json
import lzma
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from ppuda_like.deepnets import DeepNets, Difference, ImportReport, check, export_ppuda, generate, import_ppuda
from ppuda_like.deepnets._columns import RAGGED, TABLE, Columns
from ppuda_like.deepnets._generate import locked_parts
from ppuda_like.deepnets._record import draw_record, make_record
from ppuda_like.deepnets._store import SplitFacts, write_split
from ppuda_like.errors import DataError

FIXTURES = Path(__file__).parents[1] / "fixtures"
OTHER_NAMES = {"conv_1x1": "conv_3x3_1x1", "sep_conv": "sep_conv_5x5", "bias": "fc-b"}


class Files(NamedTuple):
    hdf5: Path
    meta: Path
    out: Path

    def read(self, split: str | None = None) -> ImportReport:
        return import_ppuda(self.hdf5, self.meta, self.out, split=split, progress=False)

    def stated(self) -> dict[str, Any]:
        return dict(json.loads(self.meta.read_text()))

    def state(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the JSON file."""
        found = self.stated()
        change(found)
        self.meta.write_text(json.dumps(found))


@pytest.fixture
def released(tmp_path: Path) -> Files:
    files = Files(tmp_path / "released.hdf5", tmp_path / "released_meta.json", tmp_path / "nets.h5")
    files.hdf5.write_bytes(lzma.decompress((FIXTURES / "released_nets.hdf5.xz").read_bytes()))
    files.meta.write_bytes(lzma.decompress((FIXTURES / "released_nets_meta.json.xz").read_bytes()))
    return files


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        for split in ("test", "wide"):
            generate(split, 20, path, executor=executor)
    return path


def _export(store: Path, folder: Path, split: str | None = None) -> Files:
    files = Files(folder / "some.hdf5", folder / "some_meta.json", folder / "again.h5")
    export_ppuda(store, files.hdf5, files.meta, split=split, progress=False)
    return files


def _write(path: Path, records: list[Any], split: str = "test") -> Path:
    facts = SplitFacts(split=split, seed=1, generator=1, deduplicated=True, duplicates=2, source="generated")
    write_split(path, [Columns.pack(records)], facts)
    return path


def _columns(path: Path, split: str) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        names = ["names", "shapes", *(name for column in RAGGED for name in (column.name, column.pointer))]
        return {name: file[split][name][()] for name in [*names, *(f"table/{name}" for name in TABLE)]}


def _overwrite(path: Path, name: str, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values


# ------------------------------------------------------------------------------------------------ the published files


def test_networks_are_rebuilt_from_their_arguments(released: Files) -> None:
    report = released.read()
    assert (report.path, report.num_nets) == (released.out, {"test": 11})
    nets = DeepNets(released.out, "test")
    assert (nets.facts.seed, nets.facts.generator, nets.facts.source) == (-1, 0, "imported from released.hdf5")
    for i, stated in enumerate(released.stated()["test"]["nets"]):
        config = nets.config(i).to_dict()
        wanted = {name: value for name, value in stated.items() if name not in ("num_nodes", "num_params")}
        assert {name: json.loads(json.dumps(config[name])) for name in wanted} == wanted
        assert config["C"] == 32
        assert nets.table()["num_params_cifar10"][i] == stated["num_params"]["cifar10"]
        assert not any(values[i] for name, values in nets.table().items() if name.startswith("rejected_"))
    with ThreadPoolExecutor(1) as executor:
        assert check(released.out, executor=executor).problems == ()


def test_what_the_published_generator_left_out_or_put_in_another_order(released: Files) -> None:
    report = released.read()
    assert report.counts == {
        **{"rows": 8, "cells": 7, "num_nodes": 5, "nodes": 5},
        **{"nodes: msa": 5, "edges": 5, "nodes: cse": 2},
    }
    assert report.num_equal == 2
    by_net = {
        index: [(found.what, found.in_file, found.rebuilt) for found in report.differences if found.index == index]
        for index in range(11)
    }
    assert by_net[0] == by_net[5] == []
    # Order alone: as many nodes and edges of each kind, the same graph, but rows that do not belong to it.
    assert by_net[4] == [("cells", 7, 8), ("rows", 17, 38)]
    # Nodes left out, in an order that is right.
    assert by_net[7][:4] == [("num_nodes", 43, 45), ("nodes", 43, 45), ("nodes: msa", 0, 2), ("edges", 50, 52)]
    # Both.
    assert by_net[1][2:4] == [("nodes: msa", 0, 2), ("nodes: cse", 1, 3)]
    assert by_net[1][-1] == ("rows", 39, 66)


def test_table_of_differences(released: Files) -> None:
    lines = released.read().table().splitlines()
    assert lines[0] == f"{released.out}: 11 networks of split test, 2 of them exactly as in the file"
    assert lines[1].split() == ["difference", "networks", "for", "example"]
    assert lines[2].split(maxsplit=2) == ["rows", "8", "network 1 of test: 39 in the file, 66 rebuilt"]
    assert len(lines) == 9


@pytest.mark.skipif("PPUDA_LIKE_DATA" not in os.environ, reason="PPUDA_LIKE_DATA does not name a folder of data")
def test_a_whole_file(tmp_path: Path) -> None:
    folder = Path(os.environ["PPUDA_LIKE_DATA"])
    folder = folder / "ppuda" if (folder / "ppuda").is_dir() else folder
    hdf5 = tmp_path / "deepnets1m_test.hdf5"
    hdf5.write_bytes(lzma.decompress((folder / "deepnets1m_test.hdf5.xz").read_bytes()))
    report = import_ppuda(hdf5, folder / "deepnets1m_test_meta.json", tmp_path / "nets.h5", progress=False)
    assert report.num_nets == {"test": 500}
    assert report.counts == {
        **{"rows": 491, "cells": 482, "num_nodes": 188, "nodes": 188, "edges": 187},
        **{"nodes: msa": 135, "nodes: cse": 89},
    }
    assert report.num_equal == 4


def test_the_same_file_may_be_read_again(released: Files) -> None:
    first = released.read()
    assert released.read() == first


def test_another_split_of_that_name_is_not_overwritten(released: Files, store: Path) -> None:
    released.out.write_bytes(store.read_bytes())
    with pytest.raises(DataError, match=r"holds a split 'test' already \(generated\); choose another path"):
        released.read()
    assert released.out.read_bytes() == store.read_bytes()


def test_old_spellings(released: Files) -> None:
    def rename(meta: dict[str, Any]) -> None:
        tables = meta["test"]["meta"]
        primitives = tables["primitives_ext"]
        tables["primitives_ext"] = {key: OTHER_NAMES.get(name, name) for key, name in primitives.items()}
        names = tables["unique_op_names"]
        tables["unique_op_names"] = {key: name.replace("to_out.0.", "to_out.") for key, name in names.items()}

    before = released.read()
    released.state(rename)
    assert released.read() == before


# ------------------------------------------------------------------------- every kind of difference, in a sound export


def test_no_difference_in_an_export(store: Path, tmp_path: Path) -> None:
    report = _export(store, tmp_path).read()
    assert report == ImportReport(path=tmp_path / "again.h5", num_nets={"test": 20, "wide": 20}, differences=())
    assert report.table().endswith(
        "20 networks of split test, 20 networks of split wide, 40 of them exactly as in the file"
    )


def _differences(files: Files, index: int = 3) -> dict[str, Difference]:
    report = files.read("test")
    assert {found.index for found in report.differences} == {index}
    assert {found.split for found in report.differences} == {"test"}
    return {found.what: found for found in report.differences}


@pytest.mark.parametrize("what", ["cifar10", "imagenet"])
def test_another_number_of_parameters(store: Path, tmp_path: Path, what: str) -> None:
    files = _export(store, tmp_path, "test")
    files.state(lambda meta: meta["test"]["nets"][3]["num_params"].update({what: 5}))
    (found,) = _differences(files).values()
    assert (found.what, found.in_file) == (f"num_params {what}", 5)


def test_another_number_of_nodes(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    files.state(lambda meta: meta["test"]["nets"][3].update(num_nodes=5))
    (found,) = _differences(files).values()
    assert found == Difference("test", 3, "num_nodes", 5, DeepNets(store, "test")[3].num_nodes)


def test_another_length_of_a_path(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    with h5py.File(files.hdf5, "r+") as file:
        file["test/3/adj"][0, -1] += 1
        file["test/3/adj"][5, 2] = 7
    assert list(_differences(files).values()) == [Difference("test", 3, "distances", 2, 0)]


def test_an_edge_more(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    with h5py.File(files.hdf5, "r+") as file:
        file["test/3/adj"][0, -1] = 1
    (found,) = _differences(files).values()
    assert (found.what, found.in_file) == ("edges", int(found.rebuilt) + 1)


def test_an_edge_elsewhere(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    with h5py.File(files.hdf5, "r+") as file:
        adjacency = file["test/3/adj"]
        adjacency[len(adjacency) - 2, len(adjacency) - 1] = 0
        adjacency[0, len(adjacency) - 1] = 1
    found = _differences(files)
    assert set(found) == {"shape", "distances", "rows"}
    assert found["rows"].in_file == int(found["rows"].rebuilt) - 1


def test_rows_in_another_order(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    with h5py.File(files.hdf5, "r+") as file:
        file["test/3/nodes"][...] = file["test/3/nodes"][()][::-1]
    assert set(_differences(files)) == {"rows"}


def test_another_primitive(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    primitives = files.stated()["test"]["meta"]["primitives_ext"].values()
    with h5py.File(files.hdf5, "r+") as file:
        nodes = file["test/3/nodes"]
        row = int(np.flatnonzero(nodes[:, 0] == list(primitives).index("conv_1x1"))[0])
        nodes[row, 0] = list(primitives).index("sep_conv")
    assert set(_differences(files)) == {"nodes: conv", "nodes: sep_conv"}


def test_another_parameter_and_another_cell(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    names = list(files.stated()["test"]["meta"]["unique_op_names"].values())
    with h5py.File(files.hdf5, "r+") as file:
        nodes = file["test/3/nodes"]
        nodes[-1, 2] = names.index("sum")
        row = int(np.flatnonzero(nodes[:, 2] == names.index("input"))[0])
        nodes[row, 1] = 1
    found = _differences(files)
    assert set(found) == {"parameters", "cells", "rows"}
    assert all(found[what].in_file == int(found[what].rebuilt) - 1 for what in ("parameters", "cells", "rows"))


# ------------------------------------------------------------------------------------------------------- there and back


def test_store_export_import_is_exact(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path)
    files.read()
    for split in ("test", "wide"):
        nets = DeepNets(store, split)
        # A generated store may hold names and shapes of networks that were drawn, but not kept; a packed one does not.
        packed = _write(tmp_path / "packed.h5", [nets.record(i) for i in range(20)], split)
        generated, before, after = (_columns(path, split) for path in (store, packed, files.out))
        for name, values in before.items():
            wanted = np.zeros_like(values) if name.startswith("table/rejected_") else values
            np.testing.assert_array_equal(after[name], wanted, err_msg=name)
            if name not in ("names", "shapes"):
                np.testing.assert_array_equal(generated[name], values, err_msg=name)
    assert set(DeepNets(files.out, "wide").table()["C"]) == {128}


def test_numbers_with_gaps(tmp_path: Path) -> None:
    store = _write(tmp_path / "nets.h5", [draw_record("test", index, 1) for index in (2, 11, 100)])
    files = _export(store, tmp_path)
    assert files.read().differences == ()
    with h5py.File(files.hdf5) as file:
        assert set(file["test"]) == {"2", "11", "100"}
    before, after = DeepNets(store, "test"), DeepNets(files.out, "test")
    assert after.table()["index"].tolist() == [2, 11, 100]
    assert [after.config(i) for i in range(3)] == [before.config(i) for i in range(3)]


def test_one_split(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "wide")
    assert set(files.stated()) == {"wide"}
    assert _export(store, tmp_path).read("wide").num_nets == {"wide": 20}
    with h5py.File(files.out) as file:
        assert set(file) == {"wide"}


def test_the_released_form(released: Files, tmp_path: Path) -> None:
    """What is written of the published networks is what was published, but for what the generator left out."""
    released.read()
    files = _export(released.out, tmp_path)
    published, written = released.stated()["test"], files.stated()["test"]
    for before, after in zip(published["nets"], written["nets"], strict=True):
        assert list(after) == list(before)
        assert {**after, "num_nodes": before["num_nodes"]} == before
    assert set(written["meta"]["primitives_ext"].values()) <= set(published["meta"]["primitives_ext"].values())
    assert set(written["meta"]["unique_op_names"].values()) <= set(published["meta"]["unique_op_names"].values())
    with h5py.File(released.hdf5) as old, h5py.File(files.hdf5) as new:
        assert dict(new.attrs) == dict(old.attrs)
        for name in ("adj", "nodes"):
            assert new[f"test/0/{name}"].dtype == old[f"test/0/{name}"].dtype
        # A network in which nothing differs: the same matrix once its rows are matched by what they say.
        rows = [
            [
                (tables["primitives_ext"][str(kind)], cell, tables["unique_op_names"][str(name)])
                for kind, cell, name in nodes
            ]
            for tables, nodes in (
                (published["meta"], old["test/0/nodes"][()].tolist()),
                (written["meta"], new["test/0/nodes"][()].tolist()),
            )
        ]
        assert sorted(rows[0]) == sorted(rows[1])
        assert sorted(old["test/0/adj"][()].ravel()) == sorted(new["test/0/adj"][()].ravel())


def test_rows_are_written_cell_by_cell_and_edges_forward(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path)
    with h5py.File(files.hdf5) as file:
        for split in file:
            for net in file[split].values():
                cells = net["nodes"][:, 1].tolist()
                assert all(before <= after for before, after in pairwise(cells))
                assert not np.tril(net["adj"][()]).any()


def test_the_same_bytes_each_time(store: Path, tmp_path: Path) -> None:
    files = [_export(store, tmp_path / name) for name in ("one", "two")]
    assert files[0].hdf5.read_bytes() == files[1].hdf5.read_bytes()
    assert files[0].meta.read_bytes() == files[1].meta.read_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"C": 64}, "has no place for C=64 (always 32)"),
        ({"auxiliary": True}, "has no place for auxiliary=True (always False)"),
        ({"drop_path": 0.2}, "has no place for drop_path=0.2 (always 0.0)"),
        ({"num_classes": 100, "C": 48}, "has no place for C=48 (always 32), num_classes=100 (always 10)"),
        ({"ks": 65}, "is beyond the released format: 'ks' must be at most 63"),
    ],
)
def test_arguments_without_a_place(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    record = draw_record("test", 4, 1)
    store = _write(tmp_path / "nets.h5", [make_record(record.config.replace(**changes), split="test", index=4)])
    with pytest.raises(DataError, match=r"network 4 of split 'test' in .*nets\.h5'") as caught:
        _export(store, tmp_path)
    assert told in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nets.h5"]


def test_a_failed_export_leaves_what_was_there(store: Path, tmp_path: Path) -> None:
    record = draw_record("test", 4, 1)
    bad = _write(tmp_path / "bad.h5", [record, make_record(record.config.replace(C=64), split="test", index=5)])
    files = _export(store, tmp_path)
    before = files.hdf5.read_bytes(), files.meta.read_bytes()
    with pytest.raises(DataError, match="network 5"):
        _export(bad, tmp_path)
    assert (files.hdf5.read_bytes(), files.meta.read_bytes()) == before


def test_three_different_files(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be three different files"):
        export_ppuda(store, store, tmp_path / "meta.json")
    with pytest.raises(DataError, match="must be three different files"):
        export_ppuda(store, tmp_path / "same", tmp_path / "other" / ".." / "same")


def test_export_to_a_place_that_cannot_be_written(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        _export(store, tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to stand for a full disk")
def test_export_to_a_full_disk(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ppuda_like.deepnets import _released

    class Full(_released.Output):
        def write(self, data: Any) -> int:
            self.failure = self.failure or OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(_released, "Output", Full)
    with pytest.raises(DataError, match="No space left on device; nothing was changed"):
        _export(store, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_split_that_is_not_there(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no split 'deep'"):
        _export(store, tmp_path, "deep")


# ------------------------------------------------------------------------------------------------------------ bad input


def test_missing_files(released: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file '.*none'; the released ones are called deepnets1m_\*\.hdf5"):
        released._replace(hdf5=tmp_path / "none").read()
    with pytest.raises(DataError, match=r"there is no file '.*none'; .*_meta\.json"):
        released._replace(meta=tmp_path / "none").read()
    with pytest.raises(DataError, match="cannot read"):
        released._replace(meta=tmp_path).read()


def test_foreign_hdf5(released: Files, store: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["images"] = [1]
    with pytest.raises(DataError, match="is no file of the released DeepNets-1M: it holds images, not groups named"):
        released._replace(hdf5=tmp_path / "foreign.h5").read()
    with pytest.raises(DataError, match=r"holds 'edge_ptr' where networks are numbered .*a store needs no import"):
        released._replace(hdf5=store).read("test")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_group("test")
    with pytest.raises(DataError, match="holds nothing where networks are numbered"):
        released._replace(hdf5=tmp_path / "empty.h5").read()


def test_no_such_split(released: Files) -> None:
    with pytest.raises(DataError, match="holds no split 'val'; it holds test"):
        released.read("val")


@pytest.mark.parametrize("size", [0, 3, 5_000, -1])
def test_truncated_hdf5(released: Files, size: int) -> None:
    released.hdf5.write_bytes(released.hdf5.read_bytes()[:size])
    with pytest.raises(DataError, match=r"released\.hdf5' is no HDF5 file, or cut short: .*; fetch or unpack it anew"):
        released.read()


def test_damaged_hdf5(store: Path, tmp_path: Path) -> None:
    files = _export(store, tmp_path, "test")
    with h5py.File(files.hdf5) as file:
        chunk = file["test/3/adj"].id.get_chunk_info(0)
    data = bytearray(files.hdf5.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    files.hdf5.write_bytes(data)
    with pytest.raises(DataError, match=r"network 3 of split 'test' in .*some\.hdf5' cannot be read: .* is damaged"):
        files.read()
    assert not files.out.exists()


@pytest.mark.parametrize("text", ["", '{"test": {"nets": [', "\x00", "[" * 100_000])
def test_broken_json(released: Files, text: str) -> None:
    released.meta.write_text(text)
    with pytest.raises(DataError, match=r"released_meta\.json' is no JSON file, or cut short: .*; fetch it anew"):
        released.read()


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"val": {}},
        {"test": []},
        {"test": {"nets": []}},
        {"test": {"nets": [], "meta": {}}},
        {"test": {"nets": [], "meta": {"primitives_ext": [], "unique_op_names": {}}}},
        {"test": {"nets": [], "meta": {"primitives_ext": {"a": "conv"}, "unique_op_names": {}}}},
    ],
)
def test_json_of_another_form(released: Files, meta: dict[str, Any]) -> None:
    released.meta.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"released_meta\.json' does not describe split 'test' .* belongs to"):
        released.read()


def test_json_that_is_a_list(released: Files) -> None:
    released.meta.write_text("[]")
    with pytest.raises(DataError, match=r"must hold a table of splits \(got list\)"):
        released.read()


def test_files_that_do_not_belong_together(released: Files) -> None:
    released.state(lambda meta: meta["test"]["nets"].pop())
    with pytest.raises(DataError, match=r"holds 11 networks of split 'test', .* 10; the files do not belong together"):
        released.read()
    released.state(lambda meta: meta["test"].update(nets={}))
    with pytest.raises(DataError, match=r"holds 11 networks of split 'test', .* no; the files do not belong together"):
        released.read()


def test_unknown_primitive(released: Files) -> None:
    released.state(lambda meta: meta["test"]["meta"]["primitives_ext"].update({"15": "lstm"}))
    with pytest.raises(DataError, match=r"names the primitives \['lstm'\] in split 'test'; there are"):
        released.read()


def _genotype(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda net: net["genotype"].update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda net: net.update(width=3), r"unknown ['width']"),
        (lambda net: net.pop("ks"), r"missing ['ks']"),
        (lambda net: net.update(ks=4), "'ks' must be odd"),
        (lambda net: net.update(ks="3"), "'ks' must be of type int (got '3')"),
        (lambda net: net.update(n_cells=True), "'n_cells' must be of type int (got True)"),
        (lambda net: net.update(n_cells=10**9), "'n_cells' must be at most 256"),
        (lambda net: net.update(preproc=1), "'preproc' must be of type bool (got 1)"),
        (lambda net: net.update(norm=["bn"]), "'norm' must be one of"),
        (lambda net: net.update(stem_type=2), "'stem_type' must be 0 or 1"),
        (lambda net: net.update(num_nodes=1.5), "must be whole numbers (got 1.5)"),
        (lambda net: net.update(num_params=7), "'num_params' must be given for 'cifar10' and 'imagenet' (got 7)"),
        (lambda net: net.update(num_params={"cifar10": 1, "imagenet": None}), "must be whole numbers (got None)"),
        (lambda net: net.update(genotype="__import__('os').system('true')"), "'genotype' must be of type dict"),
        (_genotype(normal=[["lstm", 0], ["lstm", 1]]), "unknown operation 'lstm'"),
        (_genotype(normal=[["conv_3x3", 0], ["conv_3x3", 5]]), "may read states 0..1 (got state 5"),
        (_genotype(normal=None), "'normal' must be (operation, state) pairs"),
        (_genotype(normal=[["conv_3x3", 0]] * 66), "at most 64 operations (got 66)"),
        (_genotype(normal=[["none", 0]] * 2, reduce=[["none", 0]] * 2), "no path leads from the input to the output"),
        (_genotype(extra=[]), "a stored genotype has the fields"),
    ],
)
def test_invalid_arguments(released: Files, change: Callable[[dict[str, Any]], object], told: str) -> None:
    released.state(lambda meta: change(meta["test"]["nets"][4]))
    with pytest.raises(DataError, match=r"network 4 of split 'test' in .*released_meta\.json'") as caught:
        released.read()
    assert told in str(caught.value)
    assert not released.out.exists()


def test_arguments_that_are_no_table(released: Files) -> None:
    released.state(lambda meta: meta["test"]["nets"].__setitem__(4, [1]))
    with pytest.raises(DataError, match=r"network 4 .* they must be a table of names and values \(got \[1\]\)"):
        released.read()


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("adj", np.zeros((38, 37), np.uint8), r"'adj' must be a square matrix \(got \(38, 37\)\)"),
        ("adj", np.zeros((5, 5), np.uint8), r"'nodes' must have three columns and 5 rows as 'adj' \(got \(33, 3\)\)"),
        ("adj", np.zeros(33, np.uint8), "'adj' must be a matrix of integers"),
        ("adj", np.zeros((33, 33)), "'adj' must be a matrix of integers"),
        ("adj", np.zeros((0, 0), np.uint8), "'adj' must be a matrix of integers"),
        ("adj", np.ones((33, 33), np.uint8), "'adj' must be in topological order"),
        ("nodes", np.zeros((33, 2), np.uint16), "'nodes' must have three columns and 33 rows"),
        ("nodes", np.full((33, 3), 77, np.uint16), r"'nodes' has primitive 77, which '.*json' does not know"),
        ("nodes", np.full((33, 3), [0, 0, 999], np.uint16), r"'nodes' has name 999, which '.*json' does not know"),
        ("nodes", np.full((33, 3), 1 << 63, np.uint64), "'nodes' must be a matrix of integers, 32 bits at most"),
        ("nodes", h5py.SoftLink("/test/4/adj"), "'nodes' is missing, or lies in another place"),
        ("nodes", h5py.ExternalLink("other.hdf5", "/test/4/nodes"), "'nodes' is missing, or lies in another place"),
    ],
)
def test_bad_matrices(released: Files, name: str, values: Any, told: str) -> None:
    _overwrite(released.hdf5, f"test/4/{name}", values)
    with pytest.raises(DataError, match=rf"network 4 of split 'test' in .*released\.hdf5' cannot be read: {told}"):
        released.read()
    assert not released.out.exists()


def test_matrix_larger_than_any_network(released: Files) -> None:
    with h5py.File(released.hdf5, "r+") as file:
        del file["test/4/adj"]
        file["test/4"].create_dataset("adj", shape=(1 << 20, 1 << 20), dtype=np.uint8, chunks=(1024, 1024))
    with pytest.raises(DataError, match=r"for 1\.\.10000 nodes"):
        released.read()


def test_missing_matrix(released: Files) -> None:
    with h5py.File(released.hdf5, "r+") as file:
        del file["test/4/nodes"]
    with pytest.raises(DataError, match=r"network 4 .*: 'nodes' is missing"):
        released.read()
    with h5py.File(released.hdf5, "r+") as file:
        file.create_group("test/4/nodes")
    with pytest.raises(DataError, match=r"network 4 .*: 'nodes' must be an array in this file"):
        released.read()


def test_network_under_a_name(released: Files) -> None:
    with h5py.File(released.hdf5, "r+") as file:
        file.move("test/4", "test/four")
    with pytest.raises(DataError, match=r"split 'test' of .* holds 'four' where networks are numbered"):
        released.read()


def test_out_that_is_no_store(released: Files) -> None:
    with pytest.raises(DataError, match="but no store of networks"):
        released._replace(out=released.hdf5).read()


def test_import_beside_another_writer(released: Files) -> None:
    with locked_parts(released.out), pytest.raises(DataError, match="another process is writing"):
        released.read()
    assert not released.out.exists()
