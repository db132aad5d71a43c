"""Features of codes: what they are of, what they agree on, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppuda_like.predictors import NASBENCH201_OPS, cell_form
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, CodeSpace


@pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=lambda space: space.name)
def test_features_are_finite_differentiable_and_of_each_code_alone(space: CodeSpace) -> None:
    rng = np.random.default_rng(0)
    relaxed = torch.from_numpy(space.relax(space.sample(40, rng)))
    found = space.features(relaxed)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(space.features(relaxed[7:8]), found[7:8])
    low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
    inside = low + (high - low) * torch.from_numpy(rng.uniform(0.1, 0.9, size=(2, len(low))))
    assert torch.autograd.gradcheck(space.features, inside.requires_grad_())
    for corner in (low, high):
        x = corner[None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(space.features(x).sum(), x)
        assert torch.isfinite(slope).all()


def test_features_of_a_multi_resolution_code_are_logarithms_of_known_numbers() -> None:
    # stem 8, 16; stages of 1, 2, 3, 1 modules; channels 8 times the stage, last branches twice that
    code = [8, 16, 1, 3, 8, 2, 1, 4, 16, 32, 3, 1, 2, 3, 24, 24, 48, 1, 4, 3, 2, 1, 32, 32, 32, 64, 128]
    found = MULTI_RESOLUTION.features(torch.from_numpy(MULTI_RESOLUTION.relax(code))).exp()[0].numpy()
    wanted = [
        *code,
        *MULTI_RESOLUTION.costs(code)[0],
        *[2 * 1 * 16**2 + 3 * 8**2 + 3 * 1 * 24**2 + 4 * 32**2],  # work of the highest resolution
        *[3, 2, 8, 3, 6, 9, 4, 3, 2, 1],  # blocks in a row
        *[3 + 8 + 9 + 4, 3 + 5 + 6 + 2.5],  # longest and mean way
        *[7, 8, 48, 96, 160],  # modules; channels of stages
        8,  # the narrowest place: the stem, and stage 1
    ]
    for number in wanted:
        assert np.isclose(found, number, rtol=1e-6).any(), number
    assert len(found) == 59


def test_stages_are_told_apart_by_their_costs() -> None:
    code = MULTI_RESOLUTION.sample(1, np.random.default_rng(1))
    costs = MULTI_RESOLUTION.features(torch.from_numpy(MULTI_RESOLUTION.relax(code))).exp()[0, 29:37].numpy()
    total = MULTI_RESOLUTION.costs(code)[0]
    flops, params = costs[:4].sum(), costs[4:].sum()
    assert 0.5 * total[0] < flops < total[0]
    assert 0.5 * total[1] < params < total[1]


def test_cells_that_compute_the_same_mostly_have_the_same_features() -> None:
    codes = NASBENCH201.sample(1500, np.random.default_rng(0))
    found = NASBENCH201.features(torch.from_numpy(NASBENCH201.relax(codes))).numpy()
    by_form: dict[object, set[bytes]] = {}
    for code, row in zip(codes.tolist(), found, strict=True):
        by_form.setdefault(cell_form(code), set()).add(row.tobytes())
    several = [len(rows) for rows in by_form.values()]
    assert sum(several) < 1.1 * len(by_form)  # rows that a form needs beyond one
    assert len({row for rows in by_form.values() for row in rows}) > 0.9 * len(by_form)  # and rows tell forms apart


def test_dead_operations_do_not_count() -> None:
    pool, none, skip, conv1, conv3 = range(len(NASBENCH201_OPS))
    alive = [none, none, none, conv3, none, none]  # one edge from input to output
    for dead in (
        [none, none, conv1, conv3, none, none],  # reads nothing
        [none, none, none, conv3, conv1, pool],  # read nothing
        [conv1, skip, conv3, conv3, none, none],  # are read by nothing
    ):
        a, b = (NASBENCH201.features(torch.from_numpy(NASBENCH201.relax(code))) for code in (alive, dead))
        assert torch.equal(a, b)


def test_paths_of_a_cell_are_counted() -> None:
    pool, skip, conv1, conv3 = (NASBENCH201_OPS.index(op) for op in NASBENCH201_OPS if op != "none")
    code = [conv3, skip, conv1, pool, skip, conv3]
    # paths: pool; conv3, skip; skip, conv3; conv3, conv1, conv3
    found = NASBENCH201.features(torch.from_numpy(NASBENCH201.relax(code)))[0]
    paths, rest = found[:40], found[40:]
    assert sorted(paths[paths > 0].tolist()) == [1, 1, 2]
    assert paths.sum() == 4
    pools, ones, threes, convolutions = rest[:4].tolist()
    assert (pools, ones, threes, convolutions) == (1, 1, 2, 3)
    # greatest and least number on a path, of: convolutions, 3x3, 1x1, poolings
    assert rest[4:8].tolist() == [3, 2, 1, 1]
    assert rest[8:12].tolist() == [0, 0, 0, 0]
    assert rest[12] == pytest.approx(np.log(1.5 + 1 + 2 * 9))
    without_pool = NASBENCH201.features(torch.from_numpy(NASBENCH201.relax([conv3, skip, conv1, conv1, skip, conv3])))
    assert without_pool[0, 48:52].tolist() == [1, 0, 0, 0]
