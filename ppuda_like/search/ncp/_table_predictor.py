"""A predictor of the metrics of a table of codes."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from ppuda_like.errors import CheckpointError, CodeError, PpudaLikeError
from ppuda_like.predictors import CodeEnsemble, CodePredictor, GraphRegressor, cell_graph
from ppuda_like.predictors._code_files import CODE_KINDS, code_regressor_from_file, write_code_regressor
from ppuda_like.predictors._graph_regressor_file import KIND as GRAPH_KIND
from ppuda_like.predictors._graph_regressor_file import regressor_from_file
from ppuda_like.predictors._predictor_file import PredictorFile, read_predictor_file
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._module_graph import module_graph
from ppuda_like.search.ncp._space import CodeSpace
from ppuda_like.search.ncp._spaces import code_space

__all__ = ["INPUTS", "Input", "TablePredictor", "estimator_inputs"]

Input = Literal["relaxed", "features", "graph"]
INPUTS: tuple[Input, ...] = ("relaxed", "features", "graph")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TablePredictor:
    """Predicts metrics of codes of a space, learnt from a table; :func:`fit_predictor` makes one.

    Attributes:
        table: name of the table.
        space: that the codes are of.
        metrics: names of what it predicts.
        estimator: a fitted regressor of rows, ``(n, r)``, or of graphs.
        scale: ``(m,)`` population standard deviation of each metric in the rows it was fitted to.
        inputs: what the estimator reads of a code: ``"relaxed"``, its numbers or one-hot form; ``"features"``, those of
            the space; ``"graph"``, that of the network.
    """

    table: str
    space: CodeSpace
    metrics: tuple[str, ...]
    estimator: BaseEstimator
    scale: NDArray[np.float64]
    inputs: Input = "relaxed"

    @property
    def editable(self) -> bool:
        """Whether predictions are differentiable in relaxed codes, so that :meth:`forward` works."""
        return self.inputs != "graph" and hasattr(self.estimator, "forward")

    @property
    def knows_uncertainty(self) -> bool:
        """Whether standard deviations are more than zeros."""
        return isinstance(self.estimator, CodeEnsemble | GraphRegressor)

    @overload
    def predict(self, codes: ArrayLike, return_std: Literal[False] = ...) -> NDArray[np.float64]: ...

    @overload
    def predict(
        self, codes: ArrayLike, return_std: Literal[True]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    @overload  # for callers that pass it on
    def predict(
        self, codes: ArrayLike, return_std: bool = ...
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def predict(
        self, codes: ArrayLike, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Metrics of codes.

        Args:
            codes: ``(n, d)``.
            return_std: whether to give standard deviations of values to be measured, too; zeros where the estimator
                knows none.

        Returns:
            Float64 ``(n, m)``, in the metrics' own units; with ``return_std`` a pair of such.

        Raises:
            CodeError: if codes are not in the space.
        """
        read = estimator_inputs(self.space, codes, self.inputs)
        shape = (len(read), len(self.metrics))
        if return_std and self.knows_uncertainty:
            mean, std = self.estimator.predict(read, return_std=True)
            return np.reshape(mean, shape), np.reshape(std, shape)
        mean = np.asarray(self.estimator.predict(read), dtype=np.float64).reshape(shape)
        return (mean, np.zeros_like(mean)) if return_std else mean

    def forward(self, relaxed: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        """Metrics of relaxed codes, differentiable in these.

        Args:
            relaxed: ``(n, r)``; float32 takes half the time of float64.
            with_std: whether deviations are wanted; without, they are zeros, and it takes less time.

        Returns:
            Mean and standard deviation, ``(n, m)`` each, in the metrics' own units.

        Raises:
            CodeError: if the estimator has no derivative.
        """
        if not self.editable:
            raise CodeError(
                f"a {type(self.estimator).__name__} that reads {self._inputs_text()} has no derivative along codes; "
                "edit with fit_predictor(table, kind='ensemble'), and let this one judge the results"
            )
        read = self.space.features(relaxed) if self.inputs == "features" else relaxed
        mean, std = self.estimator.forward(read, with_std=with_std)
        return mean, std

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a .safetensors file, complete or not at all.

        Raises:
            CheckpointError: if its estimator is of another library, or its ``random_state`` no number.
        """
        about = {
            "table": self.table,
            "space": self.space.name,
            "metrics": list(self.metrics),
            "scale": self.scale.tolist(),
            "inputs": self.inputs,
        }
        if isinstance(self.estimator, CodeEnsemble | CodePredictor):
            write_code_regressor(path, self.estimator, about)
        elif isinstance(self.estimator, GraphRegressor):
            self.estimator.save(path, about=about)
        else:
            raise CheckpointError(
                f"a {type(self.estimator).__name__} cannot be saved without code in the file; fit one of the kinds "
                "'ensemble', 'ranks', 'mlp' and 'graph' to keep"
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TablePredictor:
        """What :meth:`save` wrote.

        Raises:
            CheckpointError: if there is no such file, it is damaged, or something else.
        """
        content = read_predictor_file(path)
        if content.kind not in (*CODE_KINDS, GRAPH_KIND):
            raise CheckpointError(f"'{path}' holds no predictor of codes: its kind is {content.kind!r}")
        try:
            return cls._from_file(content)
        except (KeyError, TypeError, ValueError, RecursionError) as error:  # the package's own errors are ValueErrors
            reason = str(error) if isinstance(error, PpudaLikeError) else repr(error)
            raise CheckpointError(f"'{path}' holds no predictor of codes that fits together: {reason}") from error

    @classmethod
    def _from_file(cls, content: PredictorFile) -> TablePredictor:
        about = content.about
        space, metrics, inputs = code_space(about["space"]), about["metrics"], about["inputs"]
        names = isinstance(metrics, list) and bool(metrics) and all(isinstance(name, str) for name in metrics)
        if not names or not isinstance(about["table"], str):
            raise CheckpointError(f"it must name its table and its metrics (got {about['table']!r}, {metrics!r})")
        scale = np.array(about["scale"], dtype=np.float64)
        if scale.shape != (len(metrics),) or not np.isfinite(scale).all() or (scale < 0).any():
            raise CheckpointError(f"'scale' must be a deviation for each of {len(metrics)} metrics (got {scale})")
        graph = content.kind == GRAPH_KIND
        if inputs not in (("graph",) if graph else ("relaxed", "features")):
            raise CheckpointError(f"a {content.kind} does not read {inputs!r}")
        made = cls(
            table=about["table"],
            space=space,
            metrics=tuple(metrics),
            estimator=regressor_from_file(content) if graph else code_regressor_from_file(content),
            scale=scale,
            inputs=inputs,
        )
        # The estimator must answer for a code of the space, with as many metrics.
        made.predict(space.sample(1, np.random.default_rng(0)))
        return made

    def __repr__(self) -> str:
        return (
            f"TablePredictor({self.table}, {', '.join(self.metrics)}, "
            f"{type(self.estimator).__name__} of {self._inputs_text()})"
        )

    def _inputs_text(self) -> str:
        return {"relaxed": "codes", "features": "features", "graph": "graphs"}[self.inputs]


def estimator_inputs(space: CodeSpace, codes: ArrayLike, inputs: Input) -> Any:
    """What an estimator reads of codes: an array (n, r), or a list of n graphs.

    Raises:
        CodeError: if codes are not in the space.
    """
    relaxed = space.relax(codes)
    if inputs == "relaxed":
        return relaxed
    if inputs == "features":
        return space.features(torch.from_numpy(relaxed)).numpy()
    graph_of = cell_graph if space.name == NASBENCH201.name else module_graph
    return [graph_of(code) for code in space.check(codes).tolist()]
