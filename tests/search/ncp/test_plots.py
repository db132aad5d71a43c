from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    CodeTable,
    EditTrajectory,
    SearchComparison,
    edit,
    pareto_front,
    plot_comparison,
    plot_edit,
)
from tests.search.ncp.toys import Toy

PREDICTOR = Toy(MULTI_RESOLUTION)


@pytest.fixture(scope="module")
def trajectory() -> EditTrajectory:
    return edit(MULTI_RESOLUTION.sample(3, np.random.default_rng(0)), PREDICTOR, {"acc": 1.0}, steps=6)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_front_is_what_nothing_beats(points) -> None:
    cost, value = np.array(points, dtype=float).T
    front = pareto_front(cost, value)
    for i in range(len(points)):
        beaten = ((cost <= cost[i]) & (value >= value[i]) & ((cost < cost[i]) | (value > value[i]))).any()
        same = {(cost[j], value[j]) for j in front}
        assert ((cost[i], value[i]) in same) == (not beaten)
    assert (np.diff(cost[front]) > 0).all()


def test_every_code_of_an_edit_is_drawn_before_the_table(trajectory: EditTrajectory, tmp_path: Path) -> None:
    codes = MULTI_RESOLUTION.sample(40, np.random.default_rng(1))
    table = CodeTable(name="toy", space=MULTI_RESOLUTION, codes=codes, metrics={"acc": PREDICTOR.predict(codes)[:, 0]})
    path = tmp_path / "edit.png"
    axis = plot_edit(trajectory, table, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    lines = {len(line.get_xdata()): line for line in axis.lines if len(line.get_xdata()) == trajectory.steps}
    np.testing.assert_array_equal(lines[6].get_xdata(), trajectory.costs[:, 2, 0])
    np.testing.assert_array_equal(lines[6].get_ydata(), trajectory.predictions[:, 2, 0])
    cloud = axis.collections[0].get_offsets()
    np.testing.assert_array_equal(cloud, np.column_stack((MULTI_RESOLUTION.costs(codes)[:, 0], table["acc"])))
    best = trajectory.best()
    np.testing.assert_array_equal(axis.collections[-1].get_offsets(), [[best.flops, best.predictions["toy.acc"]]])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("FLOPs, exact", "toy.acc")


def test_other_metrics_are_drawn_when_asked_for(trajectory: EditTrajectory) -> None:
    axis = plot_edit(trajectory, metric="toy.top5")
    assert axis.get_ylabel() == "toy.top5"
    with pytest.raises(CodeError, match=r"no metric 'speed'; there are toy\.acc, toy\.top5"):
        plot_edit(trajectory, metric="speed")


def test_comparison_shows_medians_over_seeds() -> None:
    ranks = np.array([[100.0, 10], [300, 20], [200, 90]])
    found = SearchComparison(
        metric="acc",
        seeds=(0, 1, 2),
        size=1000,
        train_size=50,
        budgets=np.array([10, 100]),
        ranks={"one": ranks, "late": np.where([True, False], np.nan, ranks)},
        regrets={"one": ranks, "late": ranks},
        start_ranks=np.array([7, 8, 9]),
    )
    axis = plot_comparison(found)
    one, late = axis.lines[:2]
    assert one.get_ydata().tolist() == [200, 20]
    assert (late.get_xdata().tolist(), late.get_ydata().tolist()) == ([100], [20])
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["one", "late", "best of 50 measured", "rank 5"]
