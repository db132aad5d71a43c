import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure
from matplotlib.image import imread

from ppuda_like.errors import GraphError
from ppuda_like.graph import EXTENDED, ComputationalGraph, draw, make_edge_index, to_dot
from ppuda_like.graph._palette import FAMILIES, PRIMITIVES, node_groups, text_color
from ppuda_like.testing import random_graphs

RESIDUAL = ComputationalGraph(
    ops=("input", "conv", "bn", "sum"),
    names=("x", "conv.weight", "bn.weight", ""),
    edge_index=make_edge_index([(0, 1), (1, 2), (2, 3), (0, 3)]),
    inputs=(0,),
    outputs=(3,),
    param_names=((), ("conv.weight",), ("bn.weight", "bn.bias"), ()),
    param_shapes=((), ((3, 3, 1, 1),), ((3,), (3,)), ()),
    vocabulary="ppuda",
    name="residual",
)


def long_graph(num_nodes: int) -> ComputationalGraph:
    edges = [(node, node + 1) for node in range(num_nodes - 1)]
    edges += [(node, node + 5) for node in range(0, num_nodes - 5, 5)]
    ops = ("input", *(("conv", "bn", "conv", "bn", "sum")[i % 5] for i in range(num_nodes - 1)))
    return ComputationalGraph(ops=ops, edge_index=make_edge_index(edges), inputs=(0,), outputs=(num_nodes - 1,))


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".pdf", ".svg"])
def test_pictures_by_suffix(tmp_path: Path, suffix: str) -> None:
    axes = draw(RESIDUAL, tmp_path / f"graph{suffix}")
    assert axes is not None
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix.lower()]
    assert (tmp_path / f"graph{suffix}").read_bytes().startswith(magic)
    assert os.listdir(tmp_path) == [f"graph{suffix}"]


def test_what_the_picture_says() -> None:
    axes = draw(RESIDUAL)
    assert axes is not None
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["input", "x", "conv", "conv.weight", "3x3x1x1", "bn", "bn.weight", "3", "sum"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["input (1)", "conv (1)", "bn (1)", "sum (1)"]
    assert axes.get_title(loc="left") == "residual: 4 nodes, 4 edges, 15 parameters"


def test_options() -> None:
    axes = draw(RESIDUAL, labels="op", legend=False, title="mine", direction="tb")
    assert axes is not None
    assert [text.get_text() for text in axes.texts] == ["input", "conv", "bn", "sum"]
    assert (axes.get_legend(), axes.get_title(loc="left")) == (None, "mine")
    x, y = np.array([text.get_position() for text in axes.texts]).T
    np.testing.assert_allclose(x, x[0], atol=1e-9)
    assert (np.diff(y) < 0).all()
    bare = draw(RESIDUAL, labels="none", title="")
    assert bare is not None
    assert (len(bare.texts), bare.get_title(loc="left")) == (0, "")


@pytest.mark.parametrize(("num_nodes", "labelled"), [(10, True), (50, True), (300, True), (1000, False)])
def test_labels_only_while_they_fit(num_nodes: int, labelled: bool) -> None:
    axes = draw(long_graph(num_nodes))
    assert axes is not None
    assert bool(axes.texts) == labelled
    figure = axes.figure
    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches()
    assert 6 < width < 40
    assert 1 < height < 30
    if labelled:  # no text wider than its box: neighbours' texts in a row are apart
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        boxes = sorted((text.get_window_extent(renderer) for text in axes.texts), key=lambda box: (box.y0, box.x0))
        clashes = [1 for a, b in pairwise(boxes) if a.overlaps(b)]
        assert not clashes


def test_into_axes_given() -> None:
    figure = Figure(figsize=(8, 4))
    small, large = figure.subplots(1, 2)
    results = draw(RESIDUAL, small, legend=False), draw(long_graph(200), large, legend=False)
    assert results == (small, large)
    assert small.texts
    assert not large.texts
    figure.canvas.draw()


def test_colors_are_distinct_and_cover_the_vocabularies() -> None:
    assert set(EXTENDED.primitives) <= set(PRIMITIVES)
    assert len(set(PRIMITIVES.values())) == len(PRIMITIVES)
    assert len({color for color, _ in FAMILIES.values()}) == len(FAMILIES)
    assert (text_color("#000000"), text_color("#f0e442")) == ("#ffffff", "#000000")


def test_full_traces_have_families() -> None:
    ops = {
        "input": "input", "conv2d": "convolution", "conv_transpose2d": "convolution", "batch_norm": "normalisation",
        "relu": "activation", "softmax": "activation", "add": "sum", "iadd": "sum", "mul": "product",
        "cat": "concatenation", "adaptive_avg_pool2d": "pooling", "mean": "pooling", "linear": "matrix product",
        "bmm": "matrix product", "scaled_dot_product_attention": "attention",
        "multi_head_attention_forward": "attention", "lstm": "recurrence", "embedding": "embedding",
        "flatten": "shape", "getitem": "shape", "dropout": "dropout", "interpolate": "resampling", "erfinv": "other",
    }  # fmt: skip
    graph = ComputationalGraph(
        ops=tuple(ops),
        edge_index=make_edge_index((i, i + 1) for i in range(len(ops) - 1)),
        inputs=(0,),
        outputs=(len(ops) - 1,),
    )
    groups = node_groups(graph)
    assert [family for family, _ in groups] == list(ops.values())
    assert all(color == FAMILIES[family][0] for family, color in groups)


def test_dot_source(tmp_path: Path) -> None:
    graph = ComputationalGraph(
        ops=("input", "conv"), names=("", 'a"b\\c'), edge_index=make_edge_index([(0, 1)]), inputs=(0,), outputs=(1,)
    )
    source = to_dot(graph)
    assert 'label="conv\\na\\"b\\\\c"' in source
    assert "0 -> 1;" in source
    for name in ("graph.dot", "graph.gv"):
        assert draw(graph, tmp_path / name) is None
        assert (tmp_path / name).read_text() == source
    assert "rankdir=LR" in to_dot(graph, vertical=False)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz(tmp_path: Path) -> None:
    assert draw(RESIDUAL, tmp_path / "graph.svg", engine="graphviz") is None
    root = ElementTree.parse(tmp_path / "graph.svg").getroot()
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {"0", "1", "2", "3", "0->1", "1->2", "2->3", "0->3"} <= set(titles)


@pytest.mark.skipif(sys.platform == "win32", reason="a program in a shell script")
def test_graphviz_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no such format' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(GraphError, match="Graphviz could not draw the graph as 'svg': no such format"):
        draw(RESIDUAL, tmp_path / "graph.svg", engine="graphviz")
    assert os.listdir(tmp_path) == ["dot"]


def test_graphviz_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraphError, match=r"no program 'dot' on the PATH; install it .*apt-get install graphviz"):
        draw(RESIDUAL, tmp_path / "graph.svg", engine="graphviz")
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"must end in one of \.png, \.pdf, \.svg, \.dot, \.gv \(got 'graph\.bmp'\)"):
        draw(RESIDUAL, tmp_path / "graph.bmp")
    with pytest.raises(GraphError, match=r"there is no folder '.*missing'; make it first"):
        draw(RESIDUAL, tmp_path / "missing" / "graph.png")
    with pytest.raises(GraphError, match=r"'direction' must be one of 'auto', 'lr', 'tb' \(got 'up'\)"):
        draw(RESIDUAL, direction="up")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="draws to files only: give the path of one"):
        draw(RESIDUAL, engine="graphviz")


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "graph.png"
    target.write_bytes(b"old")

    def refuse(source: str, to: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        draw(RESIDUAL, target)
    assert os.listdir(tmp_path) == ["graph.png"]
    assert target.read_bytes() == b"old"


def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    code = (
        "import sys; from ppuda_like.graph import ComputationalGraph, draw, make_edge_index; "
        "assert 'matplotlib' not in sys.modules; "
        "draw(ComputationalGraph(ops=('input',), edge_index=make_edge_index([]), inputs=(0,), outputs=(0,)), 'x.png'); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": root})
    assert imread(tmp_path / "x.png").ndim == 3


@settings(max_examples=15, deadline=None)
@given(random_graphs(max_nodes=30))
def test_any_graph_can_be_drawn(graph: ComputationalGraph) -> None:
    axes = draw(graph)
    assert axes is not None
    boxes = axes.collections[-1]
    assert len(boxes.get_paths()) == graph.num_nodes
