import hashlib
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader, DynamicBatchSampler

from ppuda_like.deepnets import (
    DeepNets,
    Draw,
    NetworkConfig,
    NetworkError,
    count_parameters,
    generate,
    network_flops,
    network_graph,
    sample_network,
)
from ppuda_like.deepnets._record import ARGUMENTS, FIGURES, draw_record
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA, levels, structure_hash, virtual_edges

NUM_NETS = 24

# Raised by Python 3.12 and later where a process that has threads, of torch for instance, is forked.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("train", NUM_NETS, path, executor=executor)
        generate("wide", 4, path, executor=executor)
    return path


@pytest.fixture(autouse=True)
def _store_stays(store: Path) -> Iterator[None]:
    def state() -> tuple[str, int]:
        return hashlib.sha256(store.read_bytes()).hexdigest(), store.stat().st_mtime_ns

    before = state()
    yield
    assert state() == before


@pytest.fixture(scope="module")
def nets(store: Path) -> DeepNets:
    return DeepNets(store, "train")


def assert_equal(found: Data, expected: Data) -> None:
    """Two graphs, or two batches of graphs, with the same content."""
    a, b = found.to_dict(), expected.to_dict()
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(b[key])), key


def stored(nets: DeepNets) -> list[int]:
    """Which networks a dataset holds, by their numbers in the random stream."""
    return [int(index) for index in nets.table()["index"]]


# ------------------------------------------------------------------------------------------------ one network


def test_data_is_the_graph_of_the_network(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=7)
    assert len(nets) == NUM_NETS
    for i in range(NUM_NETS):
        data, graph, n = nets[i], network_graph(nets.config(i)), int(nets.table()["num_nodes"][i])
        assert (data.net, data.num_nodes, graph.num_nodes) == (i, n, n)
        assert data.x.tolist() == [[PPUDA.index[op]] for op in graph.ops]
        assert [tuple(shape) for shape in data.node_shape.tolist()] == graph.node_shapes()
        assert torch.equal(data.edge_index, graph.edge_index)
        pairs = virtual_edges(graph, 7)
        assert torch.equal(data.virtual_edge_index, pairs.edge_index)
        assert torch.equal(data.virtual_distance, pairs.distance)
        assert data.cell.shape == (n,)
        assert set(data.cell.tolist()) <= set(range(nets.config(i).n_cells))
        for key, value in data.to_dict().items():
            assert isinstance(value, int) or (value.dtype == torch.long and value.is_contiguous()), key
        assert data.validate()


def test_without_virtual_edges(nets: DeepNets) -> None:
    assert set(nets[0].to_dict()) == {"x", "edge_index", "node_shape", "cell", "net", "num_nodes"}


def test_record_is_what_was_drawn(nets: DeepNets) -> None:
    for i in (0, 5, NUM_NETS - 1):
        found, drawn, data = nets.record(i), draw_record("train", i, 1), nets[i]
        assert found.config == drawn.config == nets.config(i) == sample_network("train", i)
        assert found.figures == drawn.figures
        assert found.name == drawn.name
        for key in ("primitive", "cell", "shape", "edge_index"):
            assert np.array_equal(getattr(found, key), getattr(drawn, key)), key
        assert np.array_equal(found.primitive, data.x[:, 0])
        assert np.array_equal(found.cell, data.cell)
        assert np.array_equal(found.shape, data.node_shape)
        assert np.array_equal(found.edge_index, data.edge_index)


def test_cells_of_nodes(nets: DeepNets) -> None:
    for i in range(NUM_NETS):
        record, graph = nets.record(i), nets.graph(i)
        for cell, path in zip(record.cell.tolist(), graph.names, strict=True):
            first, _, rest = path.partition(".")
            last = first in ("classifier", "global_pooling")
            assert cell == (int(rest.split(".")[0]) if first == "cells" else record.config.n_cells - 1 if last else 0)


def test_configuration_graph_and_network(nets: DeepNets) -> None:
    for i in range(4):
        config = nets.config(i)
        assert nets.genotype(i) == config.genotype
        assert nets.graph(i) == network_graph(config)
        assert nets.graph(i, C=64, fc_dim=128) == network_graph(config.replace(C=64, fc_dim=128))
        small, large = nets.network(i), nets.network(i, 1000, device="meta", is_imagenet_input=True)
        assert {p.device.type for p in small.parameters()} == {"cpu"}
        assert {p.device.type for p in large.parameters()} == {"meta"}
        table = nets.table()
        assert sum(p.numel() for p in small.parameters()) == table["num_params_cifar10"][i]
        assert sum(p.numel() for p in large.parameters()) == table["num_params_imagenet"][i]


# -------------------------------------------------------------------------------------------------- the table


def test_table(nets: DeepNets) -> None:
    table = nets.table()
    assert set(table) == {"num_nodes", "num_edges", *FIGURES, *ARGUMENTS}
    assert all(len(values) == NUM_NETS for values in table.values())
    assert table["index"].tolist() == list(range(NUM_NETS))
    for i in range(NUM_NETS):
        config, graph = nets.config(i), nets.graph(i)
        large = config.replace(is_imagenet_input=True, num_classes=1000)
        row = {name: values[i].item() for name, values in table.items()}
        assert (row["num_nodes"], row["num_edges"]) == (graph.num_nodes, graph.num_edges)
        assert row["depth"] == levels(graph).max()
        assert (row["num_params_cifar10"], row["num_params_imagenet"]) == tuple(map(count_parameters, (config, large)))
        assert (row["flops_cifar10"], row["flops_imagenet"]) == tuple(map(network_flops, (config, large)))
        assert row["structure_hash"] == structure_hash(graph)
        assert (row["n_cells"], row["C"], row["glob_avg"]) == (config.n_cells, config.C, config.glob_avg)


def test_table_is_a_copy(nets: DeepNets) -> None:
    for some in (nets, nets[:3]):
        before = some.table()["num_nodes"].tolist()
        some.table()["num_nodes"][:] = 0
        assert some.table()["num_nodes"].tolist() == before


def test_splits_of_one_store(store: Path) -> None:
    wide = DeepNets(store, "wide")
    assert len(wide) == 4
    assert [wide.config(i).C for i in range(4)] == [128] * 4
    assert wide.config(1) == sample_network("wide", 1)
    assert wide.facts.split == "wide"
    assert repr(wide) == f"DeepNets('{store}', 'wide', 4 networks)"


# ------------------------------------------------------------------------------------------- some of the networks


@st.composite
def selections(draw: st.DrawFn, num_nets: int) -> tuple[Any, list[int]]:
    """Something to select networks by, in every form it may have, and the numbers it stands for."""
    numbers = list(range(num_nets))
    kind = draw(st.sampled_from(["slice", "numbers", "mask"]))
    if kind == "slice":
        bound = st.none() | st.integers(-num_nets - 2, num_nets + 2)
        chosen = slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -3])))
        return chosen, numbers[chosen]
    if kind == "mask":
        mask = draw(st.lists(st.booleans(), min_size=num_nets, max_size=num_nets))
        form = draw(st.sampled_from([list, tuple, lambda m: np.array(m, dtype=bool), lambda m: torch.tensor(m).bool()]))
        return form(mask), [i for i in numbers if mask[i]]
    some = draw(st.lists(st.integers(-num_nets, num_nets - 1), max_size=8)) if num_nets else []
    form = draw(
        st.sampled_from(
            [
                list,
                tuple,
                lambda m: np.array(m, dtype=np.int64),
                lambda m: np.array(m, dtype=np.int16),
                torch.LongTensor,
            ]
        )
    )
    return form(some), [i % num_nets for i in some]


@settings(deadline=None)
@given(st.data())
def test_selections_are_those_of_a_list(nets: DeepNets, data: st.DataObject) -> None:
    expected, some = list(range(NUM_NETS)), nets
    for _ in range(data.draw(st.integers(1, 3), "depth")):
        chosen, numbers = data.draw(selections(len(some)))
        some, expected = some[chosen], [expected[i] for i in numbers]
        assert isinstance(some, DeepNets)
        assert stored(some) == expected
        assert len(some) == len(expected)
    for i in range(-len(some), len(some)):
        row = expected[i]
        assert some.config(i) == nets.config(row)
        assert some.genotype(i) == nets.genotype(row)
        assert some.record(i).figures["index"] == row
    for i, row in list(enumerate(expected))[:2]:
        assert_equal(some[i], nets[row].update({"net": i}))
        assert some.graph(i) == nets.graph(row)


def test_number_is_that_in_the_dataset(nets: DeepNets) -> None:
    some = nets[[7, 3, 11]]
    for i in (0, 2, -1, np.int64(1), np.uint8(2), torch.tensor(1), np.array(2)):
        data = some[i]
        assert data.net == int(i) % 3
        assert data.num_nodes == some.graph(data.net).num_nodes
    assert [data.net for data in some] == [0, 1, 2]
    assert stored(some) == [7, 3, 11]


def test_filter_by_the_table(nets: DeepNets) -> None:
    small = nets[nets.table()["num_params_cifar10"] < 1e6]
    assert 0 < len(small) < NUM_NETS
    assert all(count_parameters(small.config(i)) < 1e6 for i in range(len(small)))
    shallow = small[torch.from_numpy(small.table()["n_cells"] < 10)]
    assert 0 < len(shallow) < len(small)
    assert all(shallow.config(i).n_cells < 10 for i in range(len(shallow)))


def test_no_networks(nets: DeepNets) -> None:
    none = nets[nets.table()["n_cells"] > 100]
    assert len(none) == 0
    assert list(none) == []
    assert all(len(values) == 0 for values in none.table().values())
    with pytest.raises(IndexError, match=r"the dataset has no networks \(got 0\)"):
        none[0]


def test_shuffled(nets: DeepNets) -> None:
    shuffled, order = nets.shuffle(return_perm=True)
    assert stored(shuffled) == order.tolist()
    assert sorted(stored(shuffled)) == list(range(NUM_NETS))


def test_iteration_ends(nets: DeepNets) -> None:
    assert [data.net for data in nets] == list(range(NUM_NETS))
    assert [data.num_nodes for data in nets] == nets.table()["num_nodes"].tolist()


@pytest.mark.parametrize("i", [NUM_NETS, -NUM_NETS - 1, 10**6, np.int64(NUM_NETS), torch.tensor(NUM_NETS)])
def test_number_out_of_range(nets: DeepNets, i: Any) -> None:
    message = rf"the dataset has networks 0\.\.{NUM_NETS - 1} \(got .*{int(i)}"
    for read in (nets.__getitem__, nets.config, nets.genotype, nets.graph, nets.network, nets.record):
        with pytest.raises(IndexError, match=message):
            read(i)
    for numbers in ([0, int(i)], np.array([0, int(i)]), torch.tensor([int(i)])):
        with pytest.raises(IndexError, match=message):
            nets[numbers]
    with pytest.raises(IndexError, match=message):
        nets[Draw(int(i), 32, 64)]
    with pytest.raises(IndexError, match=r"the dataset has networks 0\.\.1 \(got 2\)"):
        nets[:2][2]


def test_selection_that_is_none(nets: DeepNets) -> None:
    with pytest.raises(
        IndexError, match=rf"a mask must have shape \({NUM_NETS},\), one entry per network \(got \(3,\)\)"
    ):
        nets[np.array([True, False, True])]
    with pytest.raises(IndexError, match="valid indices"):
        nets["first"]
    with pytest.raises((IndexError, TypeError)):
        nets[[Draw(0, 32, 64)]]


# --------------------------------------------------------------------------------------------------- virtual edges


def test_virtual_edges_are_kept(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=50)
    first, again = nets[2], nets[2]
    assert again.virtual_edge_index is first.virtual_edge_index
    assert again.virtual_distance is first.virtual_distance
    assert again.x is not first.x
    # Networks that have been selected are the same ones.
    assert nets[2:][0].virtual_edge_index is first.virtual_edge_index
    shuffled = nets.shuffle()
    assert shuffled[stored(shuffled).index(2)].virtual_edge_index is first.virtual_edge_index
    assert nets[Draw(2, 64, 128)].virtual_distance is first.virtual_distance


def test_virtual_edges_of_few_are_kept(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=50, cache=2)
    kept = {i: nets[i].virtual_distance for i in (0, 1)}
    assert nets[0].virtual_distance is kept[0]
    nets[2]  # in place of 1, which was read before 0
    assert nets[0].virtual_distance is kept[0]
    again = nets[1].virtual_distance
    assert again is not kept[1]
    assert torch.equal(again, kept[1])
    for i in range(NUM_NETS):
        nets[i], nets[i::2][0]
        assert len(nets._virtual) <= 2
    none = DeepNets(store, "train", virtual_cutoff=50, cache=0)
    assert none[0].virtual_distance is not none[0].virtual_distance
    assert not none._virtual


def test_virtual_edges_of_all_lengths(store: Path) -> None:
    for cutoff in (1, 3, 50):
        data = DeepNets(store, "train", virtual_cutoff=cutoff)[0]
        assert data.virtual_distance.max() == cutoff
    assert torch.equal(DeepNets(store, "train", virtual_cutoff=1)[0].virtual_edge_index, data.edge_index)


# ------------------------------------------------------------------------------------------------------- batches


def test_batch_shifts_edges(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=10)
    parts = [nets[i] for i in (3, 0, 5)]
    batch = Batch.from_data_list(parts)
    starts = np.cumsum([0, *(part.num_nodes for part in parts)])
    assert batch.num_nodes == starts[-1]
    assert batch.ptr.tolist() == starts.tolist()
    assert batch.net.tolist() == [3, 0, 5]
    for key in ("edge_index", "virtual_edge_index"):
        shifted = [part[key] + int(start) for part, start in zip(parts, starts[:-1], strict=True)]
        assert torch.equal(batch[key], torch.cat(shifted, dim=1))
    for key in ("x", "node_shape", "cell", "virtual_distance"):
        assert torch.equal(batch[key], torch.cat([part[key] for part in parts]))
    for part, found in zip(parts, batch.to_data_list(), strict=True):
        assert_equal(found, part.clone().update({"net": torch.tensor([part.net])}))
    # The cached tensors are as they were.
    assert_equal(nets[3], DeepNets(store, "train", virtual_cutoff=10)[3])


def loaded(nets: DeepNets, numbers: list[list[Any]], method: str | None = None) -> list[Batch]:
    workers: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": method} if method else {}
    return list(DataLoader(nets, batch_sampler=numbers, **workers))


@forks
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_the_same(store: Path, method: str) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=50)[::-1][:20]
    nets[0]  # so that a file is open, and something kept
    wanted: list[list[Any]] = [[0, 1, 2], [Draw(3, 64, 128), Draw(19, 32, 64)], [4, 0], [Draw(0, 48, 64)]]
    batches = loaded(nets, wanted, method)
    expected = loaded(nets, wanted)
    assert len(batches) == len(expected) == len(wanted)
    for found, batch in zip(batches, expected, strict=True):
        assert_equal(found, batch)
    assert batches[1].C.tolist() == [64, 32]
    assert batches[1].fc_dim.tolist() == [128, 64]
    assert batches[1].net.tolist() == [3, 19]


def test_loader_with_batches_of_one_size(nets: DeepNets) -> None:
    batches = list(DataLoader(nets, batch_size=5))
    assert [batch.num_graphs for batch in batches] == [5, 5, 5, 5, 4]
    assert torch.cat([batch.net for batch in batches]).tolist() == list(range(NUM_NETS))


@pytest.mark.parametrize("shuffle", [False, True])
def test_dynamic_batch_sampler(nets: DeepNets, shuffle: bool) -> None:
    sampler = DynamicBatchSampler(nets, max_num=800, mode="node", shuffle=shuffle)
    batches = [batch for batch in DataLoader(nets, batch_sampler=sampler)]
    assert all(batch.num_nodes <= 800 for batch in batches)
    assert len(batches) > 2
    assert sorted(torch.cat([batch.net for batch in batches]).tolist()) == list(range(NUM_NETS))


# --------------------------------------------------------------------------------------------- pickles and forks


def test_open_files_do_not_travel(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=50)[3:9]
    before, small = nets[1], len(pickle.dumps(nets))
    for i in range(6):
        nets[i]
    assert len(pickle.dumps(nets)) == small  # neither handle nor cache
    copied = pickle.loads(pickle.dumps(nets))
    assert copied._handle is None
    assert not copied._virtual
    assert stored(copied) == stored(nets)
    assert_equal(copied[1], before)
    assert nets[1].virtual_distance is before.virtual_distance


def _read_in_child(nets: DeepNets, answers: Connection) -> None:
    handle = nets._handle
    found = [nets[i].to_dict() for _ in range(5) for i in range(len(nets))]
    own = nets._handle is not handle and nets._handle is not None and nets._handle.process == os.getpid()
    answers.send((own, pickle.dumps(found)))
    answers.close()


@forks
def test_open_file_is_not_shared_with_forks(store: Path) -> None:
    nets = DeepNets(store, "train")
    expected = [nets[i].to_dict() for i in range(NUM_NETS)]
    handle = nets._handle
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    children = [context.Process(target=_read_in_child, args=(nets, send)) for _, send in pipes]
    for child in children:
        child.start()
    found = [[nets[i].to_dict() for i in range(NUM_NETS)] for _ in range(5)]  # while they read
    for receive, _ in pipes:
        own, read = receive.recv()
        assert own
        found += [pickle.loads(read)[start : start + NUM_NETS] for start in range(0, 5 * NUM_NETS, NUM_NETS)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert nets._handle is handle
    assert len(found) == 15
    for one in found:
        for a, b in zip(one, expected, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) if torch.is_tensor(b[key]) else a[key] == b[key] for key in b)
    assert nets.config(0) == sample_network("train", 0)


# ------------------------------------------------------------------------------------------- transforms and widths


def degree(data: Data) -> Data:
    data.degree = torch.bincount(data.edge_index[1], minlength=data.num_nodes)
    data.widest = int(data.node_shape.max())
    return data


def test_transform(store: Path) -> None:
    nets = DeepNets(store, "train", transform=degree)
    assert nets[0].degree.shape == (nets[0].num_nodes,)
    assert int(nets[0].degree.sum()) == nets[0].num_edges
    assert nets[1:3][0].degree.shape == (nets[1].num_nodes,)
    batch = Batch.from_data_list([nets[0], nets[1]])
    assert batch.degree.shape == (batch.num_nodes,)
    drawn = nets[Draw(0, 128, 64)]  # comes last: sees the width that was drawn
    assert drawn.widest == drawn.node_shape.max() > nets[0].widest
    assert drawn.C == 128


def test_transform_may_give_anything(store: Path) -> None:
    assert DeepNets(store, "train", transform=lambda data: data.num_nodes)[0] == DeepNets(store, "train")[0].num_nodes


def test_drawn_widths(store: Path) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=5)[::2]
    for i in range(-2, len(nets)):
        for C, fc_dim in ((32, 256), (48, 64), (128, 512)):
            drawn, plain = nets[Draw(i, C, fc_dim)], nets[i]
            graph = nets.graph(i, C=C, fc_dim=fc_dim)
            assert (drawn.C, drawn.fc_dim, drawn.net) == (C, fc_dim, i % len(nets))
            assert drawn.node_shape.dtype == torch.long
            assert [tuple(shape) for shape in drawn.node_shape.tolist()] == graph.node_shapes()
            others = set(plain.to_dict()) - {"node_shape"}
            assert set(drawn.to_dict()) == others | {"node_shape", "C", "fc_dim"}
            assert all(torch.equal(torch.as_tensor(drawn[key]), torch.as_tensor(plain[key])) for key in others)
            if C != 32:
                assert (drawn.node_shape != plain.node_shape).any()
            elif fc_dim == nets.config(i).fc_dim:
                assert torch.equal(drawn.node_shape, plain.node_shape)
    with pytest.raises(NetworkError, match="'C' must be even"):
        nets[Draw(0, 33, 64)]


# ------------------------------------------------------------------------------------------------------ no dataset


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file '.*none\.h5'; 'ppuda-like dataset generate' makes one"):
        DeepNets(tmp_path / "none.h5", "train")


def test_unknown_split(store: Path) -> None:
    with pytest.raises(DataError, match=r"holds no split 'tets'; it holds train, wide"):
        DeepNets(store, "tets")


def test_other_file(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no store")
    with pytest.raises(DataError, match="is no HDF5 file, or damaged"):
        DeepNets(tmp_path / "text.h5", "train")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("train")
    with pytest.raises(DataError, match="no store of networks"):
        DeepNets(tmp_path / "other.h5", "train")


def test_file_that_goes_away(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "nets.h5"
    path.write_bytes(store.read_bytes())
    nets = DeepNets(path, "train")
    path.unlink()
    with pytest.raises(DataError, match="there is no file"):
        nets[0]
    path.write_bytes(store.read_bytes())
    assert isinstance(nets.config(0), NetworkConfig)
