from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks import Frontier, ReplayConfig
from ppuda_like.search.blocks._async import worker_of_turn
from ppuda_like.search.blocks._replay import ReplayRing


def filled(count: int, **options: Any) -> ReplayRing:
    ring = ReplayRing(ReplayConfig(**options))
    for value in range(count):
        write(ring, value)
    return ring


def write(ring: ReplayRing, value: int) -> None:
    ring.add(Frontier((torch.tensor([float(value)]),)), torch.tensor([value]))


def read(ring: ReplayRing, seed: int = 0) -> int | None:
    found = ring.get(torch.Generator().manual_seed(seed))
    if found is None:
        return None
    assert float(found[0].newest) == int(found[1])
    return int(found[1])


@pytest.mark.parametrize(
    ("policy", "added", "wanted"),
    [
        ("least-used-newest", 5, [4, 3, 2, 1, 0, 4]),
        ("least-used-newest", 7, [6, 5, 4, 3, 2, 6]),
        ("reference", 5, [0, 4, 3, 2, 1, 0]),
        ("reference", 7, [2, 6, 5, 4, 3, 2]),
        ("reference", 3, [2, 1, 0, 2]),  # not full yet: there is nothing at the place written next
        ("fifo", 7, [2, 3, 4, 5, 6, 2]),
        ("lifo", 7, [6, 6, 6]),
    ],
)
def test_order_of_reading(policy: str, added: int, wanted: list[int]) -> None:
    ring = filled(added, size=5, policy=policy)
    assert [read(ring) for _ in wanted] == wanted


def test_reuse_counts_the_writing() -> None:
    ring = filled(1, size=4, max_reuse=3)
    assert [read(ring) for _ in range(3)] == [0, 0, None]
    assert (ring.statistics.waits, ring.statistics.read, ring.statistics.reread) == (1, 2, 1)
    single = filled(1, size=1, policy="reference", max_reuse=3)
    assert [read(single) for _ in range(5)] == [0] * 5
    assert read(filled(0, size=1, policy="reference")) is None


def test_uniform_reads_all_there_is() -> None:
    ring = filled(9, size=4, policy="uniform")
    assert {read(ring, seed) for seed in range(50)} == {5, 6, 7, 8}
    assert read(filled(9, size=4, policy="uniform"), 3) == read(filled(9, size=4, policy="uniform"), 3)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 5),
    st.sampled_from(["least-used-newest", "fifo", "lifo", "uniform", "reference"]),
    st.sampled_from([None, 2, 3]),
)
def test_books_are_kept(writes: list[bool], size: int, policy: Any, max_reuse: int | None) -> None:
    config = ReplayConfig(size=size, policy=policy, max_reuse=max_reuse)
    ring = ReplayRing(config)
    written: list[int] = []
    reads: list[tuple[int, int]] = []  # what was read, and its age
    waits = 0
    for turn, writing in enumerate(writes):
        if writing:
            write(ring, len(written))
            written.append(turn)
        else:
            value = read(ring, turn)
            waits += value is None
            reads += [] if value is None else [(value, len(written) - 1 - value)]
        copy = ReplayRing(config)
        copy.load_state_dict(ring.state_dict())
        ring = copy
    values = [value for value, _ in reads]
    found = ring.statistics
    assert (found.written, found.read, found.waits) == (len(written), len(reads), waits)
    assert found.reread == len(values) - len(set(values))
    assert found.lost == len(set(range(len(written) - size)) - set(values))
    ages = [age for _, age in reads]
    assert found.max_age == max(ages, default=0) < max(1, size)
    assert found.mean_age == pytest.approx(sum(ages) / max(1, len(ages)))
    if max_reuse is not None and not (policy == "reference" and size == 1):
        assert all(values.count(value) < max_reuse for value in values)


def test_turns() -> None:
    assert [worker_of_turn(turn, ReplayConfig(), 4, 0) for turn in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    config = ReplayConfig(order="round-robin", warmup=1)
    assert [worker_of_turn(turn, config, 3, 0) for turn in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]
    slow = ReplayConfig(slow_block=1, slow_noise=0.75, warmup=0)
    turns = [worker_of_turn(turn, slow, 3, 5) for turn in range(1000)]
    assert turns == [worker_of_turn(turn, slow, 3, 5) for turn in range(1000)]
    shares = [turns.count(worker) / len(turns) for worker in range(3)]
    assert shares == pytest.approx([4 / 9, 1 / 9, 4 / 9], abs=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "'size' of the replay must be at least 1"),
        ({"policy": "random"}, "one of least-used-newest, fifo"),
        ({"max_reuse": 1}, "as writing counts"),
        ({"rates": (1.0, 0.0)}, "positive numbers"),
        ({"slow_block": 0, "slow_noise": 1.0}, "below 1"),
        ({"slow_noise": 0.5}, "without a 'slow_block'"),
        ({"order": "any"}, "one of random, round-robin"),
        ({"warmup": -1}, "0 or more"),
    ],
)
def test_bad_replay(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        ReplayConfig(**options)


def test_replay_of_another_number_of_blocks() -> None:
    with pytest.raises(PpudaLikeError, match="2 blocks need as many 'rates'"):
        ReplayConfig(rates=(1, 2, 3)).paces(2)
    with pytest.raises(PpudaLikeError, match="must be below the 2 blocks"):
        ReplayConfig(slow_block=2).paces(2)
