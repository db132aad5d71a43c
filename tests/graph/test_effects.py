import json

import pytest
import torch
from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, Effects, trace
from tests.graph.test_cuts import Net


def effects(graph: ComputationalGraph, op: str) -> Effects:
    assert graph.effects is not None
    return graph.effects[graph.ops.index(op)]


def same_memory(graph: ComputationalGraph, a: str, b: str) -> bool:
    return not {*effects(graph, a).storages}.isdisjoint(effects(graph, b).storages)


def test_memory_shared_and_written() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.a(x)  # 2 x 8
        y, _ = x.chunk(2, dim=1)
        y *= 2
        z = torch.tanh(x)
        z[:, 0] = 1
        return torch.sigmoid(z) + self.w[None].exp()

    graph = trace(Net(forward, a=nn.Linear(8, 8), w=nn.Parameter(torch.ones(8))), (2, 8))
    assert graph.ops == ("input", "linear", "chunk", "mul", "tanh", "setitem", "sigmoid", "getitem", "exp", "add")
    assert graph.effects is not None
    assert [op for op, one in zip(graph.ops, graph.effects, strict=True) if one.writes] == ["mul", "setitem"]
    assert same_memory(graph, "linear", "chunk")
    assert same_memory(graph, "linear", "mul")
    assert same_memory(graph, "tanh", "setitem")
    assert not same_memory(graph, "linear", "tanh")
    assert not same_memory(graph, "tanh", "sigmoid")
    assert len(effects(graph, "chunk").storages) == len(effects(graph, "chunk").dtypes) == 2
    sizes = {op: one.num_bytes for op, one in zip(graph.ops, graph.effects, strict=True)}
    fresh = dict.fromkeys(("input", "linear", "tanh", "sigmoid", "add"), 64) | {"exp": 32}
    assert {op: size for op, size in sizes.items() if size} == fresh  # a view of a parameter is not new memory either


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_hands_its_input_through_in_evaluation(training: bool, inplace: bool) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5, inplace=inplace), nn.Linear(8, 8)).train(training)
    graph = trace(model, (2, 8))
    assert same_memory(graph, "linear", "dropout") == (inplace or not training)
    assert effects(graph, "dropout").writes == (inplace and training)
    x = torch.zeros(2, 8)
    assert (model[1](x).data_ptr() == x.data_ptr()) == (inplace or not training)


def test_memory_on_meta_is_that_of_real_tensors() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.c(x).relu_()
        a, b = x.split(4, dim=1)
        c = torch.cat((b, a), 1).view(2, 2, 4, -1).transpose(1, 2).reshape(2, 8, -1)
        c += x.flatten(2)
        return self.f(c.mean(2))

    def ask(self: nn.Module, x: Tensor) -> Tensor:
        return forward(self, x) if x.sum() < 1 else x

    parts = {"c": nn.Conv2d(3, 8, 1), "f": nn.Linear(8, 2)}
    on_meta = trace(Net(forward, **parts), (2, 3, 4, 4)).effects
    with pytest.warns(UserWarning, match="real tensors"):
        on_values = trace(Net(ask, **parts), inputs=torch.zeros(2, 3, 4, 4)).effects
    assert on_meta is not None
    assert on_values is not None
    assert [one[1:] for one in on_meta[1:]] == [
        (tuple(i - 2 for i in one.storages), *one[2:]) for one in on_values[3:]
    ]  # after the sum and the comparison, which have memory of their own


def test_types_buffers_and_reads() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.n(self.a(x))
        chosen = x.argmax(1)
        if (chosen > 100).any():
            return x
        return x * self.mask

    model = Net(forward, a=nn.Linear(8, 8), n=nn.BatchNorm1d(8), mask=torch.ones(8)).half().eval()
    with pytest.warns(UserWarning, match="real tensors"):
        graph = trace(model, inputs=torch.zeros(2, 8, dtype=torch.half))
    assert effects(graph, "linear").dtypes == ("float16",)
    assert effects(graph, "argmax").dtypes == ("int64",)
    assert effects(graph, "batch_norm").buffers == ("n.running_mean", "n.running_var")
    assert effects(graph, "mul").buffers == ("mask",)
    assert graph.effects is not None
    assert [op for op, one in zip(graph.ops, graph.effects, strict=True) if one.read] == ["any"]


def test_effects_are_no_part_of_a_graphs_identity() -> None:
    graph = trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.BatchNorm1d(8)), (2, 8))
    plain = ComputationalGraph.from_json(graph.to_json())
    assert "effects" not in json.loads(graph.to_json())
    assert plain.effects is None
    assert plain == graph
    assert plain.content_hash == graph.content_hash
    again = ComputationalGraph.from_json(graph.to_json(effects=True))
    assert again.effects == graph.effects
    assert again == graph
    assert plain.to_json(effects=True) == plain.to_json()


def test_stored_effects_of_the_wrong_form() -> None:
    stored = json.loads(trace(nn.Linear(8, 8), (2, 8)).to_json(effects=True))
    for bad, message in (
        ([{}, {}], "effects of the wrong form"),
        ([1, 2], "effects of the wrong form"),
        (stored["effects"][:1], r"'effects' must have one entry per node: 2 \(got 1\)"),
    ):
        with pytest.raises(GraphError, match=message):
            ComputationalGraph.from_json(json.dumps({**stored, "effects": bad}))
