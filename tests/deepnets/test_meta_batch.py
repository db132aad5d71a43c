import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.loader import DataLoader

from ppuda_like.deepnets import (
    DeepNets,
    Draw,
    MetaBatchSampler,
    NetworkConfig,
    NetworkError,
    count_parameters,
    generate,
    sample_width,
)
from ppuda_like.deepnets import _meta_batch as module

NUM_NETS = 24

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("train", NUM_NETS, path, executor=executor)
        generate("wide", NUM_NETS, path, executor=executor)
    return path


@pytest.fixture(scope="module")
def nets(store: Path) -> DeepNets:
    return DeepNets(store, "train")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Sizes:
    """A dataset of which only the numbers of nodes are known."""

    def __init__(self, num_nodes: list[int]) -> None:
        self.num_nodes = num_nodes

    def table(self) -> dict[str, np.ndarray]:
        column = np.array(self.num_nodes, dtype=np.int64)
        return {"num_nodes": column, "num_params_cifar10": column}

    def config(self, i: int) -> NetworkConfig:
        return NetworkConfig(n_cells=1 + i % 14)


def sampler_of(num_nodes: list[int], meta_batch: int, **kwargs: Any) -> MetaBatchSampler:
    return MetaBatchSampler(cast(DeepNets, Sizes(num_nodes)), meta_batch, **kwargs)


SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=30)


# ------------------------------------------------------------------------------------------------------- grouping


@settings(deadline=None)
@given(SIZES, st.integers(1, 6), st.none() | st.integers(1, 150), st.integers(0, 9))
def test_a_pass(num_nodes: list[int], meta_batch: int, max_nodes: int | None, seed: int) -> None:
    limit = max_nodes or sum(num_nodes)
    fitting = [net for net, size in enumerate(num_nodes) if size <= limit]
    if not fitting:
        with pytest.raises(NetworkError, match=f"none of {len(num_nodes)} networks has at most {max_nodes} nodes"):
            sampler_of(num_nodes, meta_batch, max_nodes=max_nodes)
        return
    sampler = sampler_of(num_nodes, meta_batch, max_nodes=max_nodes, widths=False, generator=seeded(seed))
    assert sampler.left_out == len(num_nodes) - len(fitting)
    batches = list(sampler)
    assert sorted(net for batch in batches for net in batch) == fitting
    assert all(type(net) is int for batch in batches for net in batch)
    sums = [sum(num_nodes[net] for net in batch) for batch in batches]
    assert all(0 < len(batch) <= meta_batch for batch in batches)
    assert max(sums) <= limit
    for total, (batch, following) in zip(sums, pairwise(batches), strict=False):
        assert len(batch) == meta_batch or total + num_nodes[following[0]] > limit
    try:
        assert len(sampler) == len(batches)
    except TypeError:
        assert sum(sorted(num_nodes[net] for net in fitting)[-meta_batch:]) > limit
        assert len(batches) >= -(-len(fitting) // meta_batch)


def test_full_batch_is_closed_early() -> None:
    batches = list(sampler_of([5] * 7, 4, max_nodes=11, widths=False, generator=seeded()))
    assert [len(batch) for batch in batches] == [2, 2, 2, 1]


def test_length() -> None:
    assert len(sampler_of([5] * 7, 4, max_nodes=None)) == 2
    assert len(sampler_of([5] * 7, 4, max_nodes=20)) == 2
    assert len(sampler_of([5, 6, 30], 1, max_nodes=10)) == 2
    assert len(sampler_of([5] * 8, 4, max_nodes=20)) == 2
    sampler = sampler_of([5] * 7, 4, max_nodes=19)
    with pytest.raises(
        TypeError, match=r"4 of them may have more than 19 nodes; .* 'max_nodes' of None, or at least 20"
    ):
        len(sampler)
    assert len(list(sampler)) == 3  # 'list' asks for the length, and does without


def test_network_above_the_limit_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ppuda_like"):
        sampler = sampler_of([5, 100, 7, 200], 2, max_nodes=20, widths=False)
        for _ in range(3):
            assert sorted(net for batch in sampler for net in batch) == [0, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 4 networks have more than 20 nodes and are left out"
    ]
    assert caplog.records[0].name == "ppuda_like.deepnets._meta_batch"
    assert sampler.left_out == 2


def test_nothing_is_told_where_all_fit(caplog: pytest.LogCaptureFixture) -> None:
    sampler = sampler_of([5, 7], 2)
    assert sampler.left_out == 0
    assert not caplog.records


@pytest.mark.parametrize(("meta_batch", "max_nodes", "name"), [(0, 10, "meta_batch"), (2, 0, "max_nodes")])
def test_limits_must_be_positive(meta_batch: int, max_nodes: int, name: str) -> None:
    with pytest.raises(NetworkError, match=rf"'{name}' must be positive \(got 0\)"):
        sampler_of([5], meta_batch, max_nodes=max_nodes)


def test_no_networks(nets: DeepNets) -> None:
    with pytest.raises(NetworkError, match="none of 0 networks"):
        MetaBatchSampler(nets[:0], 2)


# ------------------------------------------------------------------------------------------------------ randomness


@settings(deadline=None)
@given(SIZES, st.integers(1, 4), st.integers(0, 2**63 - 1), st.booleans())
def test_equal_generators_give_equal_batches(num_nodes: list[int], meta_batch: int, seed: int, widths: bool) -> None:
    a, b = (sampler_of(num_nodes, meta_batch, widths=widths, generator=seeded(seed)) for _ in range(2))
    for _ in range(3):
        assert list(a) == list(b)


def test_passes_differ() -> None:
    sampler = sampler_of([1] * 100, 10, generator=seeded())
    passes = [list(sampler) for _ in range(3)]
    orders = [tuple(draw.net for batch in one for draw in batch) for one in passes]
    assert len(set(orders)) == 3
    assert len({tuple(sorted(draw for batch in one for draw in batch)) for one in passes}) == 3  # the widths as well
    assert list(sampler_of([1] * 100, 10, generator=seeded(1))) != passes[0]


@pytest.mark.parametrize("taken", [1, 4, 5])
def test_a_pass_that_is_broken_off(taken: int) -> None:
    # As many meta-batches as workers fetch ahead, say: the next pass is the same.
    whole, broken = (sampler_of([1] * 20, 4, generator=seeded()) for _ in range(2))
    list(whole)
    iter(broken)  # not begun: nothing is drawn
    started: Iterator[Any] = iter(broken)
    for _ in range(taken):
        next(started)
    assert list(broken) == list(whole)


def test_passes_side_by_side() -> None:
    sampler = sampler_of([1] * 20, 4, generator=seeded())
    one, other = iter(sampler), iter(sampler)
    mixed = [(next(one), next(other)) for _ in range(5)]
    again = sampler_of([1] * 20, 4, generator=seeded())
    assert [pair[0] for pair in mixed] == list(again)
    assert [pair[1] for pair in mixed] == list(again)


def test_without_a_generator() -> None:
    sampler = sampler_of([1] * 50, 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        passes = [list(sampler), list(sampler)]
        torch.manual_seed(3)
        assert [list(sampler), list(sampler)] == passes
        torch.manual_seed(4)
        assert list(sampler) not in passes
    assert passes[0] != passes[1]


def test_global_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    list(sampler_of([1] * 50, 4, generator=seeded()))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_network_comes_first() -> None:
    sampler = sampler_of([1] * 6, 2, widths=False, generator=seeded())
    first = [next(iter(sampler))[0] for _ in range(600)]
    assert min(np.bincount(first, minlength=6)) > 60


# ---------------------------------------------------------------------------------------------------------- widths


def test_widths_follow_the_rule(nets: DeepNets) -> None:
    num_params = nets.table()["num_params_cifar10"]
    allowed: list[set[tuple[int, int]]] = []
    for i in range(NUM_NETS):
        rng = np.random.default_rng(0)
        assert nets.config(i).C == 32
        allowed.append({sample_width(nets.config(i), int(num_params[i]), rng) for _ in range(500)})
    sampler = MetaBatchSampler(nets, 5, generator=seeded())
    draws = [draw for _ in range(60) for batch in sampler for draw in batch]
    for draw in draws:
        assert isinstance(draw, Draw)
        assert type(draw.C) is type(draw.fc_dim) is int
        assert (draw.C, draw.fc_dim) in allowed[draw.net]
    assert {draw.C for draw in draws} == {C for widths in allowed for C, _ in widths}


def test_rule_is_about_networks_of_32_channels(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[NetworkConfig, int]] = []

    def recorded(config: NetworkConfig, num_params: int, rng: np.random.Generator) -> tuple[int, int]:
        seen.append((config, num_params))
        return sample_width(config, num_params, rng)

    monkeypatch.setattr(module, "sample_width", recorded)
    for split, C in (("train", 32), ("wide", 128)):
        seen.clear()
        list(MetaBatchSampler(DeepNets(store, split), 4))
        assert len(seen) == NUM_NETS
        for config, num_params in seen:
            assert config.C == C
            assert num_params == count_parameters(config.replace(C=32))


# --------------------------------------------------------------------------------------------------------- datasets


def test_reads_no_graphs(nets: DeepNets, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(DeepNets, "get", read)
    monkeypatch.setattr(DeepNets, "graph", read)
    monkeypatch.setattr(DeepNets, "record", read)
    assert len(list(MetaBatchSampler(nets, 4, generator=seeded()))) >= NUM_NETS // 4


@pytest.mark.parametrize("widths", [False, True])
def test_some_networks_of_a_dataset(nets: DeepNets, widths: bool) -> None:
    chosen = [20, 3, 11, 7, 16]
    some = nets[chosen]
    sampler = MetaBatchSampler(some, 2, max_nodes=None, widths=widths, generator=seeded())
    batches = list(DataLoader(some, batch_sampler=sampler))
    assert len(sampler) == len(batches) == 3
    found = {int(net): data for batch in batches for net, data in zip(batch.net, batch.to_data_list(), strict=True)}
    assert sorted(found) == [0, 1, 2, 3, 4]
    for net, data in found.items():
        assert torch.equal(data.edge_index, nets[chosen[net]].edge_index)
        graph = nets.graph(chosen[net], **({"C": int(data.C), "fc_dim": int(data.fc_dim)} if widths else {}))
        assert [tuple(shape) for shape in data.node_shape.tolist()] == graph.node_shapes()


def test_limit_of_nodes(nets: DeepNets) -> None:
    sampler = MetaBatchSampler(nets, 8, max_nodes=500, generator=seeded())
    batches = list(DataLoader(nets, batch_sampler=sampler))
    assert all(batch.num_nodes <= 500 for batch in batches)
    assert sum(batch.num_graphs for batch in batches) == NUM_NETS
    assert len({batch.num_graphs for batch in batches}) > 1


@forks
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_the_same(store: Path, method: str) -> None:
    nets = DeepNets(store, "train", virtual_cutoff=5)[4:]

    def passes(**workers: Any) -> list[Any]:
        sampler = MetaBatchSampler(nets, 4, max_nodes=900, generator=seeded())
        loader = DataLoader(nets, batch_sampler=sampler, generator=seeded(1), **workers)
        return [batch for _ in range(2) for batch in loader]

    expected = passes()
    found = passes(num_workers=2, multiprocessing_context=method, persistent_workers=True)
    assert len(found) == len(expected) > 10
    for batch, other in zip(found, expected, strict=True):
        assert batch.to_dict().keys() == other.to_dict().keys()
        assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(other[key])) for key, value in batch)
    assert sorted(torch.cat([batch.net for batch in expected]).tolist()) == sorted([*range(20), *range(20)])


@forks
def test_workers_without_a_generator(nets: DeepNets) -> None:
    def passes(**workers: Any) -> list[list[Any]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            loader = DataLoader(nets, batch_sampler=MetaBatchSampler(nets, 4), **workers)
            return [[batch.net.tolist(), batch.C.tolist(), batch.fc_dim.tolist()] for _ in range(2) for batch in loader]

    assert passes(num_workers=2, multiprocessing_context="fork") == passes()
