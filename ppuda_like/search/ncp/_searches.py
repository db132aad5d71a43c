"""Searches that ask predictors about whole codes only, to compare editing with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._bound import BoundObjective, Predictors
from ppuda_like.search.ncp._constraints import Constraints
from ppuda_like.search.ncp._edit import Rule, edit
from ppuda_like.search.ncp._notches import every_code, notches
from ppuda_like.search.ncp._objective import Objective
from ppuda_like.search.ncp._projection import Projection
from ppuda_like.search.ncp._search_result import SearchResult

__all__ = ["edit_search", "evolve", "local_search", "random_search", "score_all"]

Codes = NDArray[np.int64]
_BATCH = 256  # random codes drawn and scored at once
_FEW = 4  # neighbours scored at once
_IDLE = 2000  # codes asked about in a row that were known, after which a space counts as exhausted


def random_search(
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
    *,
    budget: int = 1000,
    seed: int = 0,
) -> SearchResult:
    """Score codes drawn uniformly; what breaks the constraints is moved to where it does not.

    Args:
        predictors: one or several, on one space of codes.
        objective: what should be large, or weights of its terms.
        constraints: on the exact costs.
        budget: codes to score.
        seed: of the draws.

    Raises:
        CodeError: as :func:`edit`.
    """

    def run(task: _Task, rng: np.random.Generator) -> None:
        while task.is_open:
            task.score(task.draw(_BATCH, rng))

    return _searched("random", run, predictors, objective, constraints, budget, seed)


def local_search(
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
    *,
    budget: int = 1000,
    seed: int = 0,
    starts: ArrayLike | None = None,
) -> SearchResult:
    """Go to a better code one notch away as long as there is one, then start again elsewhere.

    Neighbours are looked at in random order, four at a time, and the best of the first four with a better one is taken.

    Args:
        predictors: one or several, on one space of codes.
        objective: what should be large, or weights of its terms.
        constraints: on the exact costs.
        budget: codes to score.
        seed: of the starts.
        starts: codes to start from first, one after the other.

    Raises:
        CodeError: as :func:`edit`.
    """

    def run(task: _Task, rng: np.random.Generator) -> None:
        given = deque([] if starts is None else list(task.projection.codes(task.bound.space.check(starts))))
        while task.is_open:
            code = given.popleft()[None] if given else task.draw(1, rng)
            value = task.score(code)[0]
            near = task.neighbours(code[0])
            while task.is_open and len(near):
                near = rng.permutation(near)
                for begin in range(0, len(near), _FEW):
                    some = near[begin : begin + _FEW]
                    values = task.score(some)
                    if values.max() > value:
                        value, code = values.max(), some[values.argmax()][None]
                        near = task.neighbours(code[0])
                        break
                else:
                    break

    return _searched("local", run, predictors, objective, constraints, budget, seed)


def evolve(
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
    *,
    budget: int = 1000,
    seed: int = 0,
    population: int = 50,
    sample: int = 10,
    mutations: int = 1,
) -> SearchResult:
    """Regularised evolution (arXiv:1802.01548): the best of a sample has a mutated child, and the oldest dies.

    A mutation is a notch that keeps to the constraints, drawn uniformly.

    Args:
        predictors: one or several, on one space of codes.
        objective: what should be large, or weights of its terms.
        constraints: on the exact costs.
        budget: codes to score.
        seed: of the first population, samples and mutations.
        population: codes alive.
        sample: of them, drawn for each tournament without replacement.
        mutations: notches between parent and child.

    Raises:
        CodeError: as :func:`edit`, or if a setting is out of range.
    """
    if not 1 <= sample <= population:
        raise CodeError(f"'sample' must be 1 or more and at most 'population' (got {sample} and {population})")
    if mutations < 1:
        raise CodeError(f"'mutations' must be 1 or more (got {mutations})")

    def run(task: _Task, rng: np.random.Generator) -> None:
        codes = task.draw(population, rng)
        alive = deque(zip(codes, task.score(codes), strict=True))
        while task.is_open:
            rivals = rng.choice(len(alive), sample, replace=False)
            child = max((alive[i] for i in rivals), key=lambda one: one[1])[0]
            for _ in range(mutations):
                near = task.neighbours(child)
                child = near[rng.integers(len(near))] if len(near) else child
            alive.append((child, task.score(child[None])[0]))
            alive.popleft()

    return _searched("evolution", run, predictors, objective, constraints, budget, seed)


def score_all(
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
) -> SearchResult:
    """Score every code of a small space that meets the constraints.

    Args:
        predictors: one or several, on one space of codes.
        objective: what should be large, or weights of its terms.
        constraints: on the exact costs.

    Raises:
        CodeError: as :func:`edit`, or if the space is too large to be listed.
    """
    bound = BoundObjective(objective, predictors)
    codes = every_code(bound.space)
    codes = codes[Projection(bound.space, constraints).met(codes)]
    return SearchResult(
        strategy="all",
        space=bound.space.name,
        codes=codes,
        objective=bound.score(codes, with_stds=False).objective,
        calls=np.arange(1, len(codes) + 1),
    )


def edit_search(
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
    *,
    budget: int = 1000,
    seed: int = 0,
    steps: int = 20,
    rule: Rule = "continuous",
    lr: float = 3.0,
    lookahead: int = 1,
) -> SearchResult:
    """Edit codes drawn uniformly, one after the other, as long as the budget lasts.

    Args:
        predictors: one or several, on one space of codes.
        objective: what should be large, or weights of its terms.
        constraints: on the exact costs.
        budget: calls; a relaxed code and its rounding are one each.
        seed: of the starts.
        steps: of each edit; see :func:`edit`.
        rule: of the edits.
        lr: of the continuous rule.
        lookahead: of the winner rule.

    Raises:
        CodeError: as :func:`edit`, or if the budget is not enough for a step.
    """
    space = BoundObjective(objective, predictors).space
    calls = 2 if rule == "continuous" else 1 + (lookahead if lookahead > 1 else 0)
    if budget < calls:
        raise CodeError(f"a step of an edit takes {calls} calls; raise 'budget' (got {budget})")
    starts = space.sample(-(-budget // (calls * steps)), np.random.default_rng(seed))
    trajectory = edit(
        starts,
        predictors,
        objective,
        constraints,
        steps=steps,
        rule=rule,
        lr=lr,
        lookahead=lookahead,
        with_stds=False,
    )
    found = SearchResult.of_edits(trajectory, "edit" if rule == "continuous" else "winner")
    within = found.calls <= budget
    return SearchResult(
        strategy=found.strategy,
        space=found.space,
        codes=found.codes[within],
        objective=found.objective[within],
        calls=found.calls[within],
    )


class _Task:
    """Codes and the predictors' opinion of them, as far as a budget goes; a code asked about again is free."""

    def __init__(self, bound: BoundObjective, projection: Projection, budget: int) -> None:
        self.bound, self.projection, self.budget = bound, projection, budget
        self.values: dict[bytes, float] = {}
        self.codes: list[Codes] = []
        self._idle = 0

    @property
    def is_open(self) -> bool:
        """Whether budget is left, and there still seem to be codes to spend it on."""
        return len(self.codes) < self.budget and self._idle < _IDLE

    def draw(self, num: int, rng: np.random.Generator) -> Codes:
        """Codes that meet the constraints, at random."""
        return self.projection.codes(self.bound.space.sample(num, rng))

    def neighbours(self, code: Codes) -> Codes:
        """Codes one notch away that meet the constraints."""
        near, legal = notches(self.bound.space, code[None])
        found = near[legal]
        return np.asarray(found[self.projection.met(found)])

    def score(self, codes: Codes) -> NDArray[np.float64]:
        """The objective of codes; minus infinity for those that the budget does not reach."""
        left = self.budget - len(self.codes)
        new: dict[bytes, Codes] = {}
        for code in codes:
            if code.tobytes() not in self.values:
                new.setdefault(code.tobytes(), code)
        names = list(new)[:left]
        if names:
            scores = self.bound.score(np.stack([new[name] for name in names]), with_stds=False)
            self.values.update(zip(names, scores.objective.tolist(), strict=True))
            self.codes += [new[name] for name in names]
        self._idle = 0 if names else self._idle + len(codes)
        return np.array([self.values.get(code.tobytes(), -np.inf) for code in codes])


def _searched(
    strategy: str,
    run: Callable[[_Task, np.random.Generator], None],
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None,
    budget: int,
    seed: int,
) -> SearchResult:
    if budget < 1:
        raise CodeError(f"'budget' must be 1 or more (got {budget})")
    bound = BoundObjective(objective, predictors)
    task = _Task(bound, Projection(bound.space, constraints), budget)
    run(task, np.random.default_rng(seed))
    return SearchResult(
        strategy=strategy,
        space=bound.space.name,
        codes=np.stack(task.codes),
        objective=np.array(list(task.values.values())),
        calls=np.arange(1, len(task.codes) + 1),
    )
