"""A predictor that knows what it predicts: a fitted regressor with the property's name, unit and scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.pipeline import Pipeline
from torch import nn

from ppuda_like._bundled import Bundled
from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.graph import ComputationalGraph, levels, trace
from ppuda_like.predictors._estimate import SCALES, Estimate, Scale, interval
from ppuda_like.predictors._gaussian_process_file import KIND as GAUSSIAN_PROCESS
from ppuda_like.predictors._gaussian_process_file import gaussian_process_from_file, write_gaussian_process
from ppuda_like.predictors._graph_regressor import GraphRegressor
from ppuda_like.predictors._graph_regressor_file import KIND as GRAPH_REGRESSOR
from ppuda_like.predictors._graph_regressor_file import regressor_from_file
from ppuda_like.predictors._labelled import LabelledGraphs
from ppuda_like.predictors._predictor_file import PredictorFile, read_predictor_file

__all__ = ["Predictor", "PropertyInfo", "list_predictors"]

Regressor: TypeAlias = GraphRegressor | Pipeline
"""What a predictor can hold: a graph regressor, or a pipeline of :func:`gaussian_process`."""
BUNDLED = Bundled(Path(__file__).parent / "checkpoints", "predictor")
QUANTITIES = ("parameters", "MACs", "nodes", "depth")
"""What tells whether a network is of the size of those learnt from; logarithms but for the depth."""
_READERS: dict[str, Callable[[PredictorFile], Regressor]] = {
    GRAPH_REGRESSOR: regressor_from_file,
    GAUSSIAN_PROCESS: gaussian_process_from_file,
}
_SLACK = 0.05  # of the range seen in training, by which a network may lie outside of it


@dataclass(frozen=True, kw_only=True)
class PropertyInfo:
    """What a predictor predicts, and how the networks it learnt from were measured.

    Attributes:
        property: name of the property.
        unit: of its values; empty for a share.
        description: one line for people to read.
        scale: scale it is learnt on: ``"identity"``, ``"log"`` for positive values, ``"logit"`` for shares.
        higher_is_better: whether a search looks for high values.
        input_shape: of the images the networks were measured on, batch included.
        num_classes: outputs of those networks.
        width: channels of the first cells of the generated networks measured; None for their own.
        num_networks: how many were learnt from.
        tau: Kendall's tau on networks held out; NaN where it was not measured.
        tau_deviation: its standard deviation over splits.
        ranges: smallest and largest value, among the networks learnt from, of each quantity that tells whether a
            network is like them; on a logarithmic scale but for the depth.
    """

    property: str
    unit: str = ""
    description: str = ""
    scale: Scale = "identity"
    higher_is_better: bool = True
    input_shape: tuple[int, ...] = (1, 3, 32, 32)
    num_classes: int = 10
    width: int | None = None
    num_networks: int = 0
    tau: float = float("nan")
    tau_deviation: float = float("nan")
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise DataError(f"'scale' must be one of {', '.join(SCALES)} (got {self.scale!r})")
        shape = tuple(self.input_shape)
        if len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in (*shape, self.num_classes)):
            raise DataError(
                "'input_shape' must be four positive numbers, (batch, channels, height, width), and 'num_classes' one "
                f"(got {shape}, {self.num_classes!r})"
            )
        object.__setattr__(self, "input_shape", shape)
        ranges = {name: (float(low), float(high)) for name, (low, high) in self.ranges.items()}
        object.__setattr__(self, "ranges", ranges)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PropertyInfo:
        """The inverse of ``dataclasses.asdict``.

        Raises:
            CheckpointError: if the values are not those of a predictor.
        """
        try:
            return cls(**{known.name: values[known.name] for known in fields(cls)})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = str(error) if isinstance(error, DataError) else repr(error)
            raise CheckpointError(
                f"the description of the predicted property is incomplete or wrong: {reason}"
            ) from error


def list_predictors() -> list[str]:
    """Names of the predictors that come with the package, for :meth:`Predictor.from_pretrained`."""
    return BUNDLED.names()


@dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """A property of networks that were never trained, from their graphs, with an interval.

    Attributes:
        regressor: a :class:`GraphRegressor` or a :func:`gaussian_process`, fitted to the property on the scale of
            ``info``.
        info: what the property is.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> graphs = [network_graph(sample_network("test", i)) for i in range(12)]
        >>> data = LabelledGraphs(graphs=graphs, labels={"seconds": [1e-9 * graph.macs for graph in graphs]})
        >>> regressor = GraphRegressor(hidden=8, n_estimators=2, folds=3, steps=30)
        >>> predictor = Predictor.fit(PropertyInfo(property="seconds", unit="s", scale="log"), data, regressor)
        >>> estimate = predictor.predict(graphs[:1])[0]
        >>> 0 < estimate.low < estimate.value < estimate.high
        True
    """

    regressor: Regressor
    info: PropertyInfo

    def __post_init__(self) -> None:
        if set(self.info.ranges) != set(QUANTITIES):
            raise CheckpointError(
                f"a predictor must know the ranges of {', '.join(QUANTITIES)} of the networks it learnt from "
                f"(got {', '.join(self.info.ranges) or 'none'}); Predictor.fit finds them"
            )

    @classmethod
    def fit(cls, info: PropertyInfo, data: LabelledGraphs, regressor: Regressor) -> Predictor:
        """Learn a property.

        Args:
            info: what it is; what depends on the networks is filled in.
            data: networks with that property.
            regressor: fitted here.

        Raises:
            DataError: if the property is unknown for some networks, or has values outside of its scale.
        """
        values = data.values(info.property)
        to_scale, _, (low, high) = SCALES[info.scale]
        wrong = np.flatnonzero((values <= low) | (values >= high))
        if len(wrong):
            raise DataError(
                f"'{info.property}' must lie between {low} and {high}, both excluded, to be learnt on the scale "
                f"'{info.scale}' (got {values[wrong[0]]} for network {wrong[0]}, and {len(wrong) - 1} more); clip the "
                "values or take another scale"
            )
        regressor.fit(data.graphs, to_scale(values))
        measured = [_quantities(graph) for graph in data.graphs]
        ranges = {
            name: (min(found[name] for found in measured), max(found[name] for found in measured))
            for name in measured[0]
        }
        return cls(regressor, replace(info, num_networks=len(data), ranges=ranges))

    def predict(self, graphs: Sequence[ComputationalGraph], *, level: float = 0.9) -> list[Estimate]:
        """The property of networks from their graphs.

        Args:
            graphs: in the vocabulary that the predictor learnt from, at the size of its images.
            level: probability of the intervals.

        Raises:
            GraphError: if a graph holds an operation the predictor never saw.
            DataError: if the level is not between 0 and 1.
        """
        mean, std = self.regressor.predict(graphs, return_std=True)
        columns = interval(mean, std, scale=self.info.scale, level=level)
        return [
            Estimate(value=float(value), low=float(low), high=float(high), level=level, outside=self._outside(graph))
            for value, low, high, graph in zip(*columns, graphs, strict=True)
        ]

    def __call__(self, model: nn.Module, *, level: float = 0.9) -> Estimate:
        """The property of a model, which is traced at the size of the images that the predictor learnt from.

        Raises:
            TraceError: if the model cannot be traced.
            GraphError: if it holds an operation the predictor never saw.
        """
        return self.predict([trace(model, self.info.input_shape).lower("ppuda")], level=level)[0]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the predictor to a .safetensors file."""
        if isinstance(self.regressor, GraphRegressor):
            self.regressor.save(path, about=asdict(self.info))
        else:
            write_gaussian_process(path, self.regressor, asdict(self.info))

    @classmethod
    def from_pretrained(cls, path_or_name: str | PathLike[str]) -> Predictor:
        """A bundled predictor by name, or one that :meth:`save` wrote.

        Raises:
            CheckpointError: if there is none, or the file is damaged or of something else.
        """
        path = BUNDLED.resolve(path_or_name)
        content = read_predictor_file(path)
        if content.kind not in _READERS:
            raise CheckpointError(f"'{path}' holds a {content.kind!r}; known are {', '.join(_READERS)}")
        try:
            return cls(_READERS[content.kind](content), PropertyInfo.from_dict(content.about))
        except (KeyError, TypeError, ValueError, RecursionError) as error:  # the package's own errors are ValueErrors
            reason = str(error) if isinstance(error, PpudaLikeError) else repr(error)
            raise CheckpointError(f"'{path}' holds no predictor that fits together: {reason}") from error

    def __repr__(self) -> str:
        info = self.info
        tau = f"tau {info.tau:.3f} +- {info.tau_deviation:.3f}"
        return f"Predictor({info.property}, from {info.num_networks} networks, {tau})"

    def _outside(self, graph: ComputationalGraph) -> tuple[str, ...]:
        found = []
        for name, value in _quantities(graph).items():
            low, high = self.info.ranges[name]
            slack = _SLACK * (high - low)
            if not low - slack <= value <= high + slack:
                found.append(name)
        return tuple(found)


def _quantities(graph: ComputationalGraph) -> dict[str, float]:
    values = (*np.log1p([graph.num_params, graph.macs, graph.num_nodes]), levels(graph).max())
    return dict(zip(QUANTITIES, map(float, values), strict=True))
