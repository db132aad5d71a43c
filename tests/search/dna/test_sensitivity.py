import numpy as np
import pytest

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna import Ratings, cifar_space, cost_table, search, sensitivity

SPACE = cifar_space(depths=(1, 1, 1, 1))
VALUES = [np.array([0.30, 0.31, 0.5, 0.6]), *[np.array([0.3, 0.5, 0.6, 0.7])] * 3]
LIMITS = {"macs": 1e12}


def ratings(error: float) -> Ratings:
    return Ratings.from_arrays(SPACE, VALUES, [np.full(4, error)] * 4)


def test_without_noise_the_winner_stays() -> None:
    found = sensitivity(ratings(0.0), LIMITS, draws=5)
    assert (found.stays, found.stages, found.regret, found.rivals) == (1.0, (1.0,) * 4, 0.0, ())
    assert str(found.winner) == "0 0 0 0" == str(search(ratings(0.0), "macs").best(LIMITS))


def test_the_stage_with_close_paths_is_unsure() -> None:
    found = sensitivity(ratings(0.01), LIMITS, draws=400)
    # the difference of two ratings is 0.01 with a standard deviation of 0.014: positive in 76 % of draws
    assert found.stays == found.stages[0] == pytest.approx(0.76, abs=0.06)
    assert found.stages[1:] == (1.0, 1.0, 1.0)
    assert found.rivals == (("1 0 0 0", pytest.approx(1 - found.stays)),)
    # mean of the positive part of a normal variable of mean -0.01 and that deviation
    assert found.regret == pytest.approx(0.0020, abs=0.0004)
    assert "stays the best in" in str(found)


def test_seeds_and_limits() -> None:
    noisy = ratings(0.05)
    first, same, other = (sensitivity(noisy, LIMITS, draws=30, seed=seed) for seed in (0, 0, 1))
    assert (first.stays, first.rivals) == (same.stays, same.rivals) != (other.stays, other.rivals)
    limit = {"macs": float(cost_table(SPACE).costs(SPACE.parse("2 2 2 2"))["macs"])}
    assert sensitivity(noisy, limit, draws=3).stays == 1.0  # there is but one network
    product = sensitivity(noisy, LIMITS, draws=30, combine="product", weights=[1, 0, 0, 0])
    assert product.regret >= 0


def test_bad_calls() -> None:
    with pytest.raises(DataError, match="standard errors"):
        sensitivity(Ratings.from_arrays(SPACE, VALUES), LIMITS)
    with pytest.raises(CodeError, match="'draws'"):
        sensitivity(ratings(0.1), LIMITS, draws=0)
    with pytest.raises(CodeError, match="one cost or two"):
        sensitivity(ratings(0.1), {})
