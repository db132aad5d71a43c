import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp import (
    NASBENCH201,
    CodeTable,
    Constraints,
    SearchResult,
    random_search,
    score_all,
    search_in_rounds,
)
from ppuda_like.search.ncp._notches import every_code
from tests.search.ncp.toys import Toy

ORACLE = Toy(NASBENCH201, "measured", ("acc",))


def truth(codes: np.ndarray) -> np.ndarray:
    return ORACLE.predict(codes)[:, 0]


def look_everywhere(predictor, seed: int) -> SearchResult:
    return score_all(predictor, {"acc": 1.0})


SETTINGS = {"metric": "acc", "first": 12, "rounds": 3, "batch": 4}


def test_a_perfect_predictor_leads_to_the_best_codes_in_order() -> None:
    found = search_in_rounds(NASBENCH201, truth, lambda table, seed: ORACLE, look_everywhere, **SETTINGS)
    every = every_code(NASBENCH201)
    values = np.sort(truth(every))[::-1]
    measured = found["acc"]
    assert len(found) == 12 + 3 * 4
    np.testing.assert_array_equal(measured, truth(found.codes))
    luck = set(measured[:12])
    expected = [value for value in values[:24] if value not in luck][:12]
    np.testing.assert_allclose(measured[12:], expected)


def test_each_round_knows_all_that_was_measured_before() -> None:
    sizes, seeds = [], []

    def fit(table: CodeTable, seed: int) -> Toy:
        sizes.append(len(table))
        seeds.append(seed)
        return ORACLE

    search_in_rounds(NASBENCH201, truth, fit, look_everywhere, **SETTINGS)
    assert sizes == [12, 16, 20]
    assert len(set(seeds)) == 3


def test_a_search_that_finds_too_few_is_filled_up_at_random() -> None:
    found = search_in_rounds(
        NASBENCH201,
        truth,
        lambda table, seed: ORACLE,
        lambda predictor, seed: random_search(predictor, {"acc": 1.0}, budget=1, seed=0),
        **SETTINGS,
    )
    assert len(found) == 24  # a table holds no code twice


def test_equal_seeds_measure_equal_codes_and_results_go_on() -> None:
    def run(rounds: int, measured: CodeTable | None = None, seed: int = 0) -> CodeTable:
        settings = SETTINGS | {"rounds": rounds, "measured": measured, "seed": seed}
        return search_in_rounds(NASBENCH201, truth, lambda table, seed: ORACLE, look_everywhere, **settings)

    whole = run(2)
    np.testing.assert_array_equal(whole.codes, run(2).codes)
    assert (whole.codes[:12] != run(2, seed=1).codes[:12]).any()
    np.testing.assert_array_equal(run(1, run(1)).codes, whole.codes)


def test_random_codes_meet_the_constraints() -> None:
    limits = Constraints(max_params=200_000)
    settings = SETTINGS | {"rounds": 0, "constraints": limits}
    found = search_in_rounds(NASBENCH201, truth, lambda table, seed: ORACLE, look_everywhere, **settings)
    assert limits.met(NASBENCH201.costs(found.codes)).all()


def test_a_space_without_further_codes_is_said_to_be_so() -> None:
    every = every_code(NASBENCH201)
    least = float(np.unique(NASBENCH201.costs(every)[:, 0])[0])
    limits = Constraints(max_flops=least)
    few = int(limits.met(NASBENCH201.costs(every)).sum())
    settings = SETTINGS | {"first": few + 1, "constraints": limits}
    with pytest.raises(CodeError, match=f"no {few + 1} codes of 'nas-bench-201' beside 0 were found that meet"):
        search_in_rounds(NASBENCH201, truth, lambda table, seed: ORACLE, look_everywhere, **settings)


@pytest.mark.parametrize("value", [np.nan, [[1.0]]])
def test_bad_measurements_are_refused(value) -> None:
    with pytest.raises(DataError, match="'measure' must return a finite number for each of 12 codes"):
        search_in_rounds(
            NASBENCH201,
            lambda codes: np.full(len(codes), value) if np.isscalar(value) else value,
            lambda table, seed: ORACLE,
            look_everywhere,
            **SETTINGS,
        )


@pytest.mark.parametrize("setting", [{"first": 1}, {"rounds": -1}, {"batch": 0}])
def test_bad_settings_are_named(setting) -> None:
    with pytest.raises(DataError, match=f"'{next(iter(setting))}' must be"):
        search_in_rounds(NASBENCH201, truth, lambda table, seed: ORACLE, look_everywhere, **(SETTINGS | setting))


def test_top_is_sorted_and_without_what_is_known() -> None:
    codes = NASBENCH201.sample(30, np.random.default_rng(0))
    codes = np.unique(codes, axis=0)
    value = truth(codes)
    found = SearchResult(strategy="x", space="s", codes=codes, objective=value, calls=np.arange(1, len(codes) + 1))
    order = np.argsort(-value)
    np.testing.assert_array_equal(found.top(3), codes[order[:3]])
    np.testing.assert_array_equal(found.top(3, without=codes[order[[0, 2]]]), codes[order[[1, 3, 4]]])
    assert len(found.top(99)) == len(codes)
