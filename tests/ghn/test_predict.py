"""Prediction as a function of graphs."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHN, GHNConfig, parameter_norms
from ppuda_like.graph import PPUDA, ComputationalGraph, trace, virtual_edges
from ppuda_like.testing import permuted, random_graphs, topological_orders
from tests.ghn.oracles import plain_graphormer, tiled, visit_one_by_one

GHN3 = GHNConfig(max_shape=(16, 16, 5, 5), hypernet="graphormer", hid=16, layers=2, heads=4, centered=True)
CONFIGS = [
    GHNConfig.ghn1(kernel=5, hid=8),
    GHNConfig.ghn2(kernel=5, hid=8),
    GHN3,
    GHNConfig.mlp(kernel=5, hid=8),
    GHNConfig(max_shape=(16, 16, 5, 5), decoder="mlp", hid=8),
]
CONFIG_NAMES = ["ghn1", "ghn2", "ghn3", "mlp", "mlp-decoder"]


def ghn_of(config: GHNConfig) -> GHN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(config)


def small_net(num_classes: int = 10) -> nn.Sequential:
    """Kernels of odd channel counts, a depthwise one, one larger than the decoder's, norms, and a class layer."""
    return nn.Sequential(
        nn.Conv2d(3, 20, 3, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 20, 3, groups=20),
        nn.Conv2d(20, 7, (1, 3)),
        nn.Conv2d(7, 33, 7),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(33),
        nn.Linear(33, num_classes),
    )


def graph_of(model: nn.Module, size: int = 16) -> ComputationalGraph:
    return trace(model, (1, 3, size, size)).lower("ppuda")


def by_hand(ghn: GHN, graph: ComputationalGraph) -> dict[str, Tensor]:
    """A GHN-2 or GHN-3 with a conv decoder, as the papers have them: one node and one tensor at a time."""
    hid, (outputs, inputs, height, width) = ghn.config.hid, ghn.config.max_shape
    x = ghn.op_embedding(torch.tensor([PPUDA.index[op] for op in graph.ops]))
    x = x + ghn.shape_enc(ghn.shape_enc.index(graph.node_shapes()))
    if ghn.config.hypernet == "graphormer":
        x = ghn.ln(plain_graphormer(ghn.gnn, x, graph))  # type: ignore[arg-type]
    else:
        pairs = virtual_edges(graph, 50)
        x = ghn.ln(visit_one_by_one(ghn.gnn, x, pairs.edge_index, pairs.distance))  # type: ignore[arg-type]

    def window(places: Tensor, size: tuple[int, int]) -> Tensor:
        rows, columns = (min(a, b) for a, b in zip(size, (height, width), strict=True))
        top, left = (height // 2 - rows // 2, width // 2 - columns // 2) if ghn.config.centered else (0, 0)
        return places[:, :, top : top + rows, left : left + columns]

    found = {}
    for node, (names, shapes) in enumerate(zip(graph.param_names, graph.param_shapes, strict=True)):
        rows = ghn.decoder_1d(x[node]).view(2, -1)
        features = ghn.decoder.fc(x[node]).view(1, 4 * hid, height, width)
        for place, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            if len(shape) == 1:
                if node == graph.num_nodes - 1:
                    found[name] = torch.tanh(0.2 * ghn.bias_class(rows)[1])
                elif graph.ops[node] in ("bn", "ln") and place == 0:
                    found[name] = 2 * torch.sigmoid(tiled(rows[0], shape) / 2)
                else:
                    found[name] = torch.tanh(0.2 * tiled(rows[1], shape))
                continue
            if node == graph.num_nodes - 2:
                block = ghn.decoder.conv(window(features, (1, 1))).view(1, outputs, inputs, 1)
                block = ghn.decoder.class_layer_predictor(block)[0, ..., 0]
            else:
                kernel = (*shape[2:], 1, 1)[:2]
                block = window(features, kernel)
                block = ghn.decoder.conv(block).view(outputs, inputs, *block.shape[2:])
                block = F.interpolate(block, kernel, mode="bilinear")
            beta = 1 if len(shape) == 4 and (shape[1] == 1 or shape[2] < shape[3]) else 2
            found[name] = tiled(block, shape) * math.sqrt(beta / math.prod(shape[1:]))
    return found


@pytest.mark.parametrize("config", [CONFIGS[1], GHN3], ids=["ghn2", "ghn3"])
def test_every_tensor_is_that_of_the_formulas(config: GHNConfig) -> None:
    ghn = ghn_of(config).double()
    graph = graph_of(small_net())
    (found,) = ghn.predict(graph)
    wanted = by_hand(ghn, graph)
    assert list(found) == list(wanted)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIG_NAMES)
def test_all_parameters_are_predicted_with_their_shapes(config: GHNConfig) -> None:
    model = small_net()
    (found,) = ghn_of(config).predict(graph_of(model))
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        name: tuple(parameter.shape) for name, parameter in model.named_parameters()
    }
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found.values())


@settings(deadline=None, max_examples=20)
@given(batch=st.lists(random_graphs(max_nodes=12), min_size=2, max_size=3), config=st.sampled_from(CONFIGS))
def test_a_batch_is_its_graphs_one_by_one(batch: list[ComputationalGraph], config: GHNConfig) -> None:
    ghn = ghn_of(config).double()
    with torch.no_grad():
        together, embedded = ghn.predict(batch), ghn.embed(batch)
        alone, embedded_alone = [ghn.predict(graph)[0] for graph in batch], [ghn.embed(graph) for graph in batch]
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(embedded, torch.cat(embedded_alone))


@settings(deadline=None, max_examples=20)
@given(data=st.data(), config=st.sampled_from(CONFIGS))
def test_the_order_of_nodes_changes_nothing(data: st.DataObject, config: GHNConfig) -> None:
    graph = data.draw(random_graphs(max_nodes=12))
    other = permuted(graph, data.draw(topological_orders(graph)))
    ghn = ghn_of(config).double()
    with torch.no_grad():
        torch.testing.assert_close(ghn.predict(other), ghn.predict(graph))


def test_a_full_trace_and_a_prepared_batch_give_the_same(ghn: GHN) -> None:
    full = trace(small_net(), (1, 3, 16, 16))
    batch = ghn.prepare([full])
    assert ghn.prepare(batch) is batch
    wanted = ghn.predict(full.lower("ppuda"))
    torch.testing.assert_close(ghn.predict(full), wanted)
    torch.testing.assert_close(ghn.predict(batch), wanted)
    assert ghn.embed(full).shape == (1, ghn.config.hid)


@pytest.mark.parametrize("config", [CONFIGS[1], GHN3], ids=["ghn2", "ghn3"])
def test_prediction_is_pure_and_reaches_every_weight(config: GHNConfig) -> None:
    ghn = ghn_of(config)
    batch = ghn.prepare([graph_of(small_net())])
    before = {name: value.clone() for name, value in ghn.state_dict().items()}
    found = ghn.predict(batch)
    sum((tensor**2).sum() for tensor in found[0].values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in ghn.parameters())
    assert all(bool(parameter.grad.any()) for parameter in ghn.parameters())  # type: ignore[union-attr]
    torch.testing.assert_close(ghn.predict(batch), found)
    assert all(torch.equal(value, before[name]) for name, value in ghn.state_dict().items())


@pytest.mark.parametrize("config", [CONFIGS[1], GHN3], ids=["ghn2", "ghn3"])
def test_gradients_flow_through_a_filled_network(config: GHNConfig) -> None:
    ghn = ghn_of(config)
    with torch.device("meta"):
        model = small_net()
    (found,) = ghn.predict(graph_of(model))
    buffers = {name: torch.zeros(buffer.shape) + (name.endswith("var")) for name, buffer in model.named_buffers()}
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = torch.func.functional_call(model, {**found, **buffers}, (images,), strict=True)
    F.cross_entropy(logits, torch.arange(4)).backward()
    grads = [parameter.grad for parameter in ghn.parameters() if parameter.grad is not None]
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)
    assert ghn.op_embedding.weight.grad is not None
    assert bool(ghn.op_embedding.weight.grad.any())


def test_class_layers_can_be_left_out(ghn: GHN) -> None:
    graph = graph_of(small_net(num_classes=7))
    with pytest.raises(PredictionError, match="predict_class_layers=False"):
        ghn.predict(graph)
    (found,) = ghn.predict(graph, predict_class_layers=False)
    assert "9.weight" not in found
    assert "9.bias" not in found
    # The layer then reads as one of the hypernetwork's own class count.
    (wanted,) = ghn.predict(graph_of(small_net()))
    torch.testing.assert_close(found, {name: wanted[name] for name in found})


def test_ghn3_learns_a_network() -> None:
    ghn = ghn_of(GHN3)
    with torch.device("meta"):
        model = small_net()
    batch = ghn.prepare([graph_of(model)])
    buffers = {name: torch.zeros(buffer.shape) + (name.endswith("var")) for name, buffer in model.named_buffers()}
    images = torch.randn(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(ghn.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        (found,) = ghn.predict(batch)
        logits = torch.func.functional_call(model, {**found, **buffers}, (images,), strict=True)
        loss = F.cross_entropy(logits, torch.arange(10))
        losses.append(loss.item())
        optimizer.zero_grad()
        (loss + 3e-5 * parameter_norms(found)).backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("config", [CONFIGS[1], GHN3], ids=["ghn2", "ghn3"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(config: GHNConfig, dtype: torch.dtype) -> None:
    ghn = ghn_of(config)
    graph = graph_of(small_net())
    (exact,) = ghn.predict(graph)
    (found,) = ghn.to(dtype).predict(graph)
    assert all(tensor.dtype == dtype for tensor in found.values())
    atol = 2e-2 if dtype == torch.bfloat16 else 1e-6
    for name, tensor in found.items():
        torch.testing.assert_close(tensor.float(), exact[name], atol=atol, rtol=0.1)


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIG_NAMES)
def test_decoders_work_in_full_precision_under_autocast(config: GHNConfig) -> None:
    ghn = ghn_of(config)
    batch = ghn.prepare(graph_of(small_net()))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        with torch.autocast("cpu", torch.bfloat16):
            nodes = ghn._embed_nodes(batch)
            patch.setattr(ghn, "_embed_nodes", lambda batch: nodes)
            (found,) = ghn.predict(batch)
            assert torch.is_autocast_enabled("cpu")
        (wanted,) = ghn.predict(batch)
    assert nodes.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("config", [CONFIGS[1], GHN3], ids=["ghn2", "ghn3"])
def test_autocast_changes_predictions_by_its_precision(config: GHNConfig) -> None:
    ghn = ghn_of(config)
    batch = ghn.prepare(graph_of(small_net()))
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = ghn.predict(batch)
    (exact,) = ghn.predict(batch)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, exact[name], atol=2e-2, rtol=0.1)


def test_positional_encodings_are_grids_repeated_over_tokens(ghn: GHN) -> None:
    graph = ComputationalGraph(
        ops=("input", "pos_enc", "glob_avg"),
        edge_index=torch.tensor([[0, 1], [1, 2]]),
        param_names=((), ("pos",), ()),
        param_shapes=((), ((1, 18, 40),), ()),
        inputs=(0,),
        outputs=(2,),
        vocabulary="ppuda",
    )
    (found,) = ghn.predict(graph)
    block = ghn.decoder(ghn.node_embeddings(graph)[0][1:2], (1, 16, 4, 4))[0, 0]
    for token, channel in ((0, 0), (5, 3), (15, 15), (16, 0), (17, 20), (3, 39)):
        place = token % 16
        assert found["pos"][0, token, channel] == block[channel % 16, place // 4, place % 4]


def test_wrong_graphs_are_refused(ghn: GHN) -> None:
    full = trace(small_net(), (1, 3, 16, 16))
    with pytest.raises(PredictionError, match="at least one graph"):
        ghn.predict([])
    with pytest.raises(PredictionError, match="is in 'extended'; pass the full trace"):
        ghn.predict(full.lower("extended"))
    other = ghn_of(GHNConfig.ghn1(kernel=5, hid=8))
    with pytest.raises(PredictionError, match="prepared for another GHN"):
        ghn.predict(other.prepare(full))
