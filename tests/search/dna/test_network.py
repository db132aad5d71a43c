import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna import (
    Head,
    Layer,
    NetworkDefinition,
    Stem,
    build_network,
    cifar_space,
    dna_network,
    flops_counter,
    init_weights,
    list_dna_networks,
    network_graph,
    parse_layer,
    parse_operation,
    part_costs,
)

SMALL = NetworkDefinition.from_strings(
    [["ds_r1_k3_s1_c4"], ["ir_r2_k3_s2_e2_c6_se0.25"], ["ir_r1_k5_s1_e3_c6"]],
    stem=Stem(width=4, stride=1),
    head=Head(width=8, num_classes=3),
    image_size=8,
    name="small",
)


@pytest.mark.parametrize(
    ("name", "params", "flops", "macs"),
    [
        ("DNA_a", 4_243_318, 348_161_054, 335_141_728),
        ("DNA_b", 4_918_180, 405_784_844, 392_492_032),
        ("DNA_c", 5_273_896, 465_920_048, 450_138_976),
        ("DNA_d", 6_409_486, 611_198_918, 592_837_792),
        ("EfficientNet-B0", 5_288_548, 399_362_204, 385_814_752),
    ],
)
def test_published_networks(name: str, params: int, flops: int, macs: int) -> None:
    definition = dna_network(name)
    graph = network_graph(definition)
    assert (graph.num_params, flops_counter(graph), graph.macs) == (params, flops, macs)
    totals = map(sum, zip(*(part_costs(part) for part in definition.parts()), strict=True))
    assert tuple(totals) == (macs, flops, params)
    assert graph.lower("extended").num_params == params
    assert graph.out_shapes[-1] == (1, 1000)


def test_unknown_network() -> None:
    assert list_dna_networks()[:4] == ["DNA_a", "DNA_b", "DNA_c", "DNA_d"]
    with pytest.raises(CodeError, match=r"did you mean.*DNA_"):
        dna_network("DNA_e")


@given(
    st.sampled_from(["ir_k3_e6_se0.25", "ds_k5", "ir_k7_e1.5_nre_noskip"]),
    st.integers(1, 500),
    st.integers(1, 3),
    st.integers(1, 9),
)
def test_layer_round_trip(operation: str, width: int, stride: int, repeats: int) -> None:
    layer = Layer(operation=parse_operation(operation), width=width, stride=stride, repeats=repeats)
    assert parse_layer(str(layer)) == layer


def test_layer_text_is_the_published_one() -> None:
    for text in ("ir_r1_k3_s2_e6_c24_se0.25", "ds_r1_k3_s1_c16_se0.25", "ir_r4_k7_s2_e6_c40_se0.25_nre_noskip"):
        assert str(parse_layer(text)) == text
    assert parse_layer("ir_c24_e6_k3") == parse_layer("ir_r1_k3_s1_e6_c24")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("ir_r1_k3_s1_e6", "lacks 'c'"),
        ("ir_r1_k3_s1_e6_c24_c32", "'c' is given twice"),
        ("ir_r0_k3_s1_e6_c24", "'repeats' of a layer must be positive"),
        ("ir_r1_k3_sx_e6_c24", "unknown option 'sx'"),
    ],
)
def test_bad_layers(text: str, match: str) -> None:
    with pytest.raises(CodeError, match=match):
        parse_layer(text)


def test_definition_files(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "net.json")
    assert NetworkDefinition.load(tmp_path / "net.json") == SMALL
    for name in list_dna_networks():
        definition = dna_network(name)
        assert NetworkDefinition.from_dict(json.loads(json.dumps(definition.to_dict()))) == definition


def test_bad_definition_files(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    with pytest.raises(DataError, match="cannot read"):
        NetworkDefinition.load(path)
    for content, match in (
        ("nonsense", "is no network definition"),
        ("[]", "no network definition"),
        (json.dumps({**SMALL.to_dict(), "version": 9}), "version 1"),
        (json.dumps({**SMALL.to_dict(), "stages": [["ir_k3"]]}), "lacks 'c'"),
        (json.dumps({**SMALL.to_dict(), "stages": 3}), "damaged"),
        (json.dumps({**SMALL.to_dict(), "stem": {"size": 3}}), "damaged"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=match):
            NetworkDefinition.load(path)


def test_repeats_are_layers_of_their_own() -> None:
    single = SMALL.single()
    assert single.strings()[1] == ["ir_r1_k3_s2_e2_c6_se0.25", "ir_r1_k3_s1_e2_c6_se0.25"]
    assert list(single.parts()) == list(SMALL.parts())
    assert [len(stage) for stage in build_network(SMALL).stages] == [1, 2, 1]


def test_forward_and_features() -> None:
    network = build_network(SMALL, drop_connect=0.2)
    images = torch.zeros(2, 3, 8, 8)
    assert network(images).shape == (2, 3)
    sizes = [tuple(stage.shape[1:]) for stage in _features(network, images)]
    assert sizes == [(4, 8, 8), (6, 4, 4), (6, 4, 4)]
    for part, module in zip(SMALL.parts(), [network.stem], strict=False):
        assert module(images).shape[1:] == (part.c_out, part.size_out, part.size_out)


def _features(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    found, x = [], network.stem(images)
    for stage in network.stages:
        x = stage(x)
        found.append(x)
    return found


def test_weights_are_drawn_by_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, same, other = (build_network(SMALL, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


def test_initial_weights() -> None:
    layers = nn.Sequential(nn.Conv2d(64, 64, 5, groups=64), nn.Conv2d(64, 128, 1), nn.Linear(400, 100))
    init_weights(layers, torch.Generator().manual_seed(0))
    depthwise, pointwise, linear = layers.requires_grad_(False)
    assert float(depthwise.weight.std()) == pytest.approx((2 / (25 * 64)) ** 0.5, rel=0.05)
    assert float(pointwise.weight.std()) == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert 0.099 < float(linear.weight.abs().max()) <= 0.1
    assert not any(layer.bias.any() for layer in layers)


def test_drop_connect_grows_linearly_with_depth() -> None:
    definition = cifar_space(depths=(2, 2, 2, 2)).definition(cifar_space(depths=(2, 2, 2, 2)).parse("00 00 00 00"))
    network = build_network(definition, drop_connect=0.2)
    layers = [layer for stage in network.stages for layer in stage]
    rates = {place: layer.drop.p for place, layer in enumerate(layers) if layer.drop is not None}
    assert rates == {place: pytest.approx(0.2 * place / 9) for place in (0, 1, 2, 4, 6, 8)}
    with pytest.raises(CodeError, match="'drop_connect' must lie in"):
        build_network(SMALL, drop_connect=1.0)


@pytest.mark.parametrize("values", [{"width": 0}, {"activation": "xx"}, {"dropout": 1.0}])
def test_bad_heads(values: dict[str, object]) -> None:
    with pytest.raises(CodeError):
        Head(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"stride": 0}, {"activation": "xx"}, {"kernel": 2}])
def test_bad_stems(values: dict[str, object]) -> None:
    with pytest.raises(CodeError):
        Stem(**values)  # type: ignore[arg-type]


def test_networks_have_stages_and_layers() -> None:
    for stages in ((), ((),)):
        with pytest.raises(CodeError, match="must have stages"):
            NetworkDefinition(stages=stages, stem=Stem(), head=Head())
