"""What an edited code should be good at: a weighted sum over metrics of tasks and exact costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from ppuda_like.errors import CodeError

if TYPE_CHECKING:
    from ppuda_like.search.ncp._bound import EditablePredictor

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """A weighted sum to be made large.

    A term is a metric that a predictor predicts, ``"seg.mIoU"``: the name of its table and that of the metric, or the
    metric's alone where only one of the predictors has it.  It counts in standard deviations of the metric over the
    codes that the predictor was fitted to, so that unit weights are fair between tasks.  The terms ``"flops"`` and
    ``"params"`` are the natural logarithms of the exact costs, in units of ``cost_unit``.  The default, 1, is about
    their standard deviation over the published tables too: 1.1 of multi-resolution networks, 0.7 to 0.8 of cells.

    Attributes:
        terms: weights by term; negative for what should be small.
        uncertainty: how many standard deviations of each prediction count against it; above 0, codes are kept to where
            predictions can be relied on.
        cost_unit: change of the natural logarithm of a cost that counts as one standard deviation does for a metric.

    Raises:
        CodeError: if there are no terms, or a number is out of range.

    Example:
        >>> both = Objective({"seg.mIoU": 1.0, "video.top1": 1.0, "flops": -0.5})
        >>> sorted(both.terms)
        ['flops', 'seg.mIoU', 'video.top1']
    """

    terms: Mapping[str, float]
    uncertainty: float = field(default=0.0, kw_only=True)
    cost_unit: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not self.terms:
            raise CodeError("an objective needs terms; give weights of metrics, {'mIoU': 1.0} for instance")
        for name, weight in self.terms.items():
            if not math.isfinite(weight) or weight == 0:
                raise CodeError(f"the weight of '{name}' must be a finite number other than 0 (got {weight})")
        if not 0 <= self.uncertainty < math.inf:
            raise CodeError(f"'uncertainty' must be 0 or a finite number above (got {self.uncertainty})")
        if not 0 < self.cost_unit < math.inf:
            raise CodeError(f"'cost_unit' must be a finite number above 0 (got {self.cost_unit})")
        terms = {str(name): float(weight) for name, weight in self.terms.items()}
        object.__setattr__(self, "terms", MappingProxyType(terms))

    @classmethod
    def of(cls, terms: Objective | Mapping[str, float]) -> Objective:
        """An objective, or one of these weights."""
        return terms if isinstance(terms, Objective) else cls(terms)

    @classmethod
    def published(cls, predictor: EditablePredictor, alpha: float = 0.5) -> Objective:
        """That of the published editing (arXiv:2103.13253): the main metric, and the FLOPs that the predictor predicts.

        The published loss is the L1 distance to a target that lies a constant beside the prediction, so that its
        gradient is that of this sum; see :func:`edit_published`.

        Args:
            predictor: one that was fitted to the FLOPs as well.
            alpha: weight of the FLOPs; 0 for none.

        Raises:
            CodeError: if the predictor does not predict FLOPs while ``alpha`` is not 0.
        """
        terms = {f"{predictor.table}.{predictor.metrics[0]}": 1.0}
        if alpha:
            if "flops" not in predictor.metrics:
                raise CodeError(
                    f"the published objective weighs FLOPs as predicted, but the predictor of '{predictor.table}' "
                    f"predicts {', '.join(predictor.metrics)}; fit it to the costs too, or take the exact ones by the "
                    "term 'flops'"
                )
            terms[f"{predictor.table}.flops"] = -alpha
        return cls(terms)
