"""Single operators under pytest-benchmark: ``python -m pytest benchmarks --benchmark-enable``."""

from __future__ import annotations

import pytest
import torch
import torchvision
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from ppuda_like import GHN, ComputationalGraph, trace, virtual_edges
from ppuda_like.deepnets import DARTS, Network, sample_network
from ppuda_like.ghn import GHNConfig
from ppuda_like.graph import levels, properties


def build(name: str) -> nn.Module:
    with torch.device("meta"):
        if name == "darts":
            return Network(C=32, num_classes=10, genotype=DARTS, n_cells=8)
        return torchvision.models.get_model(name).eval()


@pytest.fixture(params=["resnet50", "densenet201", "vit_b_16", "swin_t", "darts"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return build(request.param)


@pytest.fixture
def graph(model: nn.Module) -> ComputationalGraph:
    return trace(model)


def test_trace(benchmark: BenchmarkFixture, model: nn.Module) -> None:
    benchmark(trace, model)


def test_lower(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    benchmark(graph.lower, "ppuda")


def test_virtual_edges(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    benchmark(virtual_edges, graph.lower("ppuda"))


def test_levels(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    benchmark(levels, graph.lower("ppuda"))


def test_properties(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    benchmark(properties, graph)


def test_json(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    benchmark(lambda: ComputationalGraph.from_json(graph.to_json()))


def test_predict(benchmark: BenchmarkFixture, graph: ComputationalGraph) -> None:
    ghn = GHN(GHNConfig.ghn2(num_classes=graph.out_shapes[graph.outputs[0]][-1], kernel=16)).eval()
    batch = ghn.prepare(graph)
    with torch.no_grad():
        benchmark(ghn.predict, batch)


def test_sample(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: [sample_network("train", index) for index in range(10)])
