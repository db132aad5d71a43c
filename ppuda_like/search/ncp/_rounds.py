"""Measuring networks and searching by what was measured, in turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp._constraints import Constraints
from ppuda_like.search.ncp._projection import Projection
from ppuda_like.search.ncp._search_comparison import Fit, Search
from ppuda_like.search.ncp._space import CodeSpace
from ppuda_like.search.ncp._table import CodeTable

__all__ = ["search_in_rounds"]

_DRAWS = 100  # of as many codes as are wanted, before giving up


def search_in_rounds(
    space: CodeSpace,
    measure: Callable[[NDArray[np.int64]], ArrayLike],
    fit: Fit,
    search: Search,
    *,
    metric: str = "metric",
    first: int = 100,
    rounds: int = 10,
    batch: int = 10,
    constraints: Constraints | None = None,
    measured: CodeTable | None = None,
    seed: int = 0,
) -> CodeTable:
    """Measure random codes, then, round by round, the ones that a search by a predictor of all so far finds best.

    What a predictor promises of the best codes is over-stated; measuring some of them and fitting anew corrects it
    where it matters.

    Args:
        space: of the codes.
        measure: trains the networks of codes ``(n, d)``, or looks them up, and returns what is to be large, ``(n,)``.
        fit: makes a predictor of a table of what was measured, by a seed: ``lambda table, seed: fit_predictor(table,
            seed=seed)``.
        search: finds codes by the predictor and a seed; the best new ones of them all are measured.
        metric: name of what is measured.
        first: random codes to begin with.
        rounds: of fit, search and measurement.
        batch: codes measured in a round; where the search finds fewer new ones, the rest is random.
        constraints: of the random codes; those of the search are its own.
        measured: an earlier result, whose codes count as the first ones; ``first`` is then not used.
        seed: of everything random.

    Returns:
        All measured codes, in the order of measurement.

    Raises:
        CodeError: if the space has no more new codes that meet the constraints.
        DataError: if measurements are not one finite number for each code, or a number is out of range.

    Example:
        >>> from ppuda_like.search.ncp import NASBENCH201, evolve, fit_predictor
        >>> found = search_in_rounds(
        ...     NASBENCH201,
        ...     lambda codes: (codes == 4).sum(axis=1),  # 3x3 convolutions
        ...     lambda table, seed: fit_predictor(table, "ridge", seed=seed),
        ...     lambda predictor, seed: evolve(predictor, {"metric": 1.0}, budget=100, seed=seed),
        ...     first=20,
        ...     rounds=2,
        ...     batch=5,
        ... )
        >>> len(found), float(found["metric"][20:].mean()) > float(found["metric"][:20].mean())
        (30, True)
    """
    for name, value, least in (("first", first, 2), ("rounds", rounds, 0), ("batch", batch, 1)):
        if value < least:
            raise DataError(f"'{name}' must be {least} or more (got {value})")
    projection = Projection(space, constraints)
    rng = np.random.default_rng(derived_seed(seed, "random codes"))
    if measured is None:
        codes = _new(projection, first, np.empty((0, len(space.names)), dtype=np.int64), rng)
        table = _table(space, metric, codes, _measured(measure, codes))
    else:
        table = _table(space, metric, measured.codes, measured[metric])
    for number in range(rounds):
        predictor = fit(table, derived_seed(seed, "fit", number))
        found = search(predictor, derived_seed(seed, "search", number)).top(batch, without=table.codes)
        known = np.concatenate((table.codes, found))
        codes = np.concatenate((found, _new(projection, batch - len(found), known, rng)))
        values = np.concatenate((table[metric], _measured(measure, codes)))
        table = _table(space, metric, np.concatenate((table.codes, codes)), values)
    return table


def _new(projection: Projection, num: int, known: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """So many codes, drawn at random, that are not among those known."""
    seen = {tuple(code) for code in known.tolist()}
    found: list[NDArray[np.int64]] = []
    for _ in range(_DRAWS):
        if len(found) == num:
            break
        for code in projection.codes(projection.space.sample(num, rng)):
            key = tuple(code.tolist())
            if key not in seen and len(found) < num:
                seen.add(key)
                found.append(code)
    if len(found) < num:
        raise CodeError(
            f"no {num} codes of '{projection.space.name}' beside {len(known)} were found that meet "
            f"{projection.constraints}; measure fewer"
        )
    return np.array(found, dtype=np.int64).reshape(num, known.shape[1])


def _measured(measure: Callable[[NDArray[np.int64]], ArrayLike], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.asarray(measure(codes), dtype=np.float64)
    if values.shape != (len(codes),) or not np.isfinite(values).all():
        raise DataError(
            f"'measure' must return a finite number for each of {len(codes)} codes (got shape {values.shape}: {values})"
        )
    return values


def _table(space: CodeSpace, metric: str, codes: NDArray[np.int64], values: NDArray[np.float64]) -> CodeTable:
    return CodeTable(name="measured", space=space, codes=codes, metrics={metric: values})
