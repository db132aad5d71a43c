import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ppuda_like.deepnets import DeepNets, generate
from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHNConfig, NetsConfig, _net_stream
from ppuda_like.ghn._net_stream import NetStream, _start_worker, meta_batches

NETS = NetsConfig(meta_batch=2, widths=(8, 16), fc_dims=(16,), max_nodes=150, max_macs=8_000_000)


def stream(nets: NetsConfig = NETS, seed: int = 0) -> NetStream:
    return NetStream(nets, GHNConfig.ghn2(num_classes=7, hid=8), image_size=32, num_classes=7, seed=seed)


def test_networks_depend_on_seed_and_position_alone() -> None:
    first, again, other = stream().choose(5), stream().choose(5), stream(seed=1).choose(5)
    assert first == again
    assert first[0] != other[0]


def test_networks_keep_to_the_limits_and_take_the_widths() -> None:
    nets = [net for number in range(2) for net in stream()[number].nets]
    assert {net.config.C for net in nets} == {8, 16}
    for net in nets:
        assert net.graph.vocabulary == "ppuda"
        assert net.graph.num_nodes <= 150
        assert net.graph.macs <= 8_000_000
        assert net.config.num_classes == 7
        assert all(parameter.is_meta for parameter in net.model.parameters())


def test_limits_that_nothing_meets_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_net_stream, "_MAX_TRIES", 2)
    with pytest.raises(PredictionError, match=r"none of 2 sampled networks has at most 1 parameters"):
        stream(replace(NETS, max_params=1)).choose(0)


def test_meta_batch_is_cut_at_the_bound_of_nodes_but_never_empty() -> None:
    whole = stream()[0]
    assert len(whole.nets) == 2
    assert whole.graphs.num_nodes == tuple(net.graph.num_nodes for net in whole.nets)
    assert len(stream(replace(NETS, max_total_nodes=1))[0].nets) == 1


def served(nets: NetsConfig, steps: range, workers: int = 0) -> list[str]:
    return [batch.nets[0].graph.content_hash for batch in meta_batches(stream(nets), steps, workers)]


def test_pool_and_repeat_serve_every_meta_batch_in_each_pass_and_anew_after_a_resumption() -> None:
    nets = replace(NETS, meta_batch=1, pool=3, repeat=2)
    hashes = served(nets, range(12))
    assert hashes[0::2] == hashes[1::2]
    assert set(hashes[:6]) == set(hashes[6:])
    assert len(set(hashes)) == 3
    assert served(nets, range(5, 12)) == hashes[5:]


@pytest.mark.parametrize("pool", [0, 2])
def test_worker_processes_change_nothing(pool: int) -> None:
    nets = replace(NETS, meta_batch=1, pool=pool)
    assert served(nets, range(3), workers=1) == served(nets, range(3))


def test_workers_leave_signals_to_the_run() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before, threads = [signal.getsignal(number) for number in numbers], torch.get_num_threads()
    try:
        _start_worker(0)
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN, signal.SIG_IGN]
        assert torch.get_num_threads() == 1
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        torch.set_num_threads(threads)


def test_networks_of_a_store_come_up_once_each_before_any_comes_up_again(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        path = generate("train", 6, tmp_path / "nets.h5", executor=executor).path
    nets = replace(NETS, store=path, max_nodes=10_000, max_macs=10**12)
    stored = [DeepNets(path, "train").genotype(i) for i in range(6)]
    found = [stream(nets).choose(position)[0] for position in range(12)]
    order = [stored.index(config.genotype) for config in found]
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert order[:6] != order[6:]
    assert {config.C for config in found} == {8, 16}
    small = stream(replace(nets, max_nodes=min(DeepNets(path, "train").table()["num_nodes"])))
    assert {small.choose(position)[1].num_nodes for position in range(4)} == {small.config.max_nodes}


def test_published_widths() -> None:
    nets = replace(NETS, widths=None, max_nodes=10_000, max_macs=10**12)
    found = [stream(nets).choose(position)[0] for position in range(12)]
    assert all(config.C in range(32, 129, 16) for config in found)
    assert any(config.C > 32 for config in found)
    assert any(config.C == 32 for config in found)
