import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS, cell_form, cell_graph, nasbench201

Code = tuple[int, ...]
POOL, NONE, SKIP, CONV1, CONV3 = range(5)
WIDTH = 5
_RANDOM = np.random.default_rng(0)
SPREAD = _RANDOM.normal(size=(WIDTH, WIDTH))  # stands for average pooling: linear, without weights
WEIGHTS = _RANDOM.normal(size=(6, WIDTH, WIDTH))
X = _RANDOM.normal(size=WIDTH)

codes = st.tuples(*[st.integers(0, 4)] * 6)


def convolved(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Stands for ReLU, convolution and batch norm: not linear, and blind to the scale of its input."""
    size = np.linalg.norm(x)
    return weight @ np.tanh(x / size) if size > 0 else np.zeros(WIDTH)


def output_of_code(code: Code, weights: NDArray[Any]) -> NDArray[Any]:
    """The output of a cell by its definition, the convolution on edge i having weights i; X is the input."""
    states = [X, *np.zeros((3, WIDTH))]
    for place, ((source, target), op) in enumerate(zip(NASBENCH201_EDGES, code, strict=True)):
        read = states[source]
        if op == SKIP:
            states[target] = states[target] + read
        elif op == POOL:
            states[target] = states[target] + SPREAD @ read
        elif op in (CONV1, CONV3):
            states[target] = states[target] + convolved(read, weights[place])
    return states[3]


def output_of_graph(graph: ComputationalGraph, weights: NDArray[Any]) -> NDArray[Any]:
    """The output of a cell by its graph, the i-th convolution node having weights i."""
    found: list[NDArray[Any]] = []
    convolutions = itertools.count()
    for op, sources in zip(graph.ops, graph.predecessors(), strict=True):
        read = np.sum([found[source] for source in sources], axis=0) if sources else X
        if op == "none":
            read = np.zeros(WIDTH)
        elif op == "avg_pool_3x3":
            read = SPREAD @ read
        elif op.startswith("nor_conv"):
            read = convolved(read, weights[next(convolutions)])
        found.append(read)
    return found[graph.outputs[0]]


def assignments(code: Code) -> list[NDArray[Any]]:
    """The weights of the edges, shared out in every way among the convolutions of each kind."""
    found = []
    places = [[i for i, op in enumerate(code) if op == kind] for kind in (CONV1, CONV3)]
    for small, large in itertools.product(*map(itertools.permutations, places)):
        weights = WEIGHTS.copy()
        weights[list(small)], weights[list(large)] = WEIGHTS[: len(small)], WEIGHTS[3 : 3 + len(large)]
        found.append(weights)
    return found


def compute_the_same(one: Code, other: Code) -> bool:
    """Whether weights can be given to the live convolutions of both so that the outputs agree."""
    (fixed,) = assignments(one)[:1]
    wanted = output_of_code(one, fixed)
    return any(np.allclose(wanted, output_of_code(other, weights)) for weights in assignments(other))


def some_codes(kinds: tuple[int, ...], count: int) -> list[Code]:
    # At most three convolutions of a kind: the weights above have room for these.
    drawn = np.random.default_rng(1).choice(kinds, size=(20 * count, 6)).tolist()
    return [tuple(code) for code in drawn if max(code.count(CONV1), code.count(CONV3)) <= 3][:count]


def without_dead(code: Code) -> Code:
    """'none' for each convolution whose weights have no influence on the output."""
    found = list(code)
    for place, op in enumerate(code):
        if op in (CONV1, CONV3):
            changed = WEIGHTS.copy()
            changed[place] += 1
            if np.allclose(output_of_code(code, changed), output_of_code(code, WEIGHTS)):
                found[place] = NONE
    return tuple(found)


@pytest.mark.parametrize("kinds", [(NONE, SKIP, CONV3), (POOL, SKIP, NONE), (POOL, NONE, SKIP, CONV1, CONV3)])
def test_equal_forms_are_equal_functions(kinds: tuple[int, ...]) -> None:
    groups = defaultdict(list)
    for code in some_codes(kinds, 300):
        groups[cell_form(code)].append(without_dead(code))
    pairs = [(group[0], other) for group in groups.values() for other in group[1:]]
    assert len(pairs) > 20
    assert all(compute_the_same(one, other) for one, other in pairs)
    different = list(itertools.islice(itertools.combinations([group[0] for group in groups.values()], 2), 1000))
    assert not any(compute_the_same(one, other) for one, other in different)


@settings(max_examples=50, deadline=None)
@given(codes)
def test_the_graph_computes_what_the_cell_does(code: Code) -> None:
    found = [op for op in cell_graph(code).ops if op.startswith("nor_conv")]
    wanted = output_of_code(code, WEIGHTS)
    live = [place for place, op in enumerate(without_dead(code)) if op in (CONV1, CONV3)]
    assert sorted(found) == sorted(NASBENCH201_OPS[code[place]] for place in live)
    orders = (order for order in itertools.permutations(live))
    assert any(
        np.allclose(output_of_graph(cell_graph(code), WEIGHTS[list(order)]), wanted)
        for order in orders
        if [NASBENCH201_OPS[code[place]] for place in order] == found
    )


@settings(max_examples=50, deadline=None)
@given(codes)
def test_states_that_do_not_read_each_other_may_change_places(code: Code) -> None:
    a, b, _, d, e, f = code
    assert cell_form((a, b, NONE, d, e, f)) == cell_form((b, a, NONE, d, f, e))


@settings(max_examples=50, deadline=None)
@given(codes)
def test_cells_of_one_form_have_one_graph(code: Code) -> None:
    a, b, _, d, e, f = code
    assert cell_graph((a, b, NONE, d, e, f)) is cell_graph((b, a, NONE, d, f, e))


def test_weights_of_one_convolution_and_of_two_are_told_apart() -> None:
    shared = (CONV3, NONE, SKIP, NONE, SKIP, SKIP)  # one convolution, added twice
    apart = (CONV3, CONV3, NONE, NONE, SKIP, SKIP)
    assert cell_form(shared) != cell_form(apart)
    assert cell_graph(shared).ops.count("nor_conv_3x3") == 1
    assert cell_graph(apart).ops.count("nor_conv_3x3") == 2


def test_costs_are_those_of_the_operations() -> None:
    graph = cell_graph((CONV3, NONE, NONE, CONV1, NONE, NONE))  # the 3x3 leads nowhere
    assert graph.num_params == 16 * 16
    assert graph.macs == 16 * 16 * 32 * 32
    assert cell_graph((CONV3, NONE, NONE, NONE, SKIP, NONE)).macs == 9 * 16 * 16 * 32 * 32


def test_a_cell_that_returns_zeros() -> None:
    assert cell_graph((CONV3, NONE, NONE, NONE, NONE, CONV1)).ops == ("input", "none", "output")


@pytest.mark.parametrize("code", [(1, 1, 1), (0, 0, 0, 0, 0, 5), (-1, 0, 0, 0, 0, 0)])
def test_no_code(code: Code) -> None:
    with pytest.raises(DataError, match="6 numbers of operations"):
        cell_form(code)


def written(path: Path, **changes: Any) -> Path:
    columns: dict[str, Any] = {
        "codes": np.array([[0, 1, 2, 3, 4, 2], [1, 1, 1, 3, 1, 1], [3, 1, 1, 1, 2, 1]], dtype=np.uint8),
        "code_names": np.array(["e1<0", "e2<0", "e2<1", "e3<0", "e3<1", "e3<2"]),
        "op_names": np.array(NASBENCH201_OPS),
        "metrics": np.arange(6.0).reshape(3, 2),
        "metric_names": np.array(["Acc", "Flops"]),
    }
    np.savez(path, **{key: value for key, value in (columns | changes).items() if value is not None})
    return path


def test_table(tmp_path: Path) -> None:
    data = nasbench201(written(tmp_path / "cells.npz"))
    assert data.values("Flops").tolist() == [1, 3, 5]
    assert data.codes is not None
    assert data.codes.shape == (3, 6)
    assert data.graphs[1] is data.graphs[2]
    assert data.graphs[0] == cell_graph((0, 1, 2, 3, 4, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op_names": np.array(NASBENCH201_OPS[::-1])}, "'op_names'"),
        ({"code_names": np.array(["a"] * 6)}, "'code_names'"),
        ({"metrics": np.zeros((2, 2))}, r"metrics \(n, 2\)"),
        ({"codes": np.zeros((3, 6))}, "integer codes"),
        ({"codes": np.full((3, 6), 7)}, "6 numbers of operations"),
        ({"metrics": None}, "no table"),
        ({"codes": np.array([{}], dtype=object)}, "no table"),
    ],
)
def test_foreign_tables(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        nasbench201(written(tmp_path / "cells.npz", **changes))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="check the path"):
        nasbench201(tmp_path / "cells.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DataError, match="no table"):
        nasbench201(tmp_path / "text.npz")
    whole = written(tmp_path / "cells.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no table"):
        nasbench201(tmp_path / "half.npz")
