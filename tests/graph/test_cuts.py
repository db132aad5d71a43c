from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import networkx as nx
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, CutError, Effects, all_cuts, frontier_widths, legal_cuts, trace
from ppuda_like.testing import permuted, random_graphs, topological_orders


@cache
def torchvision_graph(name: str) -> ComputationalGraph:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision.models.get_model(name, weights=None, **options)
    return trace(model.eval())


def as_trace(graph: ComputationalGraph) -> ComputationalGraph:
    """A random graph as if it were traced: floating-point values in memory of their own, a parameter per node."""
    return replace(
        graph,
        vocabulary=None,
        names=tuple(f"layer{node}" for node in range(graph.num_nodes)),
        param_names=((), *((f"layer{node}.w",) for node in range(1, graph.num_nodes))),
        param_shapes=((), *(((node, 2),) for node in range(1, graph.num_nodes))),
        out_shapes=((2, 3),) * graph.num_nodes,
        attributes=({},) * graph.num_nodes,
        effects=tuple(Effects(("float32",), (node,), 24) for node in range(graph.num_nodes)),
    )


class Net(nn.Module):
    def __init__(self, forward: Callable[..., object], **children: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        self._forward = forward
        for name, child in children.items():
            self.register_buffer(name, child) if type(child) is Tensor else setattr(self, name, child)

    def forward(self, *args: Tensor) -> object:
        return self._forward(self, *args)


def problems(model: nn.Module, shape: tuple[int, ...] = (2, 8), **options: Any) -> str:
    """The cuts of a model by the operation before each, with the rule it breaks in brackets."""
    graph = trace(model, shape)
    return ", ".join(
        graph.ops[cut.node] + (f" ({cut.problem.rule})" if cut.problem else "") for cut in all_cuts(graph, **options)
    )


# ----------------------------------------------------------------------------------------------------- the sweep


@settings(max_examples=40, deadline=None)
@given(random_graphs(max_nodes=14))
def test_single_cuts_are_the_nodes_that_separate_inputs_from_outputs(random: ComputationalGraph) -> None:
    graph = as_trace(random)
    net = graph.to_networkx()
    end = graph.outputs[0]
    expected = set()
    for node in range(1, graph.num_nodes - 1):
        rest = nx.restricted_view(net, [node], [])
        if not nx.has_path(rest, 0, end):
            expected.add((node,))
    assert {cut.frontier for cut in all_cuts(graph) if not cut.passed} == expected


@settings(max_examples=40, deadline=None)
@given(random_graphs(max_nodes=14), st.data())
def test_single_cuts_do_not_depend_on_the_order_of_nodes(random: ComputationalGraph, data: st.DataObject) -> None:
    graph = as_trace(random)
    order = data.draw(topological_orders(graph))
    other = as_trace(permuted(graph, order))
    assert [
        (order[cut.node],) for cut in all_cuts(other) if not cut.passed
    ] == [cut.frontier for cut in all_cuts(graph) if not cut.passed]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(random_graphs(max_nodes=14), st.integers(1, 4))
def test_frontiers_by_their_definition(random: ComputationalGraph, max_width: int) -> None:
    graph = as_trace(random)
    after = graph.successors()
    last = graph.num_nodes - 1
    widths = []
    for place in range(last + 1):
        crossing = [
            node for node in range(1, place + 1) if node in graph.outputs or any(user > place for user in after[node])
        ]
        widths.append(len(crossing))
    assert frontier_widths(graph) == tuple(widths)
    cuts = all_cuts(graph, max_width)
    for cut in cuts:
        assert cut.frontier == tuple(
            node for node in range(1, cut.node + 1) if any(user > cut.node for user in after[node])
        )
        assert cut.passed == ((0,) if any(user > cut.node for user in after[0]) else ())
    assert {cut.node for cut in cuts} == {
        place for place in range(1, last) if widths[place] <= max_width
    }  # with a live value per node, no two places have one frontier


# Counts on torchvision: values that separate inputs from outputs (with the last one, which no cut follows), those among
# them overwritten behind the cut, and the widest frontier.
COUNTS = {
    "vgg19": (46, 18, 1),
    "vgg19_bn": (62, 18, 1),
    "resnet50": (39, 17, 2),
    "resnet101": (73, 34, 2),
    "resnet152": (107, 51, 2),
    "densenet121": (25, 5, 25),  # the last ReLU too is in place, though a call to a function
    "googlenet": (26, 3, 4),  # functional ReLUs in place
    "inception_v3": (32, 5, 5),
    "mobilenet_v2": (73, 15, 2),
    "efficientnet_b0": (79, 15, 3),  # its dropout in place writes nothing in evaluation
    "convnext_tiny": (40, 0, 2),
    "swin_t": (44, 0, 5),  # window attention is recorded from within: wider there, and three more single values
    "vit_b_16": (33, 0, 2),  # sizes are plain numbers here: they neither cross nor widen a frontier
    "regnet_y_400mf": (38, 17, 3),
    "shufflenet_v2_x1_0": (102, 2, 2),  # likewise: a shuffle reads sizes from the tensor it shuffles
    "squeezenet1_1": (34, 10, 2),
    "alexnet": (22, 7, 1),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_on_torchvision(name: str) -> None:
    graph = torchvision_graph(name)
    cuts = all_cuts(graph)
    rules = Counter(cut.problem.rule if cut.problem else "legal" for cut in cuts)
    assert (len(cuts) + 1, rules["in place"], max(frontier_widths(graph))) == COUNTS[name]
    assert rules.keys() <= {"legal", "in place", "no parameters"}


def test_where_a_resnet_is_cut() -> None:
    graph = torchvision_graph("resnet50")
    cuts = all_cuts(graph)
    assert Counter(graph.ops[cut.node] for cut in cuts) == {
        **{"relu": 1 + 16, "add": 16, "conv2d": 1, "batch_norm": 1, "max_pool2d": 1},
        **{"adaptive_avg_pool2d": 1, "flatten": 1},
    }
    overwritten = [cut for cut in cuts if cut.problem]
    assert {graph.ops[cut.node] for cut in overwritten} == {"add", "batch_norm"}
    with pytest.raises(CutError, match=r"'relu' in 'relu' \(node 3\) behind the cut behind 'bn1' \(node 2\) writes"):
        raise overwritten[0].problem or AssertionError


# ----------------------------------------------------------------------------------------------------- the rules


def test_overwritten_values() -> None:
    def shared(self: nn.Module, x: Tensor) -> Tensor:
        x = self.a(x)
        y = x.view(-1, 4, 2)
        y += 1
        return self.b(y.flatten(1))

    layers = {"a": nn.Linear(8, 8), "b": nn.Linear(8, 8)}
    assert problems(Net(shared, **layers)) == "linear (in place), view (in place), add, flatten"
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.ReLU(inplace=True), nn.Linear(8, 8))
    assert problems(model.train()) == "linear, dropout (in place), relu"
    # In evaluation dropout hands its input through:
    assert problems(model.eval()) == "linear (in place), dropout (in place), relu"
    out = Net(lambda self, x: self.b(torch.relu(self.a(x)).mul_(2)), **layers)
    assert problems(out) == "linear, relu (in place), mul"


def test_tied_weights() -> None:
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), layer, nn.Sigmoid(), nn.Linear(8, 2))
    assert problems(model) == "linear (tied), relu (tied), linear (tied), tanh (tied), linear, sigmoid"
    assert problems(model, tied="copy") == "linear, relu, linear, tanh, linear, sigmoid"
    with pytest.raises(CutError, match=r"parameter '0.weight', '0.bias' is used on both sides of the cut behind '0'"):
        raise all_cuts(trace(model, (2, 8)))[0].problem or AssertionError


def test_a_buffer_on_both_sides() -> None:
    norm = nn.BatchNorm1d(8, affine=False)
    model = nn.Sequential(nn.Linear(8, 8), norm, nn.ReLU(), nn.Linear(8, 8), norm, nn.Sigmoid(), nn.Linear(8, 8))
    assert problems(model) == "linear, batch_norm (tied), relu (tied), linear (tied), batch_norm, sigmoid"
    with pytest.raises(CutError, match=r"buffer '1.running_mean', '1.running_var' is used on both sides"):
        raise all_cuts(trace(model, (2, 8)))[1].problem or AssertionError


def test_a_weight_behind_a_constant_is_tied_too() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        scale = self.scale.exp()
        return self.b(torch.relu(self.a(x) * scale)) * scale

    model = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), scale=nn.Parameter(torch.ones(8)))
    assert problems(model) == "linear, mul (tied), relu (tied), linear (tied)"


def test_what_crosses_as_it_is() -> None:
    def forward(self: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mask = (y > 0).float()  # no parameter, so nothing to detach
        order = self.a(x)
        index = order.argmax(1)  # an integer
        return self.b(torch.relu(order) * mask) + index[:, None] + y

    model = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    graph = trace(model, inputs=(torch.zeros(2, 8), torch.zeros(2, 8)))
    [_, cut, *_] = legal_cuts(graph)
    assert [graph.ops[node] for node in cut.frontier] == ["relu"]
    assert sorted(graph.ops[node] for node in cut.passed) == ["argmax", "float", "input"]
    assert cut.width == 1


def test_the_batch_comes_first() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x)).transpose(0, 1)
        return self.c(self.b(x).transpose(0, 1))

    model = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 8))
    expected = "linear, relu, transpose (batch), linear (batch), transpose"
    assert problems(model, (2, 5, 8)) == expected
    assert problems(model, (5, 5, 8)) == "linear, relu, transpose, linear, transpose"  # time and batch are alike, ...
    assert problems(model, (5, 5, 8), rebatched=trace(model, (7, 5, 8))) == expected  # ... but not at both sizes
    with pytest.raises(GraphError, match="must be traced at another batch size than the graph's own"):
        problems(model, (5, 5, 8), rebatched=trace(model, (5, 6, 8)))
    with pytest.raises(GraphError, match="must be a trace of the same model"):
        problems(model, (5, 5, 8), rebatched=trace(model.a, (7, 5, 8)))


def test_complex_values() -> None:
    model = Net(lambda self, x: self.b(torch.fft.fft(self.a(x)).abs()), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert problems(model) == "linear, fft_fft (type), abs"


def test_parameters_on_both_sides() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    assert problems(model, (2, 2, 4)) == "linear, relu, linear (no parameters)"
    with pytest.raises(CutError, match="no parameter is used behind the cut"):
        raise all_cuts(trace(model, (2, 2, 4)))[-1].problem or AssertionError


def test_branches_on_values() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        if x.sum() > 1e9:
            return x
        return self.c(torch.tanh(self.b(x)))

    model = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="real tensors"):
        graph = trace(model, (2, 8))
    assert [(cut.name, bool(cut.problem)) for cut in all_cuts(graph)][:2] == [("a", False), ("relu", False)]
    behind = [cut.problem for cut in all_cuts(graph)][2:]
    assert [problem.rule for problem in behind if problem] == ["values"] * len(behind)
    assert len(behind) == 2


def test_graphs_that_cannot_be_cut() -> None:
    graph = trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), (2, 8))
    with pytest.raises(GraphError, match="only full traces can be cut into blocks, this graph is lowered to 'ppuda'"):
        legal_cuts(graph.lower("ppuda"))
    with pytest.raises(GraphError, match="does not tell which operations write in place"):
        legal_cuts(ComputationalGraph.from_json(graph.to_json()))
    again = ComputationalGraph.from_json(graph.to_json(effects=True))
    assert [cut.frontier for cut in legal_cuts(again)] == [cut.frontier for cut in legal_cuts(graph)] == [(1,), (2,)]
    with pytest.raises(GraphError, match=r"'max_width' must be at least 1: something has to cross a cut \(got 0\)"):
        legal_cuts(graph, 0)


@pytest.mark.parametrize("training", [False, True])
def test_overwritten_values_are_those_that_real_tensors_lose(training: bool) -> None:
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Hardswish(inplace=True)),
        *(nn.Conv2d(4, 4, 1), nn.Dropout(0.5, inplace=True), nn.Flatten(), nn.ReLU6(inplace=True), nn.Linear(64, 8)),
        *(nn.LeakyReLU(0.1), nn.SiLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 2)),
    ).train(training)
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: (out, out.clone())}))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model(3 * torch.randn(2, 3, 6, 6))
    lost = {name for name, (now, then) in kept.items() if not torch.equal(now, then)}
    cuts = all_cuts(trace(model, (2, 3, 6, 6)))
    assert len(cuts) == len(model) - 1
    assert {cut.name for cut in cuts if cut.problem} == lost
    assert {cut.problem.rule for cut in cuts if cut.problem} == {"in place"}
