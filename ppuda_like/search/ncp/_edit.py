"""Editing codes along the gradient of predictors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._bound import BoundObjective, EditablePredictor, Predictors
from ppuda_like.search.ncp._constraints import Constraints
from ppuda_like.search.ncp._notches import gains, is_categorical, nearest_shares, notches, num_choices, opposite, spread
from ppuda_like.search.ncp._objective import Objective
from ppuda_like.search.ncp._projection import Projection
from ppuda_like.search.ncp._trajectory import EditTrajectory

__all__ = ["Rule", "edit", "edit_published"]

Rule = Literal["continuous", "winner"]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_RULES = ("continuous", "winner")
_LOOKED_AT = 12  # of the most promising notches; the first that meets the constraints is taken


def edit(
    codes: ArrayLike,
    predictors: Predictors,
    objective: Objective | Mapping[str, float],
    constraints: Constraints | None = None,
    *,
    steps: int = 70,
    lr: float = 3.0,
    rule: Rule = "continuous",
    scale: ArrayLike | None = None,
    shares: bool = True,
    winners: int = 1,
    lookahead: int = 1,
    tabu: int = 10,
    with_stds: bool = True,
    precision: torch.dtype = torch.float32,
) -> EditTrajectory:
    """Move codes to where predictors promise more, all of them at once.

    The continuous rule is network coding propagation (arXiv:2103.13253): every number of the relaxed code moves by
    ``lr`` times the gradient of the objective, both in units of ``scale``, is clamped to the bounds of the space, and
    then rounded.  Of a cell the shares of operations are moved.  The winner-takes-all rule moves legal codes by the
    ``winners`` notches that promise most to first order, leaving all other numbers; a notch is not undone for the next
    ``tabu`` steps, and an edit stops where no notch promises anything.

    Every rounded code meets the constraints, the start included; see :class:`Constraints`.  Tasks are edited for
    jointly by giving a predictor of each, and an edit for one task is transferred to another by starting from its
    result.

    Args:
        codes: to start from, ``(n, d)``, or one code.
        predictors: one or several of different tables, on one space of codes.
        objective: what to make large, or weights of its terms.
        constraints: on the exact costs.
        steps: codes in the trajectory of each start: the start itself, and the results of one update less.
        lr: step size of the continuous rule.
        rule: ``"continuous"`` or ``"winner"``.
        scale: units that the continuous rule moves numbers in, ``(r,)``; None for their standard deviation over codes
            drawn uniformly from the space.
        shares: whether the relaxed numbers of a choice are kept to shares that sum to 1, after each step of the
            continuous rule; otherwise only between 0 and 1.
        winners: numbers that the winner rule changes at a step.
        lookahead: above 1, the winner rule scores so many of the most promising notches by the predictors, takes the
            best, and stops where none of them is better than staying.
        tabu: steps for which the winner rule does not undo a notch.
        with_stds: state standard deviations of predictions too, which takes some predictors longer.
        precision: that predictors are asked in; ``torch.float64`` takes some of them twice as long.

    Raises:
        CodeError: if codes are not of the space, a term of the objective is unknown, no code meets the constraints, or
            a setting is out of range.

    Example:
        >>> import numpy as np, torch
        >>> from ppuda_like.search.ncp import MULTI_RESOLUTION
        >>> class Shallow:  # predicts that few residual blocks are best
        ...     table, space, metrics, scale = "toy", MULTI_RESOLUTION, ("top1",), np.ones(1)
        ...     def forward(self, relaxed, *, with_std=True):
        ...         mean = -relaxed[:, [3, 6, 7]].sum(dim=1, keepdim=True)
        ...         return mean, torch.zeros_like(mean)
        ...     def predict(self, codes, return_std=False):
        ...         mean = -codes[:, [3, 6, 7]].sum(axis=1, keepdims=True).astype(float)
        ...         return (mean, np.zeros_like(mean)) if return_std else mean
        >>> start = MULTI_RESOLUTION.round((MULTI_RESOLUTION.low + MULTI_RESOLUTION.high) / 2)
        >>> found = edit(start, Shallow(), {"top1": 1.0}, Constraints(max_flops=2e9), steps=5).best()
        >>> found.predictions, found.flops < 2e9
        ({'toy.top1': -3.0}, True)
    """
    bound = BoundObjective(objective, predictors, precision)
    space = bound.space
    _check_settings(steps, lr, rule, winners, lookahead, tabu)
    units = _units(scale, spread(space))
    start = space.check(codes)
    if not len(start):
        raise CodeError("there is no code to start from; give one or several")
    projection = Projection(space, constraints)
    if rule == "continuous":
        visited, relaxed, promised = _continuous(
            start, bound, projection, steps, lr * units**2, shares and is_categorical(space)
        )
    else:
        visited, relaxed, promised = _winner(start, bound, projection, steps, winners, lookahead, tabu)
    flat = visited.reshape(-1, visited.shape[-1])
    # The numbers are small, and short rows of bytes are sorted ten times as fast as rows of numbers.
    rows = np.ascontiguousarray(flat, dtype=np.int16).view(np.dtype((np.void, 2 * flat.shape[1])))[:, 0]
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    scores = bound.score_as_relaxed(flat[first], with_stds=with_stds)
    scored = [values[which].reshape(*visited.shape[:2], *values.shape[1:]) for values in scores]
    return EditTrajectory(
        space=space.name,
        metrics=bound.metrics,
        codes=visited,
        relaxed=relaxed,
        relaxed_predictions=promised,
        objective=scored[0],
        predictions=scored[1],
        stds=scored[2],
        costs=scored[3],
        calls_per_step=2 if rule == "continuous" else 1 + winners * (lookahead if lookahead > 1 else 0),
    )


def edit_published(
    codes: ArrayLike,
    predictor: EditablePredictor,
    *,
    alpha: float = 0.5,
    steps: int = 70,
    lr: float = 3.0,
    scale: ArrayLike | None = None,
) -> EditTrajectory:
    """Edit exactly as the published tool does (arXiv:2103.13253): FLOPs are as predicted, and nothing is constrained.

    At each of its iterations, the tool sets the main metric a target that lies above the prediction and the FLOPs one
    that lies below, takes the sum of the L1 distances to them, with weight ``alpha`` of the latter, and makes a step of
    plain gradient descent on the standardised code, which it then clamps to the bounds.  It records the code before
    each step.

    Args:
        codes: to start from, ``(n, d)``, or one code; the tool's own is 64 channels and counts of 2 everywhere.
        predictor: one that predicts ``"flops"`` as well, unless ``alpha`` is 0.
        alpha: weight of the FLOPs.
        steps: iterations; the published number is 70.
        lr: learning rate.
        scale: what codes are standardised by, ``(r,)``: the standard deviation of each number over the table.  None for
            the predictor's own, its estimator's ``input_scale_``.

    Raises:
        CodeError: as :func:`edit`; or if the predictor does not predict what is needed, or does not state its scale.
    """
    if scale is None:
        scale = getattr(getattr(predictor, "estimator", None), "input_scale_", None)
    if scale is None:
        raise CodeError(
            f"the predictor of '{predictor.table}' does not state what it standardises codes by; give 'scale', the "
            "standard deviation of each number over the table's codes"
        )
    objective = Objective.published(predictor, alpha)
    return edit(codes, predictor, objective, steps=steps, lr=lr, scale=scale, precision=torch.float64)


def _continuous(
    start: Codes, bound: BoundObjective, projection: Projection, steps: int, rate: Floats, shares: bool
) -> tuple[Codes, Floats, Floats]:
    """Codes, relaxed codes and what is predicted of these, for every step."""
    space = bound.space
    x, codes = projection.relaxed(space.relax(start))
    visited = np.empty((steps, *codes.shape), dtype=np.int64)
    relaxed = np.empty((steps, *x.shape))
    promised = np.empty((steps, len(x), len(bound.metrics)))
    for step in range(steps):
        visited[step], relaxed[step] = codes, x
        gradient, promised[step] = bound.gradient(x)
        if step + 1 < steps:
            x = np.clip(x + rate * gradient, space.low, space.high)
            if shares:
                x = nearest_shares(x.reshape(-1, num_choices(space))).reshape(x.shape)
            x, codes = projection.relaxed(x)
    return visited, relaxed, promised


def _winner(
    start: Codes, bound: BoundObjective, projection: Projection, steps: int, winners: int, lookahead: int, tabu: int
) -> tuple[Codes, Floats, Floats]:
    """As :func:`_continuous`, by the notches that promise most."""
    space = bound.space
    codes = projection.codes(start)
    choices = num_choices(space) if is_categorical(space) else 2  # changes of each number
    visited = np.empty((steps, *codes.shape), dtype=np.int64)
    promised = np.empty((steps, len(codes), len(bound.metrics)))
    free_from = np.zeros((len(codes), codes.shape[1] * choices), dtype=np.int64)  # step at which a notch may be taken
    for step in range(steps):
        visited[step] = codes
        gradient, promised[step] = bound.gradient(space.relax(codes))
        if step + 1 == steps:
            break
        moved = np.zeros_like(free_from, dtype=bool)  # changes of numbers that have won already
        begin = codes
        for _ in range(winners):
            near, legal = notches(space, codes)
            gain = np.where(legal & (free_from <= step) & ~moved, gains(space, gradient, codes), -np.inf)
            taken = _first_allowed(near, gain, projection, bound, codes, lookahead)
            rows = np.flatnonzero(taken >= 0)
            if not len(rows):
                break
            won = taken[rows]
            free_from[rows, opposite(space, codes[rows], won)] = step + 1 + tabu
            moved[rows[:, None], (won // choices * choices)[:, None] + np.arange(choices)] = True
            codes = codes.copy()
            codes[rows] = near[rows, won]
        if codes is begin:  # nothing moves any more, and nothing would later but by the end of a tabu
            visited[step:], promised[step:] = codes, promised[step]
            break
    return visited, space.relax(visited.reshape(-1, codes.shape[1])).reshape(steps, len(codes), -1), promised


def _first_allowed(
    near: Codes, gain: Floats, projection: Projection, bound: BoundObjective, codes: Codes, lookahead: int
) -> NDArray[np.int64]:
    """The change of each code that promises most and meets the constraints; -1 where there is none."""
    num = len(codes)
    best = np.argsort(-gain, axis=1, kind="stable")[:, : max(_LOOKED_AT, lookahead)]
    rows = np.arange(num)[:, None]
    candidates = near[rows, best]
    width = best.shape[1]
    hopeful = gain[rows, best] > 0
    if lookahead > 1:
        hopeful = np.isfinite(gain[rows, best])  # a notch may be better than the slope at its beginning
    allowed = np.zeros((num, width), dtype=bool)
    allowed[hopeful] = projection.met(candidates[hopeful])
    if lookahead == 1:
        first = allowed.argmax(axis=1)
        return np.where(allowed.any(axis=1), best[rows[:, 0], first], -1)
    allowed &= np.cumsum(allowed, axis=1) <= lookahead
    value = np.full((num, width), -np.inf)
    value[allowed] = bound.score_as_relaxed(candidates[allowed], with_stds=False).objective
    first = value.argmax(axis=1)
    better = value[rows[:, 0], first] > bound.score_as_relaxed(codes, with_stds=False).objective
    return np.where(better, best[rows[:, 0], first], -1)


def _units(scale: ArrayLike | None, default: Floats) -> Floats:
    units = default if scale is None else np.asarray(scale, dtype=np.float64)
    if units.shape != default.shape or not (np.isfinite(units).all() and (units > 0).all()):
        raise CodeError(f"'scale' must be {len(default)} finite numbers above 0 (got shape {units.shape}: {units})")
    return units


def _check_settings(steps: int, lr: float, rule: str, winners: int, lookahead: int, tabu: int) -> None:
    if rule not in _RULES:
        raise CodeError(f"'rule' must be one of {', '.join(map(repr, _RULES))} (got {rule!r})")
    if not 0 < lr < math.inf:
        raise CodeError(f"'lr' must be a finite number above 0 (got {lr})")
    for name, value, least in (
        ("steps", steps, 1),
        ("winners", winners, 1),
        ("lookahead", lookahead, 1),
        ("tabu", tabu, 0),
    ):
        if value < least:
            raise CodeError(f"'{name}' must be {least} or more (got {value})")
