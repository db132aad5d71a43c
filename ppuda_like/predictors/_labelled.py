"""Graphs with measured properties of their networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph

__all__ = ["LabelledGraphs"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelledGraphs:
    """Graphs with measured properties of their networks: what predictors learn from and are compared on.

    Attributes:
        graphs: one per network.
        labels: values of each property, float64 of shape ``(len(graphs),)``, NaN where it was not measured.
        codes: categorical code of each network, ``(len(graphs), length)``, of a search space that has codes; else None.
        name: where the networks and their properties come from, for people to read.

    Raises:
        DataError: if a property or the codes have not one entry per graph.

    Example:
        >>> from ppuda_like.graph import ComputationalGraph, make_edge_index
        >>> graph = ComputationalGraph(
        ...     ops=("input", "conv"), edge_index=make_edge_index([(0, 1)]), inputs=(0,), outputs=(1,)
        ... )
        >>> found = LabelledGraphs(graphs=(graph, graph), labels={"accuracy": [0.5, float("nan")]})
        >>> found.known("accuracy").values("accuracy")
        array([0.5])
    """

    graphs: Sequence[ComputationalGraph]
    labels: Mapping[str, ArrayLike]
    codes: NDArray[Any] | None = None
    name: str = field(default="")

    def __post_init__(self) -> None:
        graphs = tuple(self.graphs)
        labels = {name: np.asarray(values, dtype=np.float64) for name, values in self.labels.items()}
        for name, values in labels.items():
            if values.shape != (len(graphs),):
                raise DataError(
                    f"property '{name}' must have one value per graph, shape ({len(graphs)},) (got {values.shape})"
                )
        if self.codes is not None and (self.codes.ndim != 2 or len(self.codes) != len(graphs)):
            raise DataError(f"'codes' must have one row per graph, {len(graphs)} (got shape {self.codes.shape})")
        object.__setattr__(self, "graphs", graphs)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.graphs)

    def __repr__(self) -> str:
        return f"LabelledGraphs({self.name or '-'}, {len(self):,} networks, {', '.join(self.labels)})"

    def values(self, name: str) -> NDArray[np.float64]:
        """A property of all networks.

        Raises:
            DataError: if there is no such property, or some networks have no value of it.
        """
        found = self._column(name)
        missing = np.flatnonzero(np.isnan(found))
        if len(missing):
            raise DataError(
                f"property '{name}' is unknown (NaN) for {len(missing)} of {len(self)} networks, first for number "
                f"{missing[0]}; leave them out with .known('{name}')"
            )
        return found

    def known(self, *names: str) -> LabelledGraphs:
        """The networks for which all of these properties were measured.

        Raises:
            DataError: if there is no such property.
        """
        if not names:
            return self
        return self.select(np.flatnonzero(~np.isnan([self._column(name) for name in names]).any(axis=0)))

    def select(self, index: Sequence[int] | NDArray[Any] | slice) -> LabelledGraphs:
        """Some of the networks: by their numbers, a slice, or a mask with one boolean per network."""
        chosen = np.arange(len(self))[index]
        return LabelledGraphs(
            graphs=[self.graphs[i] for i in chosen],
            labels={name: np.asarray(values)[chosen] for name, values in self.labels.items()},
            codes=None if self.codes is None else self.codes[chosen],
            name=self.name,
        )

    def _column(self, name: str) -> NDArray[np.float64]:
        if name not in self.labels:
            raise DataError(f"there is no property '{name}'; there are {', '.join(self.labels) or 'none'}")
        return np.asarray(self.labels[name])
