import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import DataError
from ppuda_like.predictors import property_splits


@given(st.integers(4, 60), st.integers(0, 2**40))
def test_halves_hold_every_network_once_and_depend_on_the_seed(num: int, seed: int) -> None:
    (split,) = property_splits(num, seeds=[seed])
    assert sorted([*split.train, *split.test]) == list(range(num))
    assert abs(len(split.train) - len(split.test)) <= 1
    (again, other) = property_splits(num, seeds=[seed, seed + 1])
    np.testing.assert_array_equal(split.train, again.train)
    if num > 20:
        assert not np.array_equal(split.train, other.train)


@given(st.integers(4, 60), st.data())
def test_each_network_is_scored_on_in_one_fold(num: int, data: st.DataObject) -> None:
    folds = data.draw(st.integers(2, num // 2))
    found = property_splits(num, seeds=[3, 1], folds=folds)
    assert [(split.seed, split.fold) for split in found] == [(seed, fold) for seed in (3, 1) for fold in range(folds)]
    for seed in (3, 1):
        mine = [split for split in found if split.seed == seed]
        assert sorted(np.concatenate([split.test for split in mine])) == list(range(num))
        for split in mine:
            assert sorted([*split.train, *split.test]) == list(range(num))


def test_a_test_set_of_its_own_is_whole_and_the_training_networks_are_shuffled() -> None:
    found = property_splits(30, 7, seeds=range(5))
    for split in found:
        assert split.test.tolist() == list(range(7))
        assert sorted(split.train) == list(range(30))
    assert len({tuple(split.train) for split in found}) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 10, "seeds": []}, "one or more different"),
        ({"num": 10, "seeds": [1, 1]}, "one or more different"),
        ({"num": 10, "seeds": [0], "folds": 6}, r"got 6, of 10"),
        ({"num": 10, "seeds": [0], "folds": 1}, r"got 1, of 10"),
        ({"num": 10, "num_test": 5, "seeds": [0], "folds": 2}, "either 'folds' or 'test'"),
        ({"num": 10, "seeds": [0], "test_share": 1.0}, "between 0 and 1"),
        ({"num": 3, "seeds": [0]}, r"two networks or more .*got 1 and 2"),
        ({"num": 10, "num_test": 1, "seeds": [0]}, r"two networks or more .*got 10 and 1"),
    ],
)
def test_splits_that_cannot_be_made(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        property_splits(**arguments)
