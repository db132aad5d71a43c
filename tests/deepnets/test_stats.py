from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ppuda_like.deepnets import Rejection, generate, network_graph, plot_stats, sample_network, statistics
from ppuda_like.deepnets import _stats as stats_module
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA

NETS = 15


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stats") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        generate("test", NETS, path, executor=executor)
    return path


def test_counts_are_those_of_the_graphs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_module, "_NETS", 4)  # so that several blocks are read
    found = statistics(store)["test"]
    graphs = [network_graph(sample_network("test", i)) for i in range(NETS)]
    nodes = Counter(op for graph in graphs for op in graph.ops)
    nets = Counter(op for graph in graphs for op in set(graph.ops))
    assert found.num_nets == NETS
    assert found.op_counts == {op: nodes[op] for op in found.op_counts}
    assert found.op_nets == {op: nets[op] for op in found.op_nets}
    assert set(found.op_counts) == set(PPUDA.primitives)
    assert list(found.op_counts.values()) == sorted(found.op_counts.values(), reverse=True)
    assert found.table["num_nodes"].tolist() == [graph.num_nodes for graph in graphs]
    assert found.table["num_edges"].tolist() == [graph.num_edges for graph in graphs]
    assert found.rejected == {reason: int(found.table[f"rejected_{reason.name.lower()}"].sum()) for reason in Rejection}
    assert found.duplicates == 0


def test_summary_holds_the_figures(store: Path) -> None:
    found = statistics(store, "test")["test"]
    text = found.summary()
    assert f"{np.median(found.table['num_nodes']):,.1f}" in text
    assert f"{sum(found.rejected.values()) + NETS} candidates were drawn" in text
    assert "reference generator" in text
    assert "0 networks have the graph of an earlier one" in text


def test_picture(store: Path, tmp_path: Path) -> None:
    plot_stats(statistics(store)["test"], tmp_path / "nets.png")
    assert (tmp_path / "nets.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["nets.png"]


def test_no_such_split(store: Path) -> None:
    with pytest.raises(DataError, match="holds no split 'train'"):
        statistics(store, "train")
