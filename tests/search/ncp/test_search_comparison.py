import csv

import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp import (
    NASBENCH201,
    CodeTable,
    SearchComparison,
    compare_searches,
    random_search,
    score_all,
    true_rank,
)
from ppuda_like.search.ncp._notches import every_code
from tests.search.ncp.toys import Toy

ORACLE = Toy(NASBENCH201, "cells")
CODES = every_code(NASBENCH201)
TABLE = CodeTable(name="cells", space=NASBENCH201, codes=CODES, metrics={"acc": ORACLE.predict(CODES)[:, 0]})
SEARCHES = {
    "all": lambda predictor, seed: score_all(predictor, {"acc": 1.0}),
    "random": lambda predictor, seed: random_search(predictor, {"acc": 1.0}, budget=60, seed=seed),
}


@pytest.fixture(scope="module")
def comparison() -> SearchComparison:
    return compare_searches(
        TABLE, lambda part, seed: ORACLE, SEARCHES, budgets=(20, 60, 15_625), train_size=30, seeds=3
    )


def test_who_knows_the_truth_and_looks_everywhere_is_first(comparison: SearchComparison) -> None:
    assert (comparison.ranks["all"][:, -1] == 1).all()
    assert (comparison.regrets["all"][:, -1] == 0).all()
    assert comparison.calls_to_reach("all", 1) in (20, 60, 15_625)
    assert comparison.calls_to_reach("random", 1) is None


def test_truth_of_a_perfect_predictor_is_what_the_search_found(comparison: SearchComparison) -> None:
    ranks = comparison.ranks["random"]
    assert (np.diff(ranks, axis=1) <= 0).all()  # here, what seems better is better
    assert (ranks[:, 1] == ranks[:, 2]).all()  # 60 calls were all
    assert len(set(ranks[:, -1])) > 1


def test_each_seed_draws_its_codes_and_knows_the_best_of_them() -> None:
    parts = []

    def fit(part: CodeTable, seed: int) -> Toy:
        parts.append((seed, part))
        return ORACLE

    found = compare_searches(TABLE, fit, {"random": SEARCHES["random"]}, budgets=(60,), train_size=30, seeds=(5, 9))
    assert [seed for seed, _ in parts] == [5, 9]
    assert found.start_ranks.tolist() == [true_rank(part.codes, TABLE).min() for _, part in parts]
    assert (parts[0][1].codes != parts[1][1].codes).any()


def test_nothing_is_known_before_the_first_call() -> None:
    def late(predictor, seed):
        result = random_search(predictor, {"acc": 1.0}, budget=10, seed=seed)
        return type(result)(**{**vars(result), "calls": result.calls + 99})

    found = compare_searches(TABLE, lambda part, seed: ORACLE, {"late": late}, budgets=(50, 200), seeds=2)
    assert np.isnan(found.ranks["late"][:, 0]).all()
    assert found.calls_to_reach("late", 15_625) == 200


def test_summary_and_csv_hold_every_search(comparison: SearchComparison, tmp_path) -> None:
    lines = comparison.summary().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["best of 30 measured", "all", "random"]
    comparison.to_csv(tmp_path / "searches.csv")
    with (tmp_path / "searches.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 3
    assert float(rows[0]["rank"]) == comparison.ranks["all"][0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budgets": (10, 10)}, "'budgets' must be numbers above 0 that ascend"),
        ({"train_size": 15_626}, r"'train_size' must be 1\.\.15625"),
        ({"seeds": 0}, "there must be a seed and a search"),
    ],
)
def test_bad_settings_are_named(settings, message) -> None:
    with pytest.raises(DataError, match=message):
        compare_searches(TABLE, lambda part, seed: ORACLE, SEARCHES, **settings)


def test_unknown_searches_are_named(comparison: SearchComparison) -> None:
    with pytest.raises(CodeError, match="no search 'luck'"):
        comparison.calls_to_reach("luck", 1)
