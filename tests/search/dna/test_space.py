import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.dna import (
    Architecture,
    Cell,
    Space,
    Stage,
    cifar_space,
    cost_table,
    dna_network,
    imagenet_space,
    mobile_operations,
    network_graph,
    part_costs,
    ranking_space,
)
from tests.search.dna.spaces import all_numbers, spaces

SIX = mobile_operations()


@given(st.integers(1, 6), st.integers(1, 4))
def test_paths_are_in_lexicographic_order(operations: int, depth: int) -> None:
    cell = Cell(depth=depth, width=8, operations=SIX[:operations])
    paths = cell.paths()
    assert paths.tolist() == [list(path) for path in itertools.product(range(operations), repeat=depth)]
    assert cell.indices(paths).tolist() == list(range(cell.num_paths))


def test_published_numbering() -> None:
    cell = Cell(depth=4, width=40, operations=SIX)
    assert cell.indices([[1, 0, 3, 1]]).tolist() == [235]
    assert cell.paths([235]).tolist() == [[1, 0, 3, 1]]
    assert list(map(str, SIX[:4])) == ["ir_k3_e6_se0.25", "ir_k5_e6_se0.25", "ir_k7_e6_se0.25", "ir_k3_e3_se0.25"]


def test_sizes() -> None:
    assert imagenet_space().num_paths == (36, 1296, 1296, 1296, 1296, 6)
    assert imagenet_space().size == 36 * 1296**4 * 6
    assert imagenet_space(depths=(6,) * 6).num_paths == (46_656,) * 6
    assert imagenet_space(fix_last=True).num_paths[-1] == 1
    assert cifar_space().num_paths == (64,) * 4
    assert ranking_space().num_paths == (16, 256, 256, 256, 256, 1)
    assert [imagenet_space().size_in(stage) for stage in range(7)] == [112, 56, 28, 14, 14, 7, 7]


def test_dna_c_is_in_the_published_space() -> None:
    space = imagenet_space()
    definition = space.definition(space.parse("10 1101 1011 0114 1411 0"))
    assert definition.strings() == dna_network("DNA_c").strings()


def test_costs_of_dna_c_add_up() -> None:
    space = imagenet_space(fix_last=True)
    table = cost_table(space)
    architecture = space.parse("10 1101 1011 0114 1411 0")
    chosen = np.zeros(3, dtype=np.int64)
    width = 16
    for stage, path in enumerate(architecture.paths[:5]):
        chosen += table.layers[stage, 0, width][np.arange(len(path)), path].sum(axis=0)
        width = space.stages[stage].cells[0].width
    fixed = table.first + table.head[320] + table.layers[5, 0, 192][0, 0]
    by_name = dict(zip(table.names, zip(chosen.tolist(), fixed.tolist(), strict=True), strict=True))
    assert by_name["params"] == (2_861_128, 2_412_768)
    assert by_name["flops_counter"] == (391_722_328, 74_197_720)


def test_stages_with_wide_boundaries_have_the_published_parameters() -> None:
    """Of the supernet, all operations of which exist at once, and whose stages end in twice their width."""
    space = imagenet_space()
    found, width = [], 16
    for number, stage in enumerate(space.stages):
        wide = 2 * stage.cells[0].width
        layers = space.layer_parts(number, 0, width, wide)
        assert layers[-1][0].c_out == wide
        found.append(sum(part_costs(part).params for layer in layers for part in layer))
        width = wide
    assert found == [111_372, 663_180, 2_188_320, 4_844_424, 12_371_952, 12_954_432]
    stem = [part_costs(part).params for part in space.first_parts()]
    assert sum(stem) == 2_376


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_numbers_texts_and_architectures_agree(space: Space, seed: int) -> None:
    drawn = space.sample(10, np.random.default_rng(seed))
    for numbers in drawn:
        architecture = space.architecture(numbers)
        assert space.numbers(architecture).tolist() == numbers.tolist()
        assert space.parse(space.format(architecture)) == architecture
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


@settings(max_examples=30, deadline=None)
@given(spaces(most=100))
def test_every_number_is_another_architecture(space: Space) -> None:
    found = [space.architecture(numbers) for numbers in all_numbers(space)]
    assert len(set(found)) == space.size


def test_more_than_ten_operations_have_numbers_of_two_digits() -> None:
    many = mobile_operations((1, 3, 5, 7), (6, 4, 3))
    space = Space(name="many", stages=(Stage(cells=(Cell(depth=2, width=4, operations=many),)),))
    assert space.format(Architecture(((11, 2),))) == "11.2"
    assert space.parse("11.2") == Architecture(((11, 2),))


def two_cells() -> Space:
    """Three stages may have two widths: costs of the stages behind and of the head depend on the choice before."""
    space = cifar_space(depths=(1, 1, 1, 2))
    for stage, widths in ((0, (16, 24)), (1, (40, 32)), (3, (112, 96))):
        cells = [Cell(depth=1 + place, width=width, operations=SIX[:2]) for place, width in enumerate(widths)]
        space = space.with_cells(stage, cells)
    return space


def test_the_table_has_the_costs_of_whole_networks() -> None:
    space = two_cells()
    table = cost_table(space)
    numbers = space.sample(12, np.random.default_rng(0))
    cells = {space.architecture(row).cells for row in numbers}
    assert {(first, second) for first, second, _, _ in cells} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {last for *_, last in cells} == {0, 1}
    for row, costs in zip(numbers, table.costs_of(numbers), strict=True):
        definition = space.definition(space.architecture(row))
        graph = network_graph(definition)
        assert table.costs(space.architecture(row)) == dict(zip(table.names, costs.tolist(), strict=True))
        assert (graph.macs, graph.num_params) == (costs[0], costs[2])


def test_path_costs_are_in_the_order_of_indices() -> None:
    space = two_cells()
    table = cost_table(space)
    costs = table.path_costs(1, 1, 24, ["params"])
    cell = space.stages[1].cells[1]
    for index, path in enumerate(cell.paths().tolist()):
        architecture = Architecture(((0, 0), tuple(path), (0,), (0,)), (1, 1, 0, 0))
        other = Architecture(((0, 0), (0, 0), (0,), (0,)), (1, 1, 0, 0))
        difference = table.costs(architecture)["params"] - table.costs(other)["params"]
        assert costs[index, 0] - costs[0, 0] == difference


def test_extra_costs_are_whole_numbers_of_other_names() -> None:
    space = cifar_space(depths=(1, 1, 1, 1))
    table = cost_table(space, {"layers": lambda part: 1})
    assert table.costs(space.parse("0 1 2 3"))["layers"] == 1 + 1 + 4 + 1
    with pytest.raises(CodeError, match="are taken"):
        cost_table(space, {"macs": lambda part: 1})
    for bad in (0.5, -1, True):
        with pytest.raises(CodeError, match="whole number"):
            cost_table(space, {"bad": lambda part, bad=bad: bad})
    with pytest.raises(CodeError, match="no cost 'flops'"):
        table.columns(["flops"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("10 1101", "has 6 stages"),
        ("10 1101 1011 0114 1411 6", r"stage 5 .* operations 0\.\.5 in cell 0 \(got \[6\]\)"),
        ("10 110 1011 0114 1411 0", "stage 1 .* has 4 layers"),
        ("10 11x1 1011 0114 1411 0", "stage 1 .* is written OPERATIONS"),
    ],
)
def test_bad_texts(text: str, match: str) -> None:
    with pytest.raises(CodeError, match=match):
        imagenet_space().parse(text)


def test_bad_cells_in_texts() -> None:
    space = two_cells()
    assert space.parse("1:01 0:0 0 0:0").cells == (1, 0, 0, 0)
    for text in ("2:01 0:0 0 0:0", "01 0:0 0 0:0"):
        with pytest.raises(CodeError, match="stage 0 of 'dna-cifar'"):
            space.parse(text)


def test_numbers_off_the_space() -> None:
    space = cifar_space(depths=(1, 1, 1, 1))
    for numbers, match in (
        ([[0, 0, 0]], "shape"),
        ([[0.0] * 4], "integers"),
        ([[0, 0, 4, 0]], r"paths of stage 2 are 0\.\.3 \(got 4\)"),
        ([[-1, 0, 0, 0]], "got -1"),
    ):
        with pytest.raises(CodeError, match=match):
            space.check_numbers(numbers)
    for row in ([0, 0, 0], [0, 0, 0, 4]):
        with pytest.raises(CodeError):
            space.architecture(row)
    cell = space.stages[0].cells[0]
    for paths in ([[4]], [[0, 0]], [[0.5]]):
        with pytest.raises(CodeError):
            cell.indices(paths)
    with pytest.raises(CodeError):
        cell.paths([4])


def test_spaces_are_valid() -> None:
    for make in (
        lambda: Cell(depth=0, width=8, operations=SIX),
        lambda: Cell(depth=1, width=8, operations=()),
        lambda: Cell(depth=1, width=8, operations=SIX[:1] * 2),
        lambda: Cell(depth=30, width=8, operations=SIX),
        lambda: Stage(cells=()),
        lambda: Stage(cells=(Cell(depth=1, width=8, operations=SIX),), stride=0),
        lambda: Space(name="none", stages=()),
        lambda: imagenet_space(depths=(1, 2)),
        lambda: cifar_space(depths=(1, 2)),
        lambda: Architecture(((0,), (0,)), (0,)),
        lambda: Space.from_dict({"name": "x"}),
    ):
        with pytest.raises(CodeError):
            make()
