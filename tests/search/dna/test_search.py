from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.dna import (
    Cell,
    CostTable,
    Front,
    Ratings,
    cifar_space,
    cost_table,
    imagenet_space,
    mobile_operations,
    part_costs,
    predicted_losses,
    search,
)
from ppuda_like.search.dna._pareto import undominated
from tests.search.dna.spaces import all_numbers, instances

FIXTURES = Path(__file__).parents[2] / "fixtures"


def ordered(table: CostTable, ratings: Ratings, costs: tuple[str, ...], limits: dict[str, float]) -> list[list[int]]:
    """All networks within the limits, best first, found one by one."""
    numbers = all_numbers(ratings.space)
    found = table.costs_of(numbers, costs)
    losses = predicted_losses(ratings, numbers)
    inside = np.ones(len(numbers), dtype=bool)
    for name, limit in limits.items():
        inside &= found[:, costs.index(name)] <= limit
    inside_only = np.flatnonzero(inside)
    keys = [losses, *found.T, *numbers.T]
    order = np.lexsort([key[inside_only] for key in reversed(keys)])
    rows: list[list[int]] = numbers[inside_only[order]].tolist()
    return rows


def numbers_of(front: Front, limits: dict[str, float], count: int = 1) -> list[list[int]]:
    return [front.space.numbers(found.architecture).tolist() for found in front.top(count, limits)]


@settings(max_examples=200, deadline=None)
@given(instances(), st.floats(0, 1), st.integers(1, 4))
def test_one_cost_against_brute_force(instance: tuple[CostTable, Ratings], share: float, keep: int) -> None:
    table, ratings = instance
    every = table.costs_of(all_numbers(ratings.space), ["a"])[:, 0]
    limit = {"a": float(every.min() + share * (every.max() - every.min()))}
    expected = ordered(table, ratings, ("a",), limit)[:keep]
    assert numbers_of(search(ratings, "a", table=table, keep=keep), limit, keep) == expected
    assert numbers_of(search(ratings, "a", table=table, keep=keep, limits=limit), limit, keep) == expected


@settings(max_examples=100, deadline=None)
@given(instances(), st.floats(0, 1), st.floats(0, 1), st.integers(1, 3))
def test_two_costs_against_brute_force(
    instance: tuple[CostTable, Ratings], first: float, second: float, keep: int
) -> None:
    table, ratings = instance
    every = table.costs_of(all_numbers(ratings.space))
    span = every.max(axis=0) - every.min(axis=0)
    bounds = every.min(axis=0) + span * np.array([first, second])
    limits = {"a": float(bounds[0]), "b": float(bounds[1])}
    expected = ordered(table, ratings, ("a", "b"), limits)[:keep]
    front = search(ratings, ["a", "b"], table=table, keep=keep)
    if expected:
        assert numbers_of(front, limits, keep) == expected
        assert numbers_of(search(ratings, ["a", "b"], table=table, keep=keep, limits=limits), limits, keep) == expected
    else:
        with pytest.raises(CodeError, match="no network"):
            front.best(limits)
        with pytest.raises(CodeError, match="no network"):
            search(ratings, ["a", "b"], table=table, limits=limits)


@settings(max_examples=40, deadline=None)
@given(instances())
def test_the_front_is_what_no_other_network_dominates(instance: tuple[CostTable, Ratings]) -> None:
    table, ratings = instance
    numbers = all_numbers(ratings.space)
    for costs in (["a"], ["a", "b"]):
        points = np.column_stack((table.costs_of(numbers, costs), predicted_losses(ratings, numbers)))
        front = search(ratings, costs, table=table, keep=2)
        assert len(front) >= len(front.pareto())
        found = {tuple(row) for row in front.pareto().numbers.tolist()}
        expected = set()
        for i, point in enumerate(points):
            below = (points <= point).all(axis=1)
            equal = (points == point).all(axis=1)
            if not (below & ~equal).any() and not equal[:i].any():
                expected.add(tuple(numbers[i].tolist()))
        assert found == expected


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40),
    st.integers(1, 3),
)
def test_nothing_is_lost_that_can_be_among_the_best(points: list[tuple[int, int, int]], keep: int) -> None:
    for costs in (1, 2):
        array = np.array([point[:costs] for point in points])
        losses = np.array([point[2] for point in points], dtype=float)
        found = set(undominated(array, losses, keep).tolist())
        for i in range(len(points)):
            above = [
                (array[j] <= array[i]).all()
                and losses[j] <= losses[i]
                and (j < i or (array[j] != array[i]).any() or losses[j] != losses[i])
                for j in range(len(points))
            ]
            if sum(above) < keep:
                assert i in found
            elif costs == 1 or keep == 1:
                assert i not in found


@settings(max_examples=40, deadline=None)
@given(instances(), st.data())
def test_weights_and_products(instance: tuple[CostTable, Ratings], data: st.DataObject) -> None:
    table, ratings = instance
    numbers = all_numbers(ratings.space)
    weights = data.draw(st.lists(st.integers(-3, 3), min_size=numbers.shape[1], max_size=numbers.shape[1]))
    values = [ratings.values(stage)[numbers[:, stage]] for stage in range(numbers.shape[1])]
    searched = [paths > 1 for paths in ratings.space.num_paths]
    terms = [w * v for w, v, many in zip(weights, values, searched, strict=True) if many]
    expected = np.sum(terms, axis=0) if terms else np.zeros(len(numbers))
    losses = predicted_losses(ratings, numbers, weights=weights)
    np.testing.assert_allclose(losses, expected)
    assert search(ratings, "a", table=table, weights=weights).best().loss == pytest.approx(losses.min())
    product = np.prod([v for v, many in zip(values, searched, strict=True) if many], axis=0)
    found = search(ratings, "a", table=table, combine="product").best()
    assert found.loss == pytest.approx(np.min(product))
    np.testing.assert_allclose(predicted_losses(ratings, numbers, combine="product"), product * np.ones(len(numbers)))


def published(file_name: str = "dna_ratings.npz", **options: tuple[int, ...]) -> tuple[CostTable, Ratings]:
    """The default space with its last stage fixed; costs in K-MACs, part by part, as the published search has them."""
    with np.load(FIXTURES / file_name) as file:
        values = [file[f"stage{stage}"].astype(np.float64) for stage in range(5)]
    space = imagenet_space(fix_last=True, **options)
    table = cost_table(space, {"kmacs": lambda part: round(part_costs(part).flops_counter / 1000)})
    return table, Ratings.from_arrays(space, [*values, [1.0]])


def test_published_optima() -> None:
    table, ratings = published()
    assert table.first[3] + table.head[320][3] + table.layers[5, 0, 192][0, 0, 3] == 74_198
    front = search(ratings, "kmacs", table=table)
    optima = {
        330_000: 2.244522,
        360_000: 2.204155,
        400_000: 2.163492,
        430_000: 2.135204,
        460_000: 2.112539,
        500_000: 2.097977,
    }
    for limit, loss in optima.items():
        found = front.best({"kmacs": limit - 1})  # the published limits are strict
        assert round(found.loss, 6) == loss
        assert found.costs["kmacs"] < limit
        assert found.loss == predicted_losses(ratings, front.space.numbers(found.architecture)[None])[0]


def test_optima_where_the_published_search_does_not_end() -> None:
    table, ratings = published("dna_ratings_6_layers.npz", depths=(6, 6, 6, 6, 6, 1))  # rounded to half precision
    assert ratings.space.num_paths == (*[6**6] * 5, 1)
    front = search(ratings, "kmacs", table=table)
    optima = {
        600_000: 2.136719,
        700_000: 2.064941,
        765_000: 2.037354,
        800_000: 2.026611,
        850_000: 2.015381,
        900_000: 2.014893,
    }
    assert {limit: round(front.best({"kmacs": limit - 1}).loss, 6) for limit in optima} == optima


def test_one_front_answers_as_two_do() -> None:
    table, ratings = published()
    one, two = search(ratings, "macs", table=table), search(ratings, ("macs", "params"), table=table)
    assert len(two) > 10 * len(one)
    for place in range(0, len(one), 37):
        limit = {"macs": float(one.costs[place, 0])}
        assert str(two.best(limit)) == str(one.best(limit)) == str(one[place])


def test_budget_below_the_smallest_network() -> None:
    table, ratings = published()
    smallest = table.costs(table.space.parse("33 3333 3333 3333 3333 0"))["macs"]
    front = search(ratings, "macs", table=table)
    assert front.costs[0, 0] == smallest
    message = f"has macs <= 1,000; the smallest one has {smallest:,}"
    with pytest.raises(CodeError, match=message):
        front.best({"macs": 1_000})
    with pytest.raises(CodeError, match=message):
        search(ratings, "macs", table=table, limits={"macs": 1_000})
    with pytest.raises(CodeError, match="no network"):
        front.best({"macs": float("nan")})
    assert front.best({"macs": smallest}).costs["macs"] == smallest


def test_found_networks_can_be_built() -> None:
    space = cifar_space(depths=(1, 1, 1, 1))
    ratings = Ratings.from_arrays(space, [[0.3, 0.1, 0.5, 0.4]] * 4)
    found = search(ratings).best()
    assert str(found) == "1 1 1 1"
    assert found.costs == cost_table(space).costs(found.architecture)
    assert sum(part_costs(part).macs for part in found.definition.parts()) == found.costs["macs"]


def test_bad_searches() -> None:
    table, ratings = published()
    other = cifar_space()
    zeros = Ratings.from_arrays(cifar_space(depths=(1, 1, 1, 1)), [[0.0, 0.1, 0.5, 0.4]] * 4)
    for arguments, match in (
        ({"costs": ["macs", "params", "kmacs"]}, "one cost or two"),
        ({"costs": ["macs", "macs"]}, "one cost or two"),
        ({"costs": "flops"}, "no cost 'flops'"),
        ({"keep": 0}, "'keep' must be at least 1"),
        ({"limits": {"params": 1e9}}, "name them in 'costs' too"),
        ({"weights": [1.0]}, "one for each of 6 stages"),
        ({"combine": "mean"}, "'sum' or 'product'"),
        ({"table": cost_table(other)}, "of another space"),
    ):
        with pytest.raises(CodeError, match=match):
            search(ratings, **{"table": table, **arguments})  # type: ignore[arg-type]
    with pytest.raises(CodeError, match="needs positive ratings, stage 0"):
        search(zeros, combine="product")
    front = search(ratings, "macs", table=table)
    with pytest.raises(CodeError, match="set its 'keep'"):
        front.top(2)
    with pytest.raises(CodeError, match="not for 'params'"):
        front.best({"params": 1e9})


def test_cells_of_different_widths() -> None:
    """Where the width of a stage matters for the next one, the search is as exact."""
    space = cifar_space(depths=(1, 1, 1, 1), operations=mobile_operations((3,)))
    wide = [Cell(depth=1, width=width, operations=mobile_operations((3,))) for width in (24, 32, 16)]
    space = space.with_cells(0, wide).with_cells(2, wide)
    rng = np.random.default_rng(0)
    ratings = Ratings.from_arrays(space, [rng.uniform(0.3, 0.5, size=paths) for paths in space.num_paths])
    table = cost_table(space)
    numbers = all_numbers(space)
    costs, losses = table.costs_of(numbers, ["macs"])[:, 0], predicted_losses(ratings, numbers)
    front = search(ratings, "macs", table=table)
    for limit in np.quantile(costs, np.linspace(0, 1, 30)):
        best = losses[costs <= limit].min()
        assert front.best({"macs": limit}).loss == best
