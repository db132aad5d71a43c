import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201, CodeTable

CODES = NASBENCH201.sample(6, np.random.default_rng(0))
METRICS = {"accuracy": np.arange(6.0), "loss": -np.arange(6.0)}


def table(**changes: object) -> CodeTable:
    facts = {"name": "six", "space": NASBENCH201, "codes": CODES, "metrics": METRICS}
    return CodeTable(**(facts | changes))  # type: ignore[arg-type]


def test_columns_and_rows() -> None:
    six = table()
    assert len(six) == 6
    assert six.main == "accuracy"
    assert six.matrix().tolist() == np.stack((METRICS["accuracy"], METRICS["loss"]), axis=1).tolist()
    assert six.matrix(["loss"]).shape == (6, 1)
    assert (six["loss"] == METRICS["loss"]).all()


@pytest.mark.parametrize("rows", [[4, 1], np.array([4, 1]), slice(1, 3), CODES[:, 0] == CODES[0, 0]])
def test_rows_are_taken_as_numpy_takes_them(rows: object) -> None:
    some = table().take(rows)  # type: ignore[arg-type]
    assert (some.codes == CODES[rows]).all()  # type: ignore[call-overload]
    assert (some["loss"] == METRICS["loss"][rows]).all()  # type: ignore[call-overload]
    assert (some.name, some.space) == ("six", NASBENCH201)
    assert table().take(rows, name="some").name == "some"  # type: ignore[arg-type]


def test_a_table_is_a_value() -> None:
    values = np.arange(6.0)
    codes = CODES.copy()
    made = table(codes=codes, metrics={"x": values})
    values[0], codes[0, 0] = 9, 9
    assert made["x"][0] == 0
    assert (made.codes == CODES).all()
    with pytest.raises(ValueError, match="read-only"):
        made.codes[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        made["x"][0] = 1


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(CodeError, match=r"no metric 'acuracy'; did you mean \['accuracy'\]"):
        table()["acuracy"]
    with pytest.raises(CodeError, match="there are accuracy, loss"):
        table().matrix(["loss", "mIoU"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metrics": {}}, "must have a metric"),
        ({"metrics": {"": np.arange(6.0)}}, "must have a name"),
        ({"metrics": {"Flops": np.arange(6.0)}}, "none of flops, params"),
        ({"metrics": {"x": np.arange(5.0)}}, "a value for each of 6 codes"),
        ({"metrics": {"x": np.array([0, 1, np.nan, 3, np.inf, 5])}}, r"must be finite \(got nan in row 2\)"),
        ({"codes": CODES[[0, 1, 2, 3, 1, 4]]}, "rows 1 and 4 .* the same code"),
        ({"codes": np.zeros((0, 6), dtype=int), "metrics": {"x": []}}, "must have a code"),
        ({"codes": CODES + 1}, "must be 0..4"),
        ({"space": MULTI_RESOLUTION}, "27"),
    ],
)
def test_wrong_tables_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises((CodeError, DataError), match=told):
        table(**changes)
