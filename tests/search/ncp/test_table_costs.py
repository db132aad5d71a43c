import logging

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201
from ppuda_like.search.ncp._table_costs import verify_costs

# the benchmark holds them for the same: the first convolves the input twice, the second once, and uses it twice
TWICE, ONCE = [2, 3, 3, 2, 3, 0], [3, 3, 2, 2, 2, 0]


def told(flops: float, params: float) -> dict[str, np.ndarray]:
    return {"Flops": np.array([flops]), "Params": np.array([params])}


def test_costs_of_a_cell_held_for_the_same_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        verify_costs(NASBENCH201, np.array([TWICE]), told(19.59, 0.163))
        assert caplog.messages == []
        verify_costs(NASBENCH201, np.array([TWICE]), told(15.65, 0.135))  # as row 327 of the published table
    assert caplog.messages == ["1 of 1 rows tell the costs of another cell, held for the same"]
    assert NASBENCH201.costs([ONCE])[0] == pytest.approx([15.65e6, 0.135e6], abs=5e3)


@pytest.mark.parametrize(("flops", "params"), [(15.65, 0.163), (11.72, 0.107), (19.61, 0.163), (19.59, 0.164)])
def test_costs_of_no_such_cell_are_refused(flops: float, params: float) -> None:
    with pytest.raises(DataError, match="1 of 1 rows"):
        verify_costs(NASBENCH201, np.array([TWICE]), told(flops, params))


def test_one_column_is_enough() -> None:
    code = MULTI_RESOLUTION.sample(1, np.random.default_rng(0))
    flops, params = MULTI_RESOLUTION.costs(code)[0]
    verify_costs(MULTI_RESOLUTION, code, {})
    verify_costs(MULTI_RESOLUTION, code, {"flops": np.array([flops / 1e9])})
    with pytest.raises(DataError, match=r"flops .*, exactly .*, params .*, exactly"):
        verify_costs(MULTI_RESOLUTION, code, {"params": np.array([(params + 1) / 1e6])})
