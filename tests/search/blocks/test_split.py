from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import BlockwiseModel, Frontier, split


def image_net(name: str) -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, num_classes=10).eval()


@pytest.mark.parametrize(
    ("name", "boundaries", "width"),
    [
        ("resnet18", ["layer1.0", "layer3.1"], 1),  # between modules of modules
        ("mobilenet_v2", ["features.10.conv.0.0"], 2),  # inside a residual
        ("shufflenet_v2_x0_5", ["stage3.1.branch2.4"], 2),  # inside a branch, with a chunk
        ("googlenet", ["inception4a.branch2.0"], 3),
    ],
)
def test_the_very_output_of_the_model(name: str, boundaries: list[str], width: int) -> None:
    model = torchvision.models.get_model(name, weights=None, num_classes=10, **_options(name)).eval()
    partition = Partition.at(trace(model, (2, 3, 32, 32)), boundaries, max_width=width)
    blocks = split(model, partition)
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert blocks(x).equal(model(x))
    assert [shape[1:] for shape in map(_first_shape, blocks.frontiers(x))] == [shapes[-1] for shapes in blocks.shapes]
    for block, paths in zip(blocks.blocks, partition.parameters, strict=True):
        wanted = {id(model.get_parameter(path)) for path in paths}
        assert {id(p) for p in block.parameters()} == wanted  # shared with the model, each in one block


def _options(name: str) -> dict[str, Any]:
    return {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}


def _first_shape(frontier: Frontier) -> tuple[int, ...]:
    assert not any(value.requires_grad for value in frontier.values)
    return tuple(frontier.newest.shape)


def test_gradients_of_the_model_undetached_and_of_one_block_detached() -> None:
    model = image_net("resnet18").double()
    blocks = split(model, Partition.at(trace(model, (2, 3, 32, 32)), ["layer2.0"]))
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    model(x).square().sum().backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    blocks(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.equal(wanted[name])
    model.zero_grad()
    blocks(x, detach=True).square().sum().backward()
    assert all(p.grad is None for p in blocks.blocks[0].parameters())
    assert all(p.grad is not None for p in blocks.blocks[1].parameters())


class Branches(nn.Module):
    """Python's own control flow, in a module that no boundary goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(len(x)):
            x = self.inner(x)
        return x if x.shape[0] else x + 1


def test_control_flow_between_boundaries_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Branches(), nn.Linear(4, 2))
    blocks = split(model, Partition.at(trace(model, (3, 4)), ["1"]))
    x = torch.randn(5, 4)
    assert blocks(x).equal(model(x))


class Looping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        for row in range(len(x)):
            x = x + row
        return self.b(x)


def test_control_flow_that_a_boundary_goes_through() -> None:
    model = Looping()
    with pytest.raises(GraphError, match=r"cannot follow the forward of Looping .* cut between the modules"):
        split(model, Partition.at(trace(model, (3, 4)), ["a"]))
    assert split(model, Partition.uniform(trace(model, (3, 4)), 1))(torch.ones(2, 4)).shape == (2, 4)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(nn.functional.dropout(self.a(x), 0.5, self.training))


def test_another_computation_in_the_other_mode() -> None:
    model = Noisy().eval()
    blocks = split(model, Partition.at(trace(model, (3, 4)), ["a"]))
    x = torch.randn(2, 4)
    assert blocks(x).equal(model(x))
    with pytest.raises(GraphError, match="split in evaluation mode"):
        blocks.train()(x)
    assert not model.a.training or model.training is False


def test_another_model_or_another_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))
    graph = trace(model.train(), (3, 4))
    other = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 2))
    with pytest.raises(GraphError, match="do not agree"):
        split(other, Partition.at(graph, ["0"]))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.layer(torch.relu(self.layer(x)))))


def test_tied_layers_get_copies() -> None:
    model = Tied()
    partition = Partition.at(trace(model, (3, 4)), [2], tied="copy")
    blocks = split(model, partition)
    x = torch.randn(3, 4)
    assert blocks(x).equal(model(x))
    first, second = (set(map(id, block.parameters())) for block in blocks.blocks)
    assert not first & second
    assert id(model.layer.weight) in first


class Skips(nn.Module):
    """A value used two blocks later, one that carries no gradient, and an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        mask = x > 0
        n = x.size(0)
        a = self.layers[0](x).relu()
        b = self.layers[1](a).relu()
        return self.layers[2](b) * mask + a.view(n, -1)


def test_what_crosses_several_boundaries() -> None:
    model = Skips()
    graph = trace(model, (3, 4))
    ends = [i for i, op in enumerate(graph.ops) if op == "relu"]
    blocks = split(model, Partition.at(graph, ends, max_width=2))
    x = torch.randn(5, 4)
    assert blocks(x).equal(model(x))
    widths = [(len(frontier.values), len(frontier.passed)) for frontier in blocks.frontiers(x)]
    assert widths == [(1, 2), (2, 2)]  # the mask and the batch size pass


def test_one_frontier_is_a_tuple_with_names() -> None:
    frontier = Frontier((torch.ones(2, 3, requires_grad=True),), (7,))
    assert frontier._fields == ("values", "passed")
    assert frontier.detached().passed == (7,)
    assert isinstance(split(nn.Linear(2, 2), Partition.uniform(trace(nn.Linear(2, 2), (1, 2)), 1)), BlockwiseModel)
