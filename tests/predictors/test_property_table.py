import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ppuda_like.deepnets import DeepNets, NetworkConfig, count_parameters, generate, network_graph, sample_network
from ppuda_like.errors import DataError
from ppuda_like.graph import structure_hash
from ppuda_like.predictors import PropertyTable

NETS = (27, 64, 88)  # small ones
SUFFIXES = (".csv", ".h5")


def same(one: PropertyTable, other: PropertyTable) -> bool:
    hashes = [None if t.structure_hash is None else np.asarray(t.structure_hash).tolist() for t in (one, other)]
    return (
        (one.split, one.status, one.meta, list(one.columns))
        == (other.split, other.status, other.meta, list(other.columns))
        and hashes[0] == hashes[1]
        and np.array_equal(one.index, other.index)
        and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one.columns)
    )


@st.composite
def tables(draw: st.DrawFn) -> PropertyTable:
    index = draw(st.lists(st.integers(0, 2**62), max_size=5, unique=True))
    n = len(index)
    names = draw(st.lists(st.sampled_from(["val_acc", "time", "größe", "x_1"]), max_size=3, unique=True))
    return PropertyTable(
        split=draw(st.text(max_size=5)),
        index=index,
        columns={name: draw(hnp.arrays(np.float64, n, elements=st.floats())) for name in names},
        status=draw(st.lists(st.sampled_from(["ok", "diverged"]), min_size=n, max_size=n)),
        structure_hash=draw(st.none() | hnp.arrays(np.uint64, n)) if n else None,
        meta=draw(
            st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=9))
        ),
    )


def measured(nets: tuple[int, ...] = NETS, width: int = 8) -> PropertyTable:
    configs = [sample_network("test", i).replace(C=width) for i in nets]
    return PropertyTable(
        split="test",
        index=nets,
        columns={"val_acc": np.linspace(0, 1, len(nets)), "num_params": list(map(count_parameters, configs))},
        structure_hash=np.array([structure_hash(network_graph(config)) for config in configs], dtype=np.uint64),
        meta={"networks": {"seed": 1, "width": width, "num_classes": 10, "is_imagenet_input": False}},
    )


@settings(max_examples=50)
@given(table=tables())
def test_both_files_bring_back_the_same_table(table: PropertyTable, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("table")
    for suffix in SUFFIXES:
        table.save(folder / f"table{suffix}")
        assert same(PropertyTable.load(folder / f"table{suffix}"), table)
    assert sorted(path.name for path in folder.iterdir()) == ["table.csv", "table.h5"]


def test_lengths_names_and_numbers_are_checked() -> None:
    with pytest.raises(DataError, match=r"'val_acc' must have a value for each of 2 networks \(got shape \(1,\)\)"):
        PropertyTable(split="test", index=[0, 1], columns={"val_acc": [0.5]})
    with pytest.raises(DataError, match="more than once: 3"):
        PropertyTable(split="test", index=[3, 1, 3], columns={})
    with pytest.raises(DataError, match=r"got \['status'\]"):
        PropertyTable(split="test", index=[3], columns={"status": [1.0]})
    with pytest.raises(DataError, match=r"no property 'speed'; there are val_acc"):
        PropertyTable(split="test", index=[3], columns={"val_acc": [1.0]})["speed"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_foreign_newer_and_missing_files_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    with pytest.raises(DataError, match=r"cannot read|no file"):
        PropertyTable.load(path)
    if suffix == ".csv":
        path.write_text("index,val_acc\n1,0.5\n")
    else:
        with h5py.File(path, "w") as file:
            file["index"] = [1]
    with pytest.raises(DataError, match="is no table of properties"):
        PropertyTable.load(path)
    measured().save(path)
    if suffix == ".csv":
        path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["head"] = str(file.attrs["head"]).replace('"version": 1', '"version": 2')
    with pytest.raises(DataError, match="has format version 2; this package reads version 1"):
        PropertyTable.load(path)


def test_a_table_has_one_of_two_endings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a \.csv or \.h5 file \(got"):
        measured().save(tmp_path / "table.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n88,", "\n27,"),
        (",ok,", ",ok,,"),
        ("val_acc", "val acc"),
        ("27,ok", "27.5,ok"),
        ("0.5", "half"),
        ("index,status", "status,index"),
    ],
)
def test_a_damaged_csv_is_refused(before: str, after: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    measured().save(path)
    head, _, rows = path.read_text().partition("\n")
    assert before in f"\n{rows}"
    path.write_text(head + f"\n{rows}".replace(before, after, 1))
    with pytest.raises(DataError, match=r"table\.csv' is damaged"):
        PropertyTable.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_cut_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    measured().save(path)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for cut in (b"".join(lines[:-1]) if suffix == ".csv" else data[:-400], data[: len(data) // 3], data[:9]):
        path.write_bytes(cut)
        with pytest.raises(DataError, match=r"damaged|no table"):
            PropertyTable.load(path)


def test_a_changed_byte_of_a_column_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    table = measured()
    table.save(path)
    data = path.read_bytes()
    place = data.index(np.asarray(table["num_params"]).tobytes())
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(DataError, match="damaged"):
        PropertyTable.load(path)


# ------------------------------------------------------------------------------------------------------ join


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DeepNets:
    path = tmp_path_factory.mktemp("store") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("test", 100, path, executor=executor, progress=False)
    return DeepNets(path, "test")


def test_drawn_stored_and_given_networks_are_the_same(store: DeepNets) -> None:
    table = measured()
    drawn = table.labelled()
    assert [graph.num_params for graph in drawn.graphs] == [
        network_graph(sample_network("test", i).replace(C=8)).num_params for i in NETS
    ]
    assert drawn.values("val_acc").tolist() == [0, 0.5, 1]
    assert list(table.labelled(store).graphs) == list(drawn.graphs)
    assert list(table.labelled(store[list(reversed(NETS))]).graphs) == list(drawn.graphs)
    given = PropertyTable(split="", index=[2, 0], columns={}, meta={"networks": {"width": 8}})
    configs = [sample_network("test", i) for i in NETS]
    assert list(given.labelled(configs).graphs) == [drawn.graphs[2], drawn.graphs[0]]
    assert table.configs() == [config.replace(C=8) for config in configs]


def test_missing_networks_are_named(store: DeepNets) -> None:
    with pytest.raises(DataError, match=r"2 of 3 networks of split 'test' are not among the 1 given: 64, 88"):
        measured().labelled(store[[27]])
    with pytest.raises(DataError, match="the properties are of split 'val', the dataset holds split 'test'"):
        PropertyTable(split="val", index=[0], columns={}).labelled(store)
    with pytest.raises(DataError, match="were not drawn from a random stream of this package"):
        PropertyTable(split="val", index=[0], columns={}).labelled()


def test_networks_of_another_structure_or_size_are_named() -> None:
    table = measured()
    nets = [sample_network("test", i) for i in range(100)]
    nets[64] = nets[64].replace(n_cells=nets[64].n_cells + 1)
    with pytest.raises(DataError, match=r"1 of 3 networks .* 64 \(") as caught:
        table.labelled(nets)
    assert f"but {int(table['num_params'][1]):,} in the table" in str(caught.value)


def test_a_structure_is_compared_besides_the_size() -> None:
    net = NetworkConfig(C=8, n_cells=2, stem_type=0, stem_pool=False)
    other = net.replace(stem_pool=True)
    assert count_parameters(net) == count_parameters(other)
    table = PropertyTable(
        split="",
        index=[0],
        columns={"num_params": [count_parameters(net)]},
        structure_hash=np.array([structure_hash(network_graph(net))], dtype=np.uint64),
    )
    assert table.configs([net]) == [net]
    with pytest.raises(DataError, match="have another graph than those whose properties these are: 0"):
        table.configs([other])


@settings(max_examples=20)
@given(width=st.integers(1, 300), reached=st.booleans())
def test_the_width_is_found_by_the_number_of_parameters(width: int, reached: bool) -> None:
    net = sample_network("test", 88).replace(C=8 * width)
    count = network_graph(net).num_params if reached else count_parameters(net)
    meta = {"networks": {"width": "fitted"}}
    found = PropertyTable(split="", index=[0], columns={"num_params": [count]}, meta=meta)
    assert found.configs([net.replace(C=32)]) == [net]
    between = PropertyTable(split="", index=[0], columns={"num_params": [count + 1]}, meta=meta)
    with pytest.raises(DataError, match=r"do not have the number of parameters .* at any width: 0 "):
        between.configs([net])


def test_the_first_line_of_the_csv_tells_how_it_came_about(tmp_path: Path) -> None:
    table = measured()
    table.save(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        assert json.loads(file.readline().removeprefix("# "))["meta"] == table.meta
