import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.errors import GraphError
from ppuda_like.graph import EXTENDED, PPUDA, ComputationalGraph, trace, vocabulary
from tests.graph.test_trace import build
from tests.graph.test_trace_torchvision import torchvision_model


def literal(graph: ComputationalGraph) -> list[tuple[str, list[int]]]:
    return list(zip(graph.ops, graph.predecessors(), strict=True))


def test_vocabularies() -> None:
    assert PPUDA.primitives[:5] == ("max_pool", "avg_pool", "sep_conv", "dil_conv", "conv")
    assert (len(PPUDA), PPUDA.index["input"], PPUDA.index["glob_avg"]) == (15, 9, 14)
    assert EXTENDED.primitives[:15] == PPUDA.primitives
    assert len(set(EXTENDED.primitives)) == len(EXTENDED)
    with pytest.raises(GraphError, match=r"unknown vocabulary 'onnx'; there are \['extended', 'ppuda'\]"):
        vocabulary("onnx")


def test_weights_biases_norms_and_pools() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d((2, 3)), 
        nn.Conv2d(4, 4, 1, groups=2, bias=False), nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 2),
    )  # fmt: skip
    graph = trace(model, (1, 3, 12, 12)).lower("ppuda")
    assert graph.ops == (
        "input", "conv", "bias", "bn", "max_pool", "sep_conv", "dil_conv", "bias", "avg_pool", "glob_avg", "ln",
        "conv", "bias",
    )  # fmt: skip
    assert graph.predecessors() == [[]] + [[i] for i in range(12)]
    assert graph.names[1:4] == ("0.weight", "0.bias", "1.weight")
    assert graph.param_names[3] == ("1.weight", "1.bias")
    assert [graph.attributes[i]["kernel_size"] for i in (4, 8)] == [[2, 3], [2, 2]]
    assert (graph.inputs, graph.outputs, graph.vocabulary) == ((0,), (12,), "ppuda")
    assert graph.macs == trace(model, (1, 3, 12, 12)).macs


def test_sum_and_concat_need_two_distinct_inputs() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = y + F.relu(y) + 1.0
        z = torch.cat([z, z], 1)
        return torch.cat([z + torch.ones(()), x], 1) + torch.zeros(9, 1, 1)

    graph = trace(build(forward, conv=nn.Conv2d(3, 3, 1, bias=False)), (1, 3, 4, 4)).lower("ppuda")
    assert literal(graph) == [("input", []), ("conv", [0]), ("concat", [0, 1])]


def test_squeeze_excitation_ends_in_cse() -> None:
    block = torchvision.ops.SqueezeExcitation(8, 2)
    graph = trace(nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), block), (1, 3, 4, 4)).lower("ppuda")
    assert literal(graph) == [
        ("input", []), ("conv", [0]), ("conv", [1]), ("bias", [2]), ("conv", [3]), ("bias", [4]), ("cse", [1, 5]),
    ]  # fmt: skip


def test_squeeze_excitation_with_linear_layers_and_mean() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True).flatten(1)))
        return (x * gate[:, :, None, None]).mean((-1, -2), keepdim=True)

    model = build(forward, conv=nn.Conv2d(3, 8, 1, bias=False), fc=nn.Linear(8, 8, bias=False))
    graph = trace(model, (1, 3, 4, 4)).lower("ppuda")
    assert literal(graph) == [("input", []), ("conv", [0]), ("conv", [1]), ("cse", [1, 2]), ("glob_avg", [3])]


class Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24, bias=False)
        self.out = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.zeros(1, 5, 5))
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.fused:
            return self.out(F.scaled_dot_product_attention(q, k, v))
        scores = q @ k.transpose(-2, -1) / 8**0.5 + self.table
        return self.out(F.dropout(scores.softmax(-1), 0.1, self.training) @ v)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_ends_in_msa(fused: bool) -> None:
    graph = trace(Attention(fused), (2, 5, 8)).lower("ppuda")
    assert literal(graph) == [("input", []), ("conv", [0]), ("msa", [1]), ("conv", [2]), ("bias", [3])]


def test_bias_of_scores_is_no_positional_encoding() -> None:
    graph = trace(Attention(False), (2, 5, 8)).lower("extended")
    assert graph.ops.count("rel_pos_bias") == 1
    assert "pos_enc" not in graph.ops


def test_bias_of_scores_inside_fused_attention() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=self.table[None] * 2)

    full = trace(build(forward, table=nn.Parameter(torch.zeros(5, 5))), (2, 5, 8))
    assert literal(full.lower("extended")) == [("input", []), ("rel_pos_bias", []), ("msa", [0, 1])]
    assert literal(full.lower("ppuda")) == [("input", []), ("msa", [0])]


def test_bias_made_of_several_parameters() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return F.linear(x, self.w, torch.cat([self.q, torch.zeros(4), self.v]))

    model = build(
        forward, w=nn.Parameter(torch.zeros(12, 8)), q=nn.Parameter(torch.zeros(4)), v=nn.Parameter(torch.zeros(4))
    )
    graph = trace(model, (2, 8)).lower("ppuda")
    assert graph.ops == ("input", "conv", "bias")
    assert graph.param_names[2] == ("q", "v")


def test_multi_head_attention_module() -> None:
    model = build(lambda self, x: self.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2))
    graph = trace(model, (5, 2, 8)).lower("ppuda")
    assert literal(graph) == [
        ("input", []), ("conv", [0]), ("bias", [1]), ("msa", [2]), ("conv", [3]), ("bias", [4]),
    ]  # fmt: skip
    assert graph.names[1:3] == ("a.in_proj_weight", "a.in_proj_bias")


@pytest.mark.parametrize("shape", [(1, 16, 8), (1, 8, 4, 4)])
def test_positional_encoding_is_a_source(shape: tuple[int, ...]) -> None:
    first = nn.Linear(8, 8, bias=False) if len(shape) == 3 else nn.Conv2d(8, 8, 1, bias=False)
    model = build(lambda self, x: self.first(x) + self.pos, first=first, pos=nn.Parameter(torch.zeros(shape)))
    graph = trace(model, (2, *shape[1:])).lower("ppuda")
    assert literal(graph) == [("input", []), ("conv", [0]), ("pos_enc", []), ("sum", [1, 2])]


def test_added_and_multiplied_vectors() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return (x + self.b) * self.gamma * self.temperature

    model = build(
        forward,
        b=nn.Parameter(torch.zeros(8)),
        gamma=nn.Parameter(torch.ones(8)),
        temperature=nn.Parameter(torch.ones(1)),
    )
    assert trace(model, (2, 8)).lower("ppuda").ops == ("input", "bias")
    assert trace(model, (2, 8)).lower("extended").ops == ("input", "bias", "layer_scale", "scale")


def test_parametrized_weight_holds_all_its_parameters() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(8, 2))
    graph = trace(model, (1, 8)).lower("ppuda")
    assert graph.ops == ("input", "conv", "bias")
    assert graph.param_names[1] == ("parametrizations.weight.original1", "parametrizations.weight.original0")
    assert graph.param_shapes[1] == ((2, 8), (2, 1))


def test_dead_branches_are_dropped_and_told() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        self.dead(x)
        return self.fc(x)

    full = trace(build(forward, fc=nn.Linear(8, 2), dead=nn.Linear(8, 2)), (1, 8))
    assert full.unreached == ()
    graph = full.lower("ppuda")
    assert graph.ops == ("input", "conv", "bias")
    assert graph.unreached == ("dead.weight", "dead.bias")


def test_lowering_twice_is_refused() -> None:
    graph = trace(nn.Linear(8, 2), (1, 8)).lower("ppuda")
    with pytest.raises(GraphError, match="already lowered to 'ppuda'"):
        graph.lower("extended")


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t", "maxvit_t", "convnext_tiny", "efficientnet_b0", "densenet121"])
def test_every_node_is_connected(name: str) -> None:
    graph = trace(torchvision_model(name).eval()).lower("ppuda")
    sources, targets = graph.predecessors(), graph.successors()
    assert all(sources[node] or op in ("input", "pos_enc") for node, op in enumerate(graph.ops))
    assert graph.outputs == (graph.num_nodes - 1,)
    assert [node for node in range(graph.num_nodes) if not targets[node]] == list(graph.outputs)
    assert graph.ops[-1] in ("conv", "bias")


def test_recurrent_and_other_layers_are_in_the_extended_vocabulary() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.conv(self.embedding(x).transpose(1, 2)).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1)
        return self.act(self.rnn(x)[0])

    model = build(
        forward, embedding=nn.Embedding(10, 8), conv=nn.Conv1d(8, 8, 3), token=nn.Parameter(torch.zeros(1, 1, 8)),
        rnn=nn.GRU(8, 4, batch_first=True), act=nn.PReLU(),
    )  # fmt: skip
    full = trace(model, inputs=torch.zeros(2, 6, dtype=torch.long))
    graph = full.lower("extended")
    assert graph.ops == (
        "input", "embedding", "conv1d", "bias", "class_token", "concat", "rnn", "rnn", "bias", "bias", "prelu",
    )  # fmt: skip
    assert set(graph.params) == set(full.params)
    assert full.lower("ppuda").ops == ("input",)
