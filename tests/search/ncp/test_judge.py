import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    CodeTable,
    judge,
    nearest_rows,
    random_search,
    regret_curve,
    true_rank,
)
from ppuda_like.search.ncp._notches import every_code
from tests.search.ncp.toys import Toy


def table_of(num: int) -> CodeTable:
    codes = every_code(NASBENCH201)[:num]
    accuracy = np.random.default_rng(0).integers(0, 500, num).astype(float)
    return CodeTable(name="cells", space=NASBENCH201, codes=codes, metrics={"acc": accuracy, "loss": -accuracy})


def test_judges_of_one_table_stand_side_by_side() -> None:
    judges = [Toy(NASBENCH201, "a", seed=1), Toy(NASBENCH201, "a", seed=2), Toy(NASBENCH201, "b", ("acc",), seed=3)]
    codes = NASBENCH201.sample(4, np.random.default_rng(0))
    found = judge(codes, judges)
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == {"a.acc": (2, 4), "a.top5": (2, 4), "b.acc": (1, 4)}
    np.testing.assert_array_equal(found["a.acc"][1], judges[1].predict(codes)[:, 0])


def test_nearest_rows_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    codes = MULTI_RESOLUTION.sample(50, rng)
    table = CodeTable(name="t", space=MULTI_RESOLUTION, codes=codes, metrics={"top1": np.arange(50.0)})
    asked = MULTI_RESOLUTION.sample(7, rng)
    found = nearest_rows(asked, table, k=3)
    bounds = zip(MULTI_RESOLUTION.low, MULTI_RESOLUTION.high, strict=True)
    unit = np.array([np.std(np.arange(low, high + 1, low)) for low, high in bounds])
    away = np.sqrt((((asked[:, None] - codes) / unit) ** 2).sum(axis=2))
    np.testing.assert_array_equal(found.rows, away.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(found.distances, np.sort(away, axis=1)[:, :3])
    np.testing.assert_array_equal(found.metrics["top1"], found.rows)
    with pytest.raises(DataError, match=r"'k' must be 1\.\.50"):
        nearest_rows(asked, table, k=51)


def test_a_row_is_nearest_to_itself() -> None:
    table = table_of(100)
    found = nearest_rows(table.codes, table, k=1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(100))
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)


def test_rank_counts_the_better_ones() -> None:
    table = table_of(200)
    found = true_rank(table.codes, table)
    expected = [1 + (table["acc"] > value).sum() for value in table["acc"]]
    np.testing.assert_array_equal(found, expected)
    assert true_rank(table.codes, table, "loss")[table["acc"].argmin()] == 1
    with pytest.raises(CodeError, match="was not measured in table 'cells'"):
        true_rank([4, 4, 4, 4, 4, 4], table)
    with pytest.raises(CodeError, match="no metric 'speed'"):
        true_rank(table.codes, table, "speed")


def test_regret_is_that_of_the_code_that_seems_best() -> None:
    table = table_of(5**6)
    result = random_search(Toy(NASBENCH201), {"acc": 1.0}, budget=40)
    found = regret_curve(result, table, [1, 10, 40])
    for budget, regret in zip((1, 10, 40), found, strict=True):
        row = np.flatnonzero((table.codes == result.best(budget)).all(axis=1))[0]
        assert regret == table["acc"].max() - table["acc"][row]
