import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    Constraints,
    SearchResult,
    edit,
    edit_search,
    evolve,
    local_search,
    random_search,
    score_all,
)
from ppuda_like.search.ncp._notches import every_code
from tests.search.ncp.toys import Toy

SEARCHES = pytest.mark.parametrize("search", [random_search, local_search, evolve, edit_search])
SPACES = pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=lambda space: space.name)


class Counting(Toy):
    """Knows how many codes it was asked about, and which."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[tuple[int, ...]] = []

    def predict(self, codes, return_std=False):
        self.asked += map(tuple, np.asarray(codes).tolist())
        return super().predict(codes, return_std)


@SPACES
@SEARCHES
def test_searches_keep_to_budget_and_constraints_and_score_truly(search, space) -> None:
    limits = Constraints(max_flops=float(np.median(space.costs(space.sample(99, np.random.default_rng(0)))[:, 0])))
    predictor = Counting(space)
    found = search(predictor, {"acc": 1.0}, limits, budget=201, seed=3)
    assert limits.met(space.costs(found.codes)).all()
    assert found.num_calls <= 201
    assert len(np.unique(found.codes, axis=0)) == len(found.codes)
    np.testing.assert_allclose(found.objective, Toy(space).predict(found.codes)[:, 0] / predictor.scale[0])
    if search is not edit_search:
        assert len(predictor.asked) == len(set(predictor.asked)) == found.num_calls == 201
    again = search(Toy(space), {"acc": 1.0}, limits, budget=201, seed=3)
    np.testing.assert_array_equal(found.codes, again.codes)
    other = search(Toy(space), {"acc": 1.0}, limits, budget=201, seed=4)
    assert found.codes.shape != other.codes.shape or (found.codes != other.codes).any()


@SEARCHES
def test_a_larger_budget_begins_as_a_smaller_one_does(search) -> None:
    few, many = (search(Toy(NASBENCH201), {"acc": 1.0}, budget=budget, seed=1) for budget in (120, 200))
    np.testing.assert_array_equal(many.codes[: len(few.codes)], few.codes)


def test_local_search_ends_its_climbs_at_optima() -> None:
    predictor = Toy(NASBENCH201)
    found = local_search(predictor, {"acc": 1.0}, budget=2000, seed=0)
    around = predictor.predict(NASBENCH201.neighbours(found.best()))[:, 0]
    assert around.max() <= predictor.predict(found.best()[None])[0, 0]


def test_local_search_starts_where_it_is_told() -> None:
    start = MULTI_RESOLUTION.sample(1, np.random.default_rng(9))
    found = local_search(Toy(MULTI_RESOLUTION), {"acc": 1.0}, budget=30, starts=start)
    np.testing.assert_array_equal(found.codes[:1], start)
    assert ((found.codes[1:5] != start).sum(axis=1) == 1).all()


def test_guided_searches_find_more_than_chance() -> None:
    predictor = Toy(MULTI_RESOLUTION)
    best = {}
    for search in (random_search, local_search, evolve, edit_search):
        best[search] = [search(predictor, {"acc": 1.0}, budget=400, seed=seed).objective.max() for seed in range(2)]
    assert min(min(best[search]) for search in (local_search, evolve, edit_search)) > max(best[random_search])


@SEARCHES
def test_a_budget_beyond_the_space_ends(search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppuda_like.search.ncp._searches._IDLE", 120)
    few = Constraints(max_flops=float(np.sort(NASBENCH201.costs(every_code(NASBENCH201))[:, 0])[60]))
    every = score_all(Toy(NASBENCH201), {"acc": 1.0}, few)
    found = search(Toy(NASBENCH201), {"acc": 1.0}, few, budget=1000)
    assert set(map(tuple, found.codes.tolist())) <= set(map(tuple, every.codes.tolist()))
    assert found.objective.max() == pytest.approx(every.objective.max())


def test_all_codes_are_scored_once() -> None:
    found = score_all(Toy(NASBENCH201), {"acc": 1.0})
    assert len(np.unique(found.codes, axis=0)) == len(found.codes) == found.num_calls == 5**6
    with pytest.raises(CodeError, match="too many to list"):
        score_all(Toy(MULTI_RESOLUTION), {"acc": 1.0})


def test_the_best_after_a_budget_is_the_first_highest_known_by_then() -> None:
    found = random_search(Toy(NASBENCH201), {"acc": 1.0}, budget=50)
    for budget in range(1, 51):
        row = int(found.best_after([budget])[0])
        assert row == int(np.argmax(found.objective[:budget]))
        np.testing.assert_array_equal(found.best(budget), found.codes[row])
    with pytest.raises(DataError, match="first code was scored at call 1"):
        found.best(0)


@pytest.mark.parametrize(("rule", "calls"), [("continuous", 2), ("winner", 1)])
def test_edits_count_each_step(rule, calls) -> None:
    starts = NASBENCH201.sample(3, np.random.default_rng(0))
    trajectory = edit(starts, Toy(NASBENCH201), {"acc": 1.0}, steps=7, rule=rule)
    found = SearchResult.of_edits(trajectory)
    flat = [tuple(code) for start in range(3) for code in trajectory.codes[:, start].tolist()]
    assert found.codes.tolist() == [list(code) for code in dict.fromkeys(flat)]
    assert found.calls.tolist() == [calls * (flat.index(tuple(code)) + 1) for code in found.codes.tolist()]
    assert found.objective.max() == trajectory.best().objective


@pytest.mark.parametrize(
    ("search", "settings", "message"),
    [
        (random_search, {"budget": 0}, "'budget' must be 1 or more"),
        (edit_search, {"budget": 1}, "takes 2 calls; raise 'budget'"),
        (evolve, {"sample": 60}, "'sample' must be 1 or more and at most 'population'"),
        (evolve, {"mutations": 0}, "'mutations' must be 1 or more"),
    ],
)
def test_bad_settings_are_named(search, settings, message) -> None:
    with pytest.raises(CodeError, match=message):
        search(Toy(NASBENCH201), {"acc": 1.0}, **settings)


def test_results_that_do_not_fit_together_are_refused() -> None:
    codes, values = np.ones((2, 6), dtype=np.int64), np.zeros(2)
    for calls, message in ((np.array([1]), "objective and a number of calls each"), (np.array([2, 1]), "never fall")):
        with pytest.raises(DataError, match=message):
            SearchResult(strategy="x", space="toy", codes=codes, objective=values, calls=calls)
