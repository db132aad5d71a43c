from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from ppuda_like.errors import GraphError, TraceError
from ppuda_like.graph import ComputationalGraph, trace

IMAGE = (1, 3, 8, 8)


def edges(graph: ComputationalGraph) -> set[tuple[str, str]]:
    return {(graph.ops[a], graph.ops[b]) for a, b in graph.edge_index.t().tolist()}


def build(forward: Callable[..., object], **parts: object) -> nn.Module:
    """A module with the given parts whose forward is a function of (self, x)."""
    module = type("Custom", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
            module.register_buffer(name, part)
        else:
            setattr(module, name, part)
    return module


def state(model: nn.Module) -> dict[str, object]:
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=False).items()},
        "ids": [id(tensor) for tensor in model.state_dict(keep_vars=True).values()],
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(module.__dict__) for module in model.modules()],
    }


def assert_same_state(before: dict[str, object], after: dict[str, object]) -> None:
    torch.testing.assert_close(after["tensors"], before["tensors"], rtol=0, atol=0)
    for key in ("ids", "modes", "attributes"):
        assert after[key] == before[key], key


# ------------------------------------------------------------------------------------------------ exact graphs


def test_literal_graph() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    graph = trace(model, IMAGE)
    assert graph.ops == ("input", "conv2d", "batch_norm", "relu", "flatten", "linear")
    assert graph.names == ("input", "0", "1", "2", "3", "4")
    assert graph.param_names[1] == ("0.weight", "0.bias")
    assert graph.attributes[1]["roles"] == ["weight", "bias"]
    assert graph.param_shapes[2] == ((4,), (4,))
    assert graph.out_shapes[3] == (1, 4, 6, 6)
    assert graph.edge_index.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert (graph.inputs, graph.outputs, graph.unreached, graph.tied) == ((0,), (5,), (), ())
    assert graph.macs == 36 * 4 * 27 + 4 * 36 * 2


def test_residual_and_inplace() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += x
        y.relu_()
        return y * 2

    graph = trace(build(forward, conv=nn.Conv2d(3, 3, 1)), IMAGE)
    assert graph.ops == ("input", "conv2d", "add", "relu", "mul")
    assert graph.edge_index.t().tolist() == [[0, 1], [0, 2], [1, 2], [2, 3], [3, 4]]


def test_writing_through_a_view_is_seen_by_its_base() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, 0] = self.fc(x)[:, 0]
        z = y.view(-1)
        z.mul_(self.scale)
        return y

    model = build(forward, fc=nn.Linear(8, 8), scale=nn.Parameter(torch.ones(1)))
    graph = trace(model, IMAGE)
    output = graph.outputs[0]
    assert graph.ops[output] == "mul"
    assert {"linear", "setitem", "input"} <= {graph.ops[n] for n in ancestors(graph, output)}


def test_out_argument_is_a_write() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        torch.mul(x, self.scale, out=y)
        return y + 1

    graph = trace(build(forward, scale=nn.Parameter(torch.ones(8))), IMAGE)
    assert graph.ops[-2:] == ("mul", "add")
    assert graph.param_names[-2] == ("scale",)


def ancestors(graph: ComputationalGraph, node: int) -> set[int]:
    sources = graph.predecessors()
    found: set[int] = set()
    open_nodes = [node]
    while open_nodes:
        for source in sources[open_nodes.pop()]:
            if source not in found:
                found.add(source)
                open_nodes.append(source)
    return found


def test_loop_and_branch_on_shape() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.mean((2, 3)) if x.dim() == 4 else x

    model = build(forward, layers=nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3)))
    assert trace(model, IMAGE).ops == ("input", "conv2d", "conv2d", "conv2d", "mean")


def test_tied_weights_are_one_parameter() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    graph = trace(model, inputs=torch.zeros(1, 5, dtype=torch.long))
    assert graph.tied == (("1.weight", "0.weight"),)
    assert graph.param_names[1:] == (("0.weight",), ("0.weight",))
    assert graph.num_params == 40


def test_unreached_parameters_are_listed_or_refused() -> None:
    model = build(lambda self, x: self.used(x), used=nn.Linear(8, 2), spare=nn.Linear(8, 2))
    assert trace(model, IMAGE).unreached == ("spare.weight", "spare.bias")
    with pytest.raises(TraceError, match=r"parameters spare\.weight, spare\.bias of Custom in no recorded operation"):
        trace(model, IMAGE, strict=True)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape))


def attend(self: nn.Module, x: Tensor) -> Tensor:
    return self.a(x, x, x)[0]  # type: ignore[no-any-return]


def recur(self: nn.Module, x: Tensor) -> Tensor:
    return self.rnn(x)[0]  # type: ignore[no-any-return]


def encoder(**options: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=bool(options))


CUSTOM = {
    "functional weight": (build(lambda self, x: F.linear(x, self.w), w=parameter(2, 8)), IMAGE, "linear"),
    "einsum": (build(lambda self, x: torch.einsum("...i,oi->...o", x, self.w), w=parameter(2, 8)), IMAGE, "einsum"),
    "matmul": (build(lambda self, x: x @ self.w, w=parameter(8, 2)), IMAGE, "matmul"),
    "list": (build(lambda self, x: x * self.p[0] + self.p[1], p=nn.ParameterList([torch.ones(8)] * 2)), IMAGE, "mul"),
    "lstm": (build(recur, rnn=nn.LSTM(8, 4, num_layers=2, bidirectional=True)), (2, 5, 8), "lstm"),
    "gru": (build(recur, rnn=nn.GRU(8, 4)), (2, 5, 8), "gru"),
    "attention": (build(attend, a=nn.MultiheadAttention(8, 2)), (5, 2, 8), "multi_head_attention_forward"),
    "attention, fast path": (
        build(attend, a=nn.MultiheadAttention(8, 2, batch_first=True)).eval(),
        (2, 5, 8),
        "multi_head_attention_forward",
    ),
    "encoder, fast path": (encoder(batch_first=True).eval(), (2, 5, 8), "layer_norm"),
    "encoder": (encoder(), (2, 5, 8), "layer_norm"),
    "weight norm": (parametrizations.weight_norm(nn.Linear(8, 2)), IMAGE, "linear"),
    "spectral norm": (parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)).eval(), IMAGE, "conv2d"),
    "buffer": (build(lambda self, x: self.c(x) + self.b, c=nn.ConvTranspose2d(3, 2, 3), b=torch.ones(1)), IMAGE, "add"),
    "1-D": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.PReLU(), nn.GroupNorm(2, 4)), (1, 3, 9), "group_norm"),
    "bilinear": (nn.Bilinear(8, 8, 2), None, "bilinear"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "shape", "op"), CUSTOM.values(), ids=CUSTOM)
def test_every_parameter_is_found(model: nn.Module, shape: tuple[int, ...] | None, op: str) -> None:
    before = state(model)
    inputs = (torch.zeros(2, 8), torch.zeros(2, 8)) if shape is None else None
    graph = trace(model, shape, inputs=inputs, strict=True)
    assert op in graph.ops
    assert set(graph.params) == {name for name, _ in model.named_parameters()}
    assert graph.num_params == sum(p.numel() for p in model.parameters())
    assert_same_state(before, state(model))


@dataclass
class Result:
    logits: Tensor
    hidden: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a, b: (a, b),
        lambda a, b: {"out": a, "aux": b},
        lambda a, b: Result(a, b),
        lambda a, b: [a, {"x": (b,)}],
    ],
    ids=["tuple", "dict", "dataclass", "nested"],
)
def test_several_inputs_and_outputs(wrap: Callable[[Tensor, Tensor], object]) -> None:
    def forward(self: nn.Module, left: Tensor, right: Tensor) -> object:
        h = torch.relu(left + right)
        return wrap(self.fc(h), h)

    model = build(forward, fc=nn.Linear(8, 2))
    x = torch.zeros(1, 8)
    for inputs in ((x, x.clone()), {"right": x, "left": x.clone()}):
        graph = trace(model, inputs=inputs)
        assert sorted(graph.names[i] for i in graph.inputs) == ["left", "right"]
        assert [graph.ops[o] for o in graph.outputs] == ["linear", "relu"]


def test_nested_inputs() -> None:
    model = build(lambda self, pair, scale=1.0: self.fc(pair[0] + pair[1]) * scale, fc=nn.Linear(8, 2))
    graph = trace(model, inputs=([torch.zeros(1, 8), torch.zeros(1, 8)], 2.0))
    assert [graph.names[i] for i in graph.inputs] == ["pair.0", "pair.1"]


# --------------------------------------------------------------------------------------------- no side effects


def test_model_is_left_as_it_was() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(3)
            self.rnn = nn.LSTM(8, 8)
            self.drop = nn.Dropout(0.5)
            self.calls = 0
            self.cache: dict[int, Tensor] = {}
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x
            x = self.drop(self.bn(x))
            self.cache[x.size(0)] = x
            self.seen.append(x)
            return self.rnn(x.flatten(0, 1))[0]

    model = Caching().train()
    before = state(model)
    rng = torch.get_rng_state()
    trace(model, (2, 3, 8, 8))
    assert_same_state(before, state(model))
    assert (model.calls, model.cache, model.seen) == (0, {}, [])
    assert torch.equal(torch.get_rng_state(), rng)
    assert model(torch.zeros(2, 3, 8, 8)).device.type == "cpu"


def test_model_is_left_as_it_was_when_forward_fails() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(7, 2))
    before = state(model)
    with pytest.raises(TraceError, match=r"Sequential failed in '1' on inputs \[input \(1, 3, 8, 8\)\]: RuntimeError"):
        trace(model, IMAGE)
    assert_same_state(before, state(model))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_old_style_weight_norm_keeps_its_real_weight() -> None:
    model = nn.utils.weight_norm(nn.Linear(8, 2))
    model(torch.zeros(1, 8))
    graph = trace(model, IMAGE)
    assert set(graph.params) == {"bias", "weight_g", "weight_v"}
    assert model.weight.device.type == "cpu"


def test_constants_that_are_no_buffers_are_replaced() -> None:
    model = build(lambda self, x: self.fc(x) * self.scale + torch.arange(2) + self.offset[0], fc=nn.Linear(8, 2))
    model.scale = torch.ones(2)
    model.offset = [torch.ones(2)]
    graph = trace(model, IMAGE)
    assert graph.ops == ("input", "linear", "mul", "add", "add")
    assert model.scale.device.type == "cpu"


def test_real_values_are_used_where_forward_needs_them() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.bn(x)
        return self.fc(x) if x.sum() < 1e9 else self.other(x)

    model = build(forward, bn=nn.BatchNorm2d(3), fc=nn.Linear(8, 2), other=nn.Linear(8, 2)).train()
    before = state(model)
    with pytest.warns(UserWarning, match="running it on real tensors, since its forward needs values"):
        graph = trace(model, (2, 3, 8, 8))
    assert "linear" in graph.ops
    assert graph.unreached == ("other.weight", "other.bias")
    assert_same_state(before, state(model))
    with pytest.raises(TraceError, match="on the meta device, so it cannot be run on values"):
        trace(model.to("meta"), (2, 3, 8, 8))


# --------------------------------------------------------------------------------------------------- bad input


class Anything(nn.Module):
    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> object:
        return self.result


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace(torch.zeros(2)), "must be a torch.nn.Module \\(got Tensor\\)"),
        (lambda: trace(nn.ReLU(), IMAGE, inputs=torch.zeros(1)), "not both"),
        (lambda: trace(nn.LazyLinear(3), IMAGE), "'weight' of a lazy module has no shape yet"),
        (lambda: trace(Anything(None), IMAGE), "returned no tensor"),
        (lambda: trace(Anything(torch.zeros(3)), IMAGE), "returned no tensor"),
    ],
)
def test_bad_calls(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        call()


def test_output_that_ignores_the_input_has_no_lowering() -> None:
    model = build(lambda self, x: F.relu(self.w), w=nn.Parameter(torch.ones(2)))
    graph = trace(model, IMAGE)
    message = r"not connected: its main output \(node \d+, 'relu'\) does not depend on any input"
    with pytest.raises(GraphError, match=message):
        graph.lower("ppuda")
