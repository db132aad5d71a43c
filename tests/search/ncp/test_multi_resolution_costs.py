import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.search.ncp import MULTI_RESOLUTION, MultiResolutionCode
from ppuda_like.search.ncp._multi_resolution_costs import COST_PARTS, cost_parts

FIXTURE = Path(__file__).parents[2] / "fixtures" / "nasbench_mr_seg_rows.csv"


def counted(code: MultiResolutionCode) -> tuple[int, int]:
    """FLOPs and parameters, layer by layer, for 128 x 128 pixels and 50 classes."""
    flops = params = 0

    def convolve(ci: int, co: int, kernel: int, side: int) -> None:
        nonlocal flops, params
        flops += ci * co * kernel**2 * side**2 + 2 * co * side**2
        params += ci * co * kernel**2 + 2 * co

    convolve(3, code.stem[0], 3, 64)
    convolve(code.stem[0], code.stem[1], 3, 32)
    before: tuple[int, ...] = (code.stem[1],)
    for branches, blocks, now in code.settings:
        for i in range(branches):
            side = 32 // 2**i
            if i < len(before):
                convolve(before[i], now[i], 3, side)
                if i > 0:
                    convolve(before[i - 1], now[i], 3, side)
                if i + 1 < len(before):
                    convolve(before[i + 1], now[i], 1, side // 2)
            else:
                convolve(now[i - 1], now[i], 3, side)
            for _ in range(2 * blocks[i]):
                convolve(now[i], now[i], 3, side)
        before = now
    convolve(sum(before), code.last_channel, 1, 4)
    return flops + 50 * code.last_channel + 50, params + 50 * code.last_channel + 50


@given(seed=st.integers(0, 2**32 - 1))
def test_costs_are_those_counted_layer_by_layer(seed: int) -> None:
    code = MultiResolutionCode.random(np.random.default_rng(seed))
    assert (code.flops, code.params) == counted(code)


def test_costs_are_those_of_the_published_table() -> None:
    with FIXTURE.open() as file:
        rows = list(csv.DictReader(file))
    costs = MULTI_RESOLUTION.costs([[int(number) for number in row["code"].split("_")] for row in rows])
    published = [(float(row["flops"]) * 1e9, float(row["params"]) * 1e6) for row in rows]
    assert len(rows) == 60
    np.testing.assert_allclose(costs, published, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_costs_are_those_of_the_network(seed: int) -> None:
    code = MultiResolutionCode.random(np.random.default_rng(seed))
    graph = code.to_graph()
    normalised = sum(
        int(np.prod(shape)) for op, shape in zip(graph.ops, graph.out_shapes, strict=True) if op == "batch_norm"
    )
    assert graph.macs + 2 * normalised + 50 == code.flops  # and the biases of the classifier
    assert graph.num_params == code.params
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in code.network().parameters()) == code.params


def test_many_codes_cost_what_each_costs() -> None:
    codes = MULTI_RESOLUTION.sample(2500, np.random.default_rng(0))
    costs = MULTI_RESOLUTION.costs(codes)
    for row in (0, 1023, 1024, 2499):
        assert (MULTI_RESOLUTION.costs(codes[row]) == costs[row]).all()
    assert (costs == np.round(costs)).all()


def test_parts_add_up_and_hold_their_own_numbers() -> None:
    relaxed = torch.from_numpy(MULTI_RESOLUTION.relax(MULTI_RESOLUTION.sample(20, np.random.default_rng(0))))
    parts = cost_parts(relaxed)
    assert parts.shape == (20, 2, len(COST_PARTS))
    assert torch.equal(parts.sum(2), MULTI_RESOLUTION.relaxed_costs(relaxed))
    for part, number in [("stem", "in0"), ("stage 2", "m2"), ("stage 4", "n4_3"), ("head", "out")]:
        more = relaxed.clone()
        more[:, MULTI_RESOLUTION.names.index(number)] += 1
        grown = (cost_parts(more) > parts).all(0).all(0)
        assert grown.tolist() == [name == part for name in COST_PARTS]
