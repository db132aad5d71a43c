"""What a comparison of predictors found, and its table."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.predictors._metrics import LEVELS, PredictionScores

__all__ = ["METRICS", "Comparison", "PredictorRun"]

FORMAT = 1

METRICS: Mapping[str, str] = {
    "kendall": "Kendall tau",
    "spearman": "Spearman",
    "r2": "R2",
    "mae": "MAE",
    "precision": "precision at top {top}",
    "calibration_error": "calibration error",
    "nll": "NLL",
    **{f"coverage_{round(100 * level)}": f"coverage of {round(100 * level)} %" for level in LEVELS},
    "fit_seconds": "fit, s",
    "predict_seconds": "predict, s",
    "feature_seconds": "features, s",
}
"""Names of the figures that a comparison holds, and how tables head them."""

_LOWER = {"mae", "calibration_error", "nll"}
_UNRANKED = {name for name in METRICS if name.startswith("coverage") or name.endswith("seconds")}


@dataclass(frozen=True, kw_only=True)
class PredictorRun:
    """One predictor, fitted once.

    Attributes:
        predictor: its name.
        train_size: networks it was fitted to.
        seed: of the split and of the fit.
        fold: of cross-validation; 0 without.
        test_size: networks it was scored on.
        scores: on these.
        fit_seconds: wall time of the fit, without that of features.
        predict_seconds: wall time of the predictions, without that of features.
        feature_seconds: wall time of computing the features of all networks, once for all fits; None for a predictor
            that reads graphs or codes itself.
    """

    predictor: str
    train_size: int
    seed: int
    fold: int
    test_size: int
    scores: PredictionScores
    fit_seconds: float
    predict_seconds: float
    feature_seconds: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PredictorRun:
        """The inverse of ``dataclasses.asdict``, also when it went through JSON."""
        return cls(**{**values, "scores": PredictionScores.from_dict(values["scores"])})

    def figures(self) -> dict[str, float]:
        """Value of each of :data:`METRICS`; NaN for calibration where the predictor states no uncertainty."""
        scores, calibration = self.scores, self.scores.calibration
        found = {name: getattr(scores, name) for name in ("kendall", "spearman", "r2", "mae", "precision")}
        found["calibration_error"] = math.nan if calibration is None else calibration.error
        found["nll"] = math.nan if calibration is None else calibration.nll
        for level in LEVELS:
            found[f"coverage_{round(100 * level)}"] = math.nan if calibration is None else calibration.coverage[level]
        seconds = math.nan if self.feature_seconds is None else self.feature_seconds
        return {
            **found,
            "fit_seconds": self.fit_seconds,
            "predict_seconds": self.predict_seconds,
            "feature_seconds": seconds,
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Predictors of one property, fitted and scored on the same splits.

    ``print(comparison)`` shows the table.

    Attributes:
        property_name: what was predicted.
        data: name of the data.
        protocol: how the networks were split, for people to read.
        runs: one entry per predictor, size, seed and fold.
        baselines: names of the predictors that any other must beat.
    """

    property_name: str
    data: str
    protocol: str
    runs: tuple[PredictorRun, ...]
    baselines: tuple[str, ...] = ()

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the predictors."""
        return tuple(dict.fromkeys(run.predictor for run in self.runs))

    @property
    def train_sizes(self) -> tuple[int, ...]:
        """Sizes of training sets, from the smallest."""
        return tuple(sorted({run.train_size for run in self.runs}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the splits."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    def statistic(self, metric: str, predictor: str, train_size: int | None = None) -> tuple[float, float]:
        """Mean of a figure, and its standard deviation over seeds; folds of one seed are averaged first.

        Args:
            metric: one of :data:`METRICS`.
            predictor: name.
            train_size: size of the training set; None for the largest.

        Returns:
            Mean and sample standard deviation; this is NaN for a single seed, both are for figures of an uncertainty
            that the predictor does not state.

        Raises:
            DataError: if there is no such figure, predictor or size.
        """
        if metric not in METRICS:
            raise DataError(f"there is no figure '{metric}'; there are {', '.join(METRICS)}")
        size = self.train_sizes[-1] if train_size is None else train_size
        by_seed: dict[int, list[float]] = {}
        for run in self.runs:
            if run.predictor == predictor and run.train_size == size:
                by_seed.setdefault(run.seed, []).append(run.figures()[metric])
        if not by_seed:
            raise DataError(
                f"there is no predictor '{predictor}' fitted to {size} networks; there are "
                f"{', '.join(self.predictors)}, fitted to {', '.join(map(str, self.train_sizes))}"
            )
        means = [np.mean(values) for values in by_seed.values()]
        return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan

    def best(self, metric: str, train_size: int | None = None) -> str:
        """Name of the predictor with the best mean.

        Raises:
            DataError: if there is no such figure or size, it has no best, or no predictor has it.
        """
        if metric in _UNRANKED:
            raise DataError(f"no value of '{metric}' is the best; take one of {', '.join(set(METRICS) - _UNRANKED)}")
        sign = -1 if metric in _LOWER else 1
        means = {name: sign * self.statistic(metric, name, train_size)[0] for name in self.predictors}
        known = {name: value for name, value in means.items() if not math.isnan(value)}
        if not known:
            raise DataError(f"no predictor has the figure '{metric}': none states an uncertainty")
        return max(known, key=known.__getitem__)

    def table(
        self,
        metrics: Sequence[str] = (
            "kendall",
            "spearman",
            "r2",
            "mae",
            "precision",
            "calibration_error",
            "fit_seconds",
            "feature_seconds",
        ),
    ) -> str:
        """A table in Markdown: mean ± standard deviation over seeds, the highest tau first, the best of a column bold.

        Args:
            metrics: columns, among :data:`METRICS`.

        Raises:
            DataError: if there is no such figure.
        """
        sizes = self.train_sizes
        shown = [
            metric for metric in metrics if any(not math.isnan(self._mean(metric, name)) for name in self.predictors)
        ]
        tops = dict.fromkeys(run.scores.top for run in self.runs)
        heads = [METRICS[metric].format(top="/".join(map(str, tops))) for metric in shown]
        first = ["predictor", *(["networks"] if len(sizes) > 1 else [])]
        lines = [first + heads]
        for size in sizes:
            best = {
                metric: self.statistic(metric, self.best(metric, size), size)[0]
                for metric in shown
                if metric not in _UNRANKED
            }
            for name in sorted(self.predictors, key=lambda name: -self.statistic("kendall", name, size)[0]):
                label = f"{name} (baseline)" if name in self.baselines else name
                cells = [label, *([str(size)] if len(sizes) > 1 else [])]
                for metric in shown:
                    mean, deviation = self.statistic(metric, name, size)
                    text = _number(metric, mean, deviation)
                    cells.append(f"**{text}**" if best.get(metric) == mean else text)
                lines.append(cells)
        return "\n".join(_row(cells) for cells in (lines[0], ["---"] * len(lines[0]), *lines[1:]))

    def __str__(self) -> str:
        return f"{self.property_name}, {self.data or 'data without a name'}: {self.protocol}\n\n{self.table()}"

    def __repr__(self) -> str:
        return f"Comparison({self.property_name}, {len(self.predictors)} predictors, {len(self.runs)} fits)"

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row per fit; the file appears complete or not at all."""
        keys = ("predictor", "train_size", "seed", "fold", "test_size")
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*keys, *METRICS], lineterminator="\n")
            writer.writeheader()
            for run in self.runs:
                figures = {name: "" if math.isnan(value) else value for name, value in run.figures().items()}
                writer.writerow({key: getattr(run, key) for key in keys} | figures)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON, which :meth:`load` reads; the file appears complete or not at all."""
        values = {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self)}}
        values["runs"] = [asdict(run) for run in self.runs]
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Comparison:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: if there is no such file, or it is damaged or something else.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise DataError(f"there is no file '{path}'") from error
        except ValueError as error:
            raise DataError(f"'{path}' is no comparison of predictors: {error}") from error
        found = values.pop("format", None) if isinstance(values, dict) else None
        if found != FORMAT:
            raise DataError(f"'{path}' must be a comparison of predictors of format {FORMAT} (got format {found})")
        try:
            runs = tuple(PredictorRun.from_dict(run) for run in values.pop("runs"))
            return cls(**{**values, "runs": runs, "baselines": tuple(values["baselines"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"'{path}' is a damaged comparison of predictors ({error!r})") from error

    def _mean(self, metric: str, predictor: str) -> float:
        return self.statistic(metric, predictor)[0]


def _number(metric: str, mean: float, deviation: float) -> str:
    """Mean and deviation with as many digits as are worth reading."""
    if math.isnan(mean):
        return ""
    if metric.endswith("seconds"):
        return f"{mean:.2g}" if mean < 10 else f"{mean:.0f}"
    digits = 3
    if metric in ("mae", "nll") and mean:  # in the unit of the property
        digits = max(0, 2 - math.floor(math.log10(abs(mean))))
    text = f"{mean:.{digits}f}"
    return text if math.isnan(deviation) else f"{text} ± {deviation:.{digits}f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
