import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, MultiResolutionCode, module_graph

codes = st.integers(0, 2**32 - 1).map(lambda seed: MultiResolutionCode.random(np.random.default_rng(seed)))


def test_totals_are_those_of_the_traced_network() -> None:
    code = MultiResolutionCode.random(np.random.default_rng(2))
    small, full = module_graph(code), code.to_graph()
    assert small.macs == full.macs
    norms = sum(
        sum(int(np.prod(shape)) for shape in shapes)
        for op, shapes in zip(full.ops, full.param_shapes, strict=True)
        if op == "batch_norm"
    )
    assert small.num_params == full.num_params - norms
    assert small.num_nodes < full.num_nodes / 5


@settings(max_examples=30)
@given(code=codes)
def test_a_node_for_each_branch_and_fusion(code: MultiResolutionCode) -> None:
    graph = module_graph(code)
    branches = sum(branches for branches, _, _ in code.settings)
    assert graph.num_nodes == 5 + 2 * branches
    assert graph.ops.count("branch") == branches
    assert graph.ops.count("transition") == 3  # a lower resolution appears three times
    for node, sources in enumerate(graph.predecessors()):
        if graph.ops[node] == "fusion":
            areas = {graph.out_shapes[source][2] for source in sources}
            assert len(areas) == len(sources) <= 3
            assert graph.out_shapes[node][2] in areas
    blocks = [len(shapes) for op, shapes in zip(graph.ops, graph.param_shapes, strict=True) if op == "branch"]
    assert blocks == [2 * n for _, counts, _ in code.settings for n in counts]


def test_different_codes_have_different_graphs() -> None:
    code = MULTI_RESOLUTION.sample(1, np.random.default_rng(0))[0]
    graphs = [module_graph(other) for other in (code, *MULTI_RESOLUTION.neighbours(code))]
    assert len(set(graphs)) == len(graphs)


def test_a_wrong_code_is_refused() -> None:
    with pytest.raises(CodeError, match="27"):
        module_graph([1, 2, 3])
