"""Comparing predictors of a property on the same splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from tqdm import tqdm

from ppuda_like._partial import PartialResults
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, GraphError
from ppuda_like.predictors._comparison import Comparison, PredictorRun
from ppuda_like.predictors._feature_memory import FeatureMemory, graphs_key
from ppuda_like.predictors._fitting import Entry, Predictions, fit_predict, outcomes, rows
from ppuda_like.predictors._labelled import LabelledGraphs
from ppuda_like.predictors._metrics import score_predictions
from ppuda_like.predictors._regressors import baseline_predictors
from ppuda_like.predictors._splits import Split, property_splits

__all__ = ["evaluate_predictors"]

logger = logging.getLogger(__name__)

_SEEDS = 2**32  # scikit-learn's seeds are below


def evaluate_predictors(
    predictors: Mapping[str, BaseEstimator],
    data: LabelledGraphs,
    property: str,
    *,
    test: LabelledGraphs | None = None,
    train_sizes: Sequence[int | None] = (None,),
    seeds: int | Sequence[int] = 5,
    folds: int | None = None,
    test_share: float = 0.5,
    on_codes: Mapping[str, BaseEstimator] | None = None,
    columns: Sequence[str] = (),
    baselines: Mapping[str, BaseEstimator] | None = None,
    top: int | float = 0.1,
    higher_is_better: bool = True,
    memory: FeatureMemory | None = None,
    executor: Executor | None = None,
    out: str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Fit predictors of a property and score them on networks that they did not see, on the same splits.

    With ``test``, this is the published protocol (arXiv:2110.13100, section 5.4): the order of the training networks is
    shuffled by seed, and the test set is always the same.  Without, a part of the networks is held out, or each fold in
    turn.

    A fit depends on its split, the size of the training set and the seed alone: every ``random_state`` of a predictor
    is set, so that neither the executor nor the order of the fits changes a result.  With ``out``, results so far are
    kept beside that file, and the same call continues with the rest after an interruption, with further predictors,
    sizes or seeds too.

    The first step of a pipeline makes features of graphs.  It is fitted once, to all graphs of ``data`` but to none of
    their properties, and computes the features of each graph once; what is fitted in each split is the rest.

    Args:
        predictors: estimators of lists of graphs, by name; one whose ``predict`` takes ``return_std`` is scored on its
            uncertainty too.
        data: networks to learn from.
        property: which of their properties.
        test: networks to score on; None to take them from ``data``.
        train_sizes: numbers of networks to fit to, None for all that are not held out; a fit to fewer takes the first
            of those that a fit to more takes.
        seeds: of the splits; a number for 0, 1, .. so many.
        folds: of cross-validation, for each seed; None to hold out one part.
        test_share: how much to hold out.
        on_codes: estimators of the networks' categorical codes, by name.
        columns: properties that are known without training the network, such as its accuracy with predicted
            parameters; each is a baseline more, as the only feature.
        baselines: estimators that any other must beat, by name; None for :func:`baseline_predictors`.
        top: of the precision; see :func:`precision_at_top`.
        higher_is_better: whether the best networks are those of the highest values.
        memory: features that earlier calls computed; this one adds its own.
        executor: where the fits are shared out to, processes or a cluster; None for this process.
        out: file to write one row per fit to, by suffix ``.csv``; all of the comparison is written beside it as
            ``.json``, for :meth:`Comparison.load`.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        DataError: if the property is unknown for some networks, infinite, or the same for all that a predictor is
            fitted to or scored on; there are fewer networks than a size of ``train_sizes`` or too few for the folds;
            two predictors have one name; a predictor fails; or what is beside ``out`` is of another comparison.
        GraphError: if the graphs cannot be read by the features.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> from ppuda_like.predictors import LabelledGraphs, ridge
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(12)]
        >>> count = [graph.ops.count("conv") for graph in graphs]
        >>> data = LabelledGraphs(graphs=graphs, labels={"convolutions": count})
        >>> found = evaluate_predictors({"ridge": ridge()}, data, "convolutions", seeds=2)
        >>> found.seeds, found.best("kendall")
        ((0, 1), 'ridge')
    """
    path = None if out is None else Path(out)
    if path is not None and path.suffix != ".csv":
        raise DataError(f"'out' must end in .csv (got '{path.name}')")
    y = _targets(data, property)
    truth = y if test is None else _targets(test, property)
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    num_test = None if test is None else len(test)
    splits = property_splits(len(data), num_test, seeds=seeds, folds=folds, test_share=test_share)
    sizes = _sizes(train_sizes, splits)
    _check_varies(property, splits, sizes, y, truth)
    chosen = baseline_predictors() if baselines is None else baselines
    work = _Work(
        entries=_entries(predictors, on_codes or {}, chosen, columns),
        data=data,
        test=test,
        y=y,
        truth=truth,
        memory=FeatureMemory() if memory is None else memory,
        top=top,
        higher_is_better=higher_is_better,
    )
    jobs = work.jobs(splits, sizes)
    kept = PartialResults(path, "" if path is None else work.identity(property, folds, test_share))
    found = {key: PredictorRun.from_dict(value) for key, value in kept.found.items() if key in jobs}
    rest = {key: job for key, job in jobs.items() if key not in found}
    hidden = None if progress is None else not progress
    with tqdm(desc=property, unit="fit", total=len(jobs), initial=len(found), disable=hidden) as bar:
        for key, result in outcomes(work.calls(rest), executor):
            found[key] = work.scored(jobs[key], result)
            kept.add(key, asdict(found[key]))
            bar.update()
    comparison = Comparison(
        property_name=property,
        data=data.name,
        protocol=_describe(splits, seeds, data, test, folds),
        runs=tuple(found[key] for key in jobs),
        baselines=(*chosen, *columns),
    )
    logger.info("%s", comparison)
    if path is not None:
        comparison.to_csv(path)
        comparison.save(path.with_suffix(".json"))
        kept.close()
    return comparison


class _Job(NamedTuple):
    """One fit."""

    predictor: str
    size: int
    split: Split


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the fits of a comparison share."""

    entries: Mapping[str, Entry]
    data: LabelledGraphs
    test: LabelledGraphs | None
    y: NDArray[np.float64]
    truth: NDArray[np.float64]
    memory: FeatureMemory
    top: int | float
    higher_is_better: bool
    feature_seconds: dict[str, float | None] = field(default_factory=dict)

    def jobs(self, splits: Sequence[Split], sizes: Sequence[int]) -> dict[str, _Job]:
        """All fits, by a text that tells one from another in the file of results so far."""
        found = {}
        for name, entry in self.entries.items():
            try:
                content = entry.key(self.data, self.test)
            except DataError as error:
                raise DataError(f"predictor '{name}': {error}") from error
            for size in sizes:
                for split in splits:
                    found[f"{name}|{size}|{split.seed}|{split.fold}|{content}"] = _Job(name, size, split)
        return found

    def identity(self, property: str, folds: int | None, test_share: float) -> str:
        """All that a result depends on but for its job, as text."""
        values = hashlib.sha256(self.y.tobytes() + self.truth.tobytes()).hexdigest()
        graphs = graphs_key(self.data.graphs), "" if self.test is None else graphs_key(self.test.graphs)
        return f"{property} {values} {graphs} {folds} {test_share} {self.top} {self.higher_is_better}"

    def calls(self, jobs: Mapping[str, _Job]) -> Iterator[tuple[str, Callable[[], Predictions]]]:
        """The fits to make; features are computed when the first fit that needs them is due."""
        for name, entry in self.entries.items():
            mine = {key: job for key, job in jobs.items() if job.predictor == name}
            if not mine:
                continue
            try:
                made = entry.prepare(self.data, self.test, self.memory)
            except GraphError as error:
                raise GraphError(f"features of predictor '{name}': {error}") from error
            except ValueError as error:
                raise DataError(f"features of predictor '{name}': {error}") from error
            self.feature_seconds[name] = made.feature_seconds
            for key, (_, size, split) in mine.items():
                train = split.train[:size]
                inputs = (rows(made.train, train), self.y[train], rows(made.test, split.test))
                seed = derived_seed("fit", split.seed, split.fold, size) % _SEEDS
                yield key, partial(fit_predict, made.estimator, *inputs, seed)

    def scored(self, job: _Job, result: Callable[[], Predictions]) -> PredictorRun:
        """The outcome of a fit, with its scores."""
        name, size, split = job
        truth = self.truth[split.test]
        try:
            made = result()
            scores = score_predictions(truth, made.mean, made.std, top=self.top, higher_is_better=self.higher_is_better)
        except ValueError as error:
            raise DataError(
                f"predictor '{name}', fitted to {size} networks with seed {split.seed}, failed: {error}"
            ) from error
        return PredictorRun(
            predictor=name,
            train_size=size,
            seed=split.seed,
            fold=split.fold,
            test_size=len(truth),
            scores=scores,
            fit_seconds=made.fit_seconds,
            predict_seconds=made.predict_seconds,
            feature_seconds=self.feature_seconds[name],
        )


def _targets(data: LabelledGraphs, property: str) -> NDArray[np.float64]:
    found = data.values(property)
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise DataError(
            f"property '{property}' must be finite (got {found[wrong[0]]} for network {wrong[0]} of {data!r})"
        )
    return found


def _sizes(asked: Sequence[int | None], splits: Sequence[Split]) -> list[int]:
    """Sizes of training sets; folds may differ by one network, which is left out."""
    most = min(len(split.train) for split in splits)
    found = list(dict.fromkeys(most if size is None else size for size in asked))
    wrong = [size for size in found if not 2 <= size <= most]
    if wrong or not found:
        raise DataError(
            f"sizes of training sets must be from 2 to {most}, the networks that are not held out (got "
            f"{', '.join(map(str, wrong)) or 'none'})"
        )
    return found


def _check_varies(
    property: str, splits: Sequence[Split], sizes: Sequence[int], y: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    """That there is something to learn and to predict in each split."""
    for split in splits:
        parts = [(y[split.train[: min(sizes)]], "fit to"), (truth[split.test], "score on")]
        for values, use in parts:
            if (values == values[0]).all():
                raise DataError(
                    f"property '{property}' is {values[0]} for all {len(values)} networks to {use} with seed "
                    f"{split.seed}; take more networks, or a property that varies"
                )


def _entries(
    predictors: Mapping[str, BaseEstimator],
    on_codes: Mapping[str, BaseEstimator],
    baselines: Mapping[str, BaseEstimator],
    columns: Sequence[str],
) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    groups = (
        {name: Entry(estimator=estimator) for name, estimator in predictors.items()},
        {name: Entry(estimator=estimator, codes=True) for name, estimator in on_codes.items()},
        {name: Entry(estimator=estimator) for name, estimator in baselines.items()},
        {name: Entry(estimator=LinearRegression(), column=name) for name in columns},
    )
    for group in groups:
        for name, entry in group.items():
            if name in found:
                raise DataError(f"two predictors are called '{name}'; rename one, or choose the 'baselines' yourself")
            found[name] = entry
    if not found:
        raise DataError("there is no predictor to compare; give one, or leave the baselines")
    return found


def _describe(
    splits: Sequence[Split], seeds: Sequence[int], data: LabelledGraphs, test: LabelledGraphs | None, folds: int | None
) -> str:
    held, many = len(splits[0].test), f"{len(seeds)} random {'splits' if len(seeds) > 1 else 'split'}"
    if test is not None:
        return f"scored on {held} networks of {test.name or 'a test set of its own'}, {many} of those to learn from"
    if folds is not None:
        return f"{folds} folds of {len(data)} networks, {many}"
    return f"scored on {held} of {len(data)} networks, {many}"
