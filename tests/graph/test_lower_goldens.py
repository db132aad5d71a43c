from typing import Any

import pytest
import torch
import torchvision

from ppuda_like.graph import ComputationalGraph, make_edge_index, trace, virtual_edges
from ppuda_like.testing import assert_isomorphic
from ppuda_like.vision import adapt_small_input


def graph_of(golden: dict[str, Any]) -> ComputationalGraph:
    """A graph that the reference program wrote."""
    return ComputationalGraph(
        ops=tuple(golden["ops"]),
        edge_index=make_edge_index(map(tuple, golden["edges"])),
        inputs=(0,),
        outputs=(golden["n_nodes"] - 1,),
        vocabulary="ppuda",
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "vgg11_bn"])
def test_torchvision_models_lower_to_the_graphs_of_the_reference(name: str, golden_graphs: dict[str, Any]) -> None:
    golden = golden_graphs["networks"][name]
    with torch.device("meta"):
        model = adapt_small_input(torchvision.models.get_model(name, num_classes=10))
    graph = trace(model, (1, 3, 32, 32)).lower("ppuda")
    assert_isomorphic(graph, graph_of(golden))
    assert set(graph.params) == {path for path, _ in model.named_parameters()}
    assert graph.num_edges == golden["n_real_edges"]
    assert virtual_edges(graph).distance.numel() == golden["n_edges"]
