import csv
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.search.ncp import NASBENCH201, EditTrajectory, edit
from tests.search.ncp.toys import Toy


@pytest.fixture(scope="module")
def trajectory() -> EditTrajectory:
    predictors = [Toy(NASBENCH201, "one", seed=1), Toy(NASBENCH201, "two", ("acc",), seed=2)]
    starts = NASBENCH201.sample(3, np.random.default_rng(0))
    return edit(starts, predictors, {"one.acc": 1.0, "flops": -0.1}, steps=5)


def test_best_is_the_highest_of_those_that_meet_the_condition(trajectory: EditTrajectory) -> None:
    assert trajectory.best().objective == trajectory.objective.max()
    middle = float(np.median(trajectory.costs[..., 0]))
    found = trajectory.best(where=f"flops <= {middle!r} and step > 0 and one.acc < 100")
    met = (trajectory.costs[..., 0] <= middle) & (np.arange(5) > 0)[:, None]
    assert found.objective == trajectory.objective[met].max()
    assert found == trajectory.at(found.step, found.start)
    assert found.flops == NASBENCH201.costs([found.code])[0, 0]


def test_metrics_go_by_their_short_name_where_that_is_clear(trajectory: EditTrajectory) -> None:
    columns = trajectory.columns()
    np.testing.assert_array_equal(columns["top5"], columns["one.top5"])
    assert "acc" not in columns
    assert columns["two.acc"].shape == (5, 3)


def test_negative_steps_count_from_the_end(trajectory: EditTrajectory) -> None:
    assert trajectory.at(-1, -1) == trajectory.at(4, 2)
    with pytest.raises(IndexError):
        trajectory.at(5)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("speed < 3", "trajectories have no column 'speed'; there are .*two.acc"),
        ("flops < 1", "no code of the trajectory meets 'flops < 1'"),
        ("flops", r"cannot read 'flops' .* \"flops < 2e9 and step > 0\""),
    ],
)
def test_bad_conditions_are_named(trajectory: EditTrajectory, condition: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        trajectory.best(condition)


def test_json_brings_everything_back(trajectory: EditTrajectory, tmp_path) -> None:
    trajectory.to_json(tmp_path / "edit.json")
    found = EditTrajectory.from_json(tmp_path / "edit.json")
    for field in fields(EditTrajectory):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(trajectory, field.name), strict=True)


def test_csv_has_a_row_for_each_code(trajectory: EditTrajectory, tmp_path) -> None:
    trajectory.to_csv(tmp_path / "edit.csv")
    with (tmp_path / "edit.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    for row in rows:
        one = trajectory.at(int(row["step"]), int(row["start"]))
        assert tuple(map(int, row["code"].split("_"))) == one.code
        assert float(row["two.acc"]) == one.predictions["two.acc"]
        assert float(row["std(one.top5)"]) == one.stds["one.top5"]
        assert (float(row["objective"]), float(row["flops"]), float(row["params"])) == (
            one.objective,
            one.flops,
            one.params,
        )


def test_other_files_are_refused(trajectory: EditTrajectory, tmp_path) -> None:
    path = tmp_path / "edit.json"
    trajectory.to_json(path)
    good = json.loads(path.read_text())
    for content, message in (
        ("nothing", "is no trajectory"),
        ("[]", "is not of the format"),
        (json.dumps({**good, "format": "another"}), "is not of the format"),
        (json.dumps({key: value for key, value in good.items() if key != "codes"}), "must hold calls_per_step, codes"),
        (json.dumps({**good, "codes": [["a"]]}), "something else than arrays"),
        (json.dumps({**good, "objective": [[1.0]]}), "'objective' of a trajectory must have shape"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            EditTrajectory.from_json(path)


def test_shapes_have_to_fit(trajectory: EditTrajectory) -> None:
    with pytest.raises(DataError, match="'stds' of a trajectory must have shape"):
        replace(trajectory, stds=trajectory.stds[:, :2])
