"""The nearest way from any relaxed code to one whose rounding meets bounds on exact costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._constraints import Constraints
from ppuda_like.search.ncp._notches import every_code, is_categorical, notches, num_choices, spread
from ppuda_like.search.ncp._space import CodeSpace

__all__ = ["Projection"]

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_FIRST = np.array([0.5, 0.9, 1.1, 1.5, 3.0])  # multiples tried of the length that first order promises to suffice
_FIRST_OF_FEW = np.linspace(0.05, 3, 60)
_QUARTERS = np.array([0.25, 0.5, 0.75])
_TURNS = 50  # at most, on the way to a bound
_FEW = 64  # codes for which trying many lengths takes as long as trying one
_TRIED = 2048  # codes looked at for one that meets bounds which only together are hard to meet
_REPAIRED = 64  # of them, the nearest ones, improved notch by notch
_NOTCHES = 256  # at most, in one repair
_ROWS = 256  # of distances held at once


class Projection:
    """Moves codes to where constraints are met.

    A relaxed code goes down the gradient of the log cost that is too high, or up that of one that is too low, as far as
    it takes to meet the bound.  Where rounding goes beyond it again, the numbers that were rounded the furthest are
    rounded the other way, and what then is left is mended by the notches that bring the costs nearest to the bounds.
    In a space small enough to be listed, a code goes to the nearest that meets the constraints instead.

    Args:
        space: of the codes.
        constraints: to meet.

    Raises:
        CodeError: if no code meets them, or none was found.
    """

    def __init__(self, space: CodeSpace, constraints: Constraints | None = None) -> None:
        self.space = space
        self.constraints = Constraints() if constraints is None else constraints
        self.constraints.check(space)
        self._low, self._high = np.log(self.constraints.low), np.log(self.constraints.high)
        self._unit = spread(space)
        self._step = space.low if not is_categorical(space) else None
        ends = (1.0, np.isfinite(self._high)), (-1.0, self._low > 0)
        self._signs = tuple(sign for sign, bounded in ends if bounded.any())
        self._known = None if self.constraints.are_none else self._some()

    def met(self, codes: Codes) -> NDArray[np.bool_]:
        """Which codes meet the constraints."""
        if self._known is None or not len(codes):
            return np.ones(len(codes), dtype=bool)
        return self.constraints.met(self.space.costs(codes))

    def codes(self, codes: Codes) -> Codes:
        """Codes near to those given that meet the constraints; those that do already stay as they are."""
        return codes if self._known is None else self.relaxed(self.space.relax(codes))[1]

    def relaxed(self, relaxed: Floats) -> tuple[Floats, Codes]:
        """Relaxed codes that round to codes meeting the constraints, and those codes.

        Those that do already stay as they are.
        """
        codes = self.space.round(relaxed)
        rows = np.flatnonzero(~self.met(codes))
        if not len(rows):
            return relaxed, codes
        relaxed = relaxed.copy()
        relaxed[rows], codes[rows] = self._projected(relaxed[rows])
        return relaxed, codes

    def _projected(self, x: Floats) -> tuple[Floats, Codes]:
        if self._step is not None:
            self._move(x)
        rounded = self.space.round(x)
        codes = rounded.copy()
        if self._step is not None:
            self._round_otherwise(x, codes)
            rows = np.flatnonzero(~self.met(codes))
            codes[rows] = self._mend(codes[rows])
        else:
            rows = np.arange(len(codes))
        rows = rows[~self.met(codes[rows])]
        if len(rows):
            codes[rows] = self._nearest(x[rows])
        changed = np.repeat(codes != rounded, num_choices(self.space), axis=1)
        x[changed] = self.space.relax(codes)[changed]
        return x, codes

    def _nearest(self, x: Floats) -> Codes:
        """Of the codes known to meet the constraints, the nearest ones."""
        assert self._known is not None
        known = self.space.relax(self._known) / self._unit
        found = [
            (-2 * (part / self._unit) @ known.T + (known**2).sum(axis=1)).argmin(axis=1)
            for part in np.array_split(x, len(x) // _ROWS + 1)
        ]
        return np.asarray(self._known[np.concatenate(found)])

    def _broken(self, logs: Floats, sign: float) -> NDArray[np.bool_]:
        """Which bounds, the upper ones for a positive sign, networks of these log costs break."""
        return np.asarray(logs > self._high if sign > 0 else logs < self._low)

    def _log_costs(self, x: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(self.space.relaxed_costs(torch.from_numpy(x)).log().numpy())

    def _move(self, x: Floats) -> None:
        """Move rows of ``x`` in place until no bound is broken, unless meeting one breaks another."""
        for sign in 2 * self._signs if len(self._signs) > 1 else self._signs:
            rows = np.arange(len(x))
            for _ in range(_TURNS):
                leaf = torch.from_numpy(x[rows]).requires_grad_()
                costs = self.space.relaxed_costs(leaf).log()
                logs = costs.detach().numpy()
                broken = self._broken(logs, sign)
                open_ = broken.any(axis=1)
                if not open_.any():
                    break
                total = (costs * torch.from_numpy(broken.astype(np.float64))).sum()
                gradient = torch.autograd.grad(total, leaf)[0].numpy()[open_] * self._unit
                rows = rows[open_]
                x[rows], arrived = self._moved(x[rows], gradient, logs[open_], broken[open_], sign)
                rows = rows[~arrived]
                if not len(rows):
                    break

    def _moved(
        self, begin: Floats, gradient: Floats, logs: Floats, broken: NDArray[np.bool_], sign: float
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Where the way along the gradient of the log costs first meets the bounds that are broken at its begin.

        A way that would be much longer than the gradient promised ends early, to turn to where the gradient then leads;
        the second result says which have arrived.
        """
        # A little of every number, as a gradient may vanish; nothing of those that are at their end already.
        along = np.abs(gradient) / np.abs(gradient).max(axis=1, keepdims=True) + 1e-3
        along *= (begin > self.space.low) if sign > 0 else (begin < self.space.high)
        direction = -sign * self._unit * along
        bound = self._high if sign > 0 else self._low
        excess = np.where(broken, sign * (logs - np.where(np.isfinite(bound), bound, 0)), 0).sum(axis=1)
        about = excess / (np.abs(gradient) * along).sum(axis=1)

        def at(lengths: Floats) -> Floats:
            reached = begin[:, None] + lengths[:, :, None] * direction[:, None]
            return np.asarray(np.clip(reached, self.space.low, self.space.high))

        def meet(lengths: Floats) -> NDArray[np.bool_]:
            logs = self._log_costs(at(lengths).reshape(-1, begin.shape[1]))
            return np.asarray(~self._broken(logs, sign).any(axis=1).reshape(lengths.shape))

        few = len(begin) <= _FEW
        tried = about[:, None] * (_FIRST_OF_FEW if few else _FIRST)
        met = meet(tried)
        near, far = _narrowed(np.zeros(len(begin)), tried[:, -1], tried, met)
        arrived: NDArray[np.bool_] = np.any(met, axis=1)
        if arrived.any() and not few:
            _, far = _bisected(meet, near, far)
        return np.asarray(at(far[:, None])[:, 0]), arrived

    def _round_otherwise(self, x: Floats, codes: Codes) -> None:
        """Take the other of the two nearest values, the most doubtful numbers first, as many as it takes."""
        for sign in self._signs:
            rows = np.arange(len(codes))
            if len(rows) > _FEW:
                rows = np.flatnonzero(self._broken(np.log(self.space.costs(codes)), sign).any(axis=1))
            if len(rows):
                codes[rows] = self._rounded_otherwise(x[rows], codes[rows], sign)

    def _rounded_otherwise(self, x: Floats, codes: Codes, sign: float) -> Codes:
        assert self._step is not None
        doubt = sign * (codes - x) / self._step
        rank = np.argsort(np.argsort(-doubt, axis=1, kind="stable"), axis=1)
        able = doubt > 0
        step = (sign * self._step).astype(np.int64)

        def changed(number: Floats) -> Codes:
            taken = able[:, None] & (rank[:, None] < np.ceil(number)[:, :, None])
            return np.asarray(codes[:, None] - np.where(taken, step, 0))

        def meet(number: Floats) -> NDArray[np.bool_]:
            logs = np.log(self.space.costs(changed(number).reshape(-1, codes.shape[1])))
            return np.asarray(~self._broken(logs, sign).any(axis=1).reshape(number.shape))

        most = able.sum(axis=1).astype(np.float64)
        if len(codes) <= _FEW:
            tried = np.minimum(np.arange(codes.shape[1] + 1.0), most[:, None])
            met = meet(tried)
            far = np.where(met.any(axis=1), met.argmax(axis=1), most)
        else:
            _, far = _bisected(meet, np.zeros(len(codes)), most)
        return np.asarray(changed(far[:, None])[:, 0])

    def _mend(self, codes: Codes) -> Codes:
        """Go notch by notch to lower excess; codes for which there is no such notch stay where they are."""
        if not len(codes):
            return codes
        codes = codes.copy()
        excess = self.constraints.excess(self.space.costs(codes))
        rows = np.flatnonzero(excess)
        for _ in range(_NOTCHES):
            if not len(rows):
                break
            near, legal = notches(self.space, codes[rows])
            costs = self.space.costs(np.where(legal[:, :, None], near, codes[rows, None]).reshape(-1, codes.shape[1]))
            after = np.where(legal, self.constraints.excess(costs).reshape(legal.shape), np.inf)
            # Of those that meet the bounds, the one that changes the costs the least.
            before = np.log(self.space.costs(codes[rows]))[:, None]
            change = np.abs(np.log(costs).reshape(*legal.shape, -1) - before).sum(axis=2)
            best = (after + 1e-9 * change).argmin(axis=1)
            found = after[np.arange(len(rows)), best]
            better = found < excess[rows]
            rows, best, found = rows[better], best[better], found[better]
            codes[rows] = near[better, best]
            excess[rows] = found
            rows = rows[found > 0]
        return codes

    def _some(self) -> Codes:
        """Codes that meet the constraints: all of a space that can be listed, otherwise some.

        Raises:
            CodeError: if none was found.
        """
        space = self.space
        if self._step is None:
            every = every_code(space)
            return every[self.constraints.met(space.costs(every))]  # not empty, as the constraints have been checked
        line = np.linspace(0, 1, _TRIED // 8 + 1)[:, None]
        drawn = space.sample(_TRIED, np.random.default_rng(0))
        tried = np.concatenate((space.round(space.low + line * (space.high - space.low)), drawn))
        order = np.argsort(self.constraints.excess(space.costs(tried)), kind="stable")
        mended = self._mend(tried[order[:_REPAIRED]])
        met = mended[self.constraints.met(space.costs(mended))]
        if not len(met):
            raise CodeError(
                f"no code of '{space.name}' was found that meets {self.constraints}, among {len(tried):,} codes and "
                f"what is near to the best {_REPAIRED} of them; loosen a bound"
            )
        return met


def _narrowed(near: Floats, far: Floats, tried: Floats, met: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The part between two of the lengths tried, ascending ``(n, k)``, in which the bounds come to be met."""
    lengths = np.concatenate((near[:, None], tried, far[:, None]), axis=1)
    ends = np.concatenate((np.zeros_like(met[:, :1]), met, np.ones_like(met[:, :1])), axis=1)
    first = ends.argmax(axis=1)
    rows = np.arange(len(lengths))
    return lengths[rows, first - 1], lengths[rows, first]


def _bisected(meet: Callable[[Floats], NDArray[np.bool_]], near: Floats, far: Floats) -> tuple[Floats, Floats]:
    """Narrow the ways from ``near``, which does not meet the bounds, to ``far``, which does, to a 64th part."""
    for _ in range(3):
        tried = near[:, None] + (far - near)[:, None] * _QUARTERS
        near, far = _narrowed(near, far, tried, meet(tried))
    return near, far
