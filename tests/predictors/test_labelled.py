import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.predictors import LabelledGraphs


def chain(length: int) -> ComputationalGraph:
    edges = make_edge_index([(i, i + 1) for i in range(length - 1)])
    return ComputationalGraph(
        ops=("input",) + ("conv",) * (length - 1), edge_index=edges, inputs=(0,), outputs=(length - 1,)
    )


def labelled() -> LabelledGraphs:
    return LabelledGraphs(
        graphs=[chain(n) for n in (2, 3, 4, 5)],
        labels={"accuracy": [0.1, np.nan, 0.3, 0.4], "time": [1, 2, np.nan, 4]},
        codes=np.arange(8).reshape(4, 2),
    )


def test_known_keeps_what_was_measured():
    found = labelled().known("accuracy", "time")
    assert [graph.num_nodes for graph in found.graphs] == [2, 5]
    assert found.values("accuracy").tolist() == [0.1, 0.4]
    assert found.codes.tolist() == [[0, 1], [6, 7]]


@pytest.mark.parametrize("index", [[2, 0], slice(1, 3), np.array([False, True, True, False]), np.array([3])])
def test_select_selects_every_column_alike(index):
    whole, found = labelled(), labelled().select(index)
    assert [graph.num_nodes for graph in found.graphs] == list(np.array([2, 3, 4, 5])[index])
    np.testing.assert_array_equal(found.labels["time"], whole.labels["time"][index])
    np.testing.assert_array_equal(found.codes, whole.codes[index])


def test_missing_values_are_named():
    with pytest.raises(DataError, match=r"'accuracy' is unknown \(NaN\) for 1 of 4 networks.* number 1"):
        labelled().values("accuracy")
    with pytest.raises(DataError, match=r"no property 'speed'; there are accuracy, time"):
        labelled().known("speed")


def test_every_column_has_one_entry_per_graph():
    with pytest.raises(DataError, match=r"'time' must have one value per graph, shape \(1,\)"):
        LabelledGraphs(graphs=[chain(2)], labels={"time": [1, 2]})
    with pytest.raises(DataError, match="one row per graph"):
        LabelledGraphs(graphs=[chain(2)], labels={}, codes=np.zeros((2, 3)))
