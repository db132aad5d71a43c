from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from torch import nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import Partition, draw, to_dot, trace
from ppuda_like.graph._block_colors import BLOCKS, block_groups

GRAPH = trace(nn.Sequential(*(nn.Linear(10, 10) for _ in range(30))), (2, 10))
PARTITION = Partition.at_units(GRAPH, [4, 9])


def test_a_colour_per_block_and_what_it_costs(tmp_path: Path) -> None:
    axes = draw(GRAPH, tmp_path / "blocks.png", partition=PARTITION)
    assert axes is not None
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "block 0: 550 parameters, 1 k MACs",
        "block 1: 550 parameters, 1 k MACs",
        "block 2: 2.2 k parameters, 4 k MACs",
    ]
    drawn = [to_hex(color) for color in axes.collections[-1].get_facecolor()]
    assert drawn == [BLOCKS[block] for block in PARTITION.block_of]
    assert (tmp_path / "blocks.png").stat().st_size > 0


def test_graphviz_source(tmp_path: Path) -> None:
    source = to_dot(GRAPH, partition=PARTITION)
    assert [source.count(color) for color in BLOCKS[:4]] == [6, 5, 20, 0]
    draw(GRAPH, tmp_path / "blocks.dot", partition=PARTITION)
    assert (tmp_path / "blocks.dot").read_text() == source


def test_colours_of_many_blocks_differ() -> None:
    every = Partition.at_units(GRAPH, range(29))
    colors = [color for _, color in block_groups(GRAPH, every)]
    assert len(set(colors)) == every.num_blocks == 30
    assert all(a != b for a, b in pairwise(colors[1:]))


def test_a_partition_of_another_graph() -> None:
    other = trace(nn.Linear(10, 10), (2, 10))
    with pytest.raises(GraphError, match="the partition is not one of the graph to draw"):
        draw(other, partition=PARTITION)
