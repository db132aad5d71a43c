import itertools
from pathlib import Path

import pytest
import torch

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna import LatencyTable, Ratings, cifar_space, cost_table, measure_latency, search

SPACE = cifar_space(depths=(1, 1, 1, 1))


def test_medians_of_turns() -> None:
    parts = len(SPACE.all_parts())
    ticks = itertools.count(step=7)
    before = torch.random.get_rng_state()
    found = measure_latency(SPACE, repeats=3, clock=lambda: next(ticks))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(found.nanoseconds) == {str(part) for part in SPACE.all_parts()}
    assert set(found.nanoseconds.values()) == {7}
    # one reading before each pass, one after each but those of the turn that warms up
    assert next(ticks) == 7 * (4 * parts + 3 * parts)


def test_real_times_and_a_budget() -> None:
    times = measure_latency(SPACE, repeats=1, batch_size=2)
    assert min(times.nanoseconds.values()) > 0
    table = cost_table(SPACE, {"latency_ns": times})
    ratings = Ratings.from_arrays(SPACE, [[0.1, 0.2, 0.3, 0.4]] * 4)
    front = search(ratings, "latency_ns", table=table)
    for found in front:
        assert sum(times(part) for part in found.definition.parts()) == found.costs["latency_ns"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    table = LatencyTable({"a": 5, "b": 6})
    table.save(path)
    assert LatencyTable.load(path) == table
    path.write_text(path.read_text().replace("5", "5.5"))
    with pytest.raises(DataError, match="latency of 'a' must be a positive whole number"):
        LatencyTable.load(path)
    for content, match in (("{", "holds no latencies"), ("{}", "'format' must be"), ("[]", "'format' must be")):
        path.write_text(content)
        with pytest.raises(DataError, match=match):
            LatencyTable.load(path)
    with pytest.raises(DataError, match="cannot read"):
        LatencyTable.load(tmp_path / "missing.json")


def test_parts_that_were_not_measured() -> None:
    with pytest.raises(CodeError, match="was not measured"):
        cost_table(SPACE, {"latency_ns": LatencyTable({})})
    with pytest.raises(CodeError, match="must be positive"):
        measure_latency(SPACE, repeats=0)
