"""Which networks predictors are fitted to and scored on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError

__all__ = ["Split", "property_splits"]


class Split(NamedTuple):
    """Which networks to fit to and which to score on.

    Attributes:
        seed: of the order of the networks.
        fold: of cross-validation; 0 without.
        train: numbers of the networks to fit to, in random order: a smaller budget takes the first of them.
        test: numbers of the networks to score on.
    """

    seed: int
    fold: int
    train: NDArray[Any]
    test: NDArray[Any]


def property_splits(
    num: int, num_test: int | None = None, *, seeds: Sequence[int], folds: int | None = None, test_share: float = 0.5
) -> list[Split]:
    """Splits of networks by seed: a part held out, or folds of cross-validation, or a test set of its own.

    Args:
        num: networks there are to learn from.
        num_test: networks in a test set of its own; None to hold out some of ``num``.
        seeds: one or more.
        folds: number of folds; None to hold out one part.
        test_share: how many to hold out; of no effect with folds or a test set.

    Raises:
        DataError: if there is no seed or one stands twice, there are fewer than two networks to learn from or to score
            on, fewer networks than two per fold, or folds and a test set are both given.

    Example:
        >>> (split,) = property_splits(6, seeds=[0])
        >>> sorted({*split.train.tolist(), *split.test.tolist()}), len(split.test)
        ([0, 1, 2, 3, 4, 5], 3)
    """
    if not len(seeds) or len(set(seeds)) < len(seeds):
        raise DataError(f"'seeds' must be one or more different numbers (got {list(seeds)})")
    if folds is not None and num_test is not None:
        raise DataError("folds are parts of one data set: give either 'folds' or 'test'")
    if folds is not None and not 2 <= folds <= num // 2:
        raise DataError(
            f"'folds' must be at least 2, with two networks or more in each of them (got {folds}, of {num})"
        )
    if not 0 < test_share < 1:
        raise DataError(f"'test_share' must lie between 0 and 1, both excluded (got {test_share})")
    found = []
    for seed in seeds:
        order = np.random.default_rng(derived_seed("split", seed)).permutation(num)
        if folds is not None:
            parts = KFold(folds).split(order)
            found += [Split(seed, fold, order[train], order[test]) for fold, (train, test) in enumerate(parts)]
        elif num_test is not None:
            found.append(Split(seed, 0, order, np.arange(num_test)))
        else:
            held = round(test_share * num)
            found.append(Split(seed, 0, order[held:], order[:held]))
    train, test = len(found[0].train), len(found[0].test)
    if min(train, test) < 2:
        raise DataError(f"there must be two networks or more to learn from and to score on (got {train} and {test})")
    return found
