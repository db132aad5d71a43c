"""Which decoder makes which tensor, and how it is scaled."""

import math

import pytest

from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHNConfig
from ppuda_like.ghn._targets import Target, class_layer_nodes, targets_of
from ppuda_like.graph import ComputationalGraph, Shape, make_edge_index

CONFIG = GHNConfig.ghn2(num_classes=10)
Node = tuple[str, dict[str, Shape]]


def chain(*nodes: Node, outputs: tuple[int, ...] | None = None) -> ComputationalGraph:
    """An input followed by these nodes, in a row; names of parameters are made distinct."""
    held = [("input", {}), *nodes]
    return ComputationalGraph(
        ops=tuple(op for op, _ in held),
        names=tuple(f"n{i}" for i in range(len(held))),
        param_names=tuple(tuple(f"n{i}.{name}" for name in shapes) for i, (_, shapes) in enumerate(held)),
        param_shapes=tuple(tuple(shapes.values()) for _, shapes in held),
        edge_index=make_edge_index((i, i + 1) for i in range(len(nodes))),
        inputs=(0,),
        outputs=outputs or (len(nodes),),
        vocabulary="ppuda",
    )


def target_of(op: str, shape: Shape, name: str = "weight", config: GHNConfig = CONFIG) -> Target:
    """How a tensor in the middle of a network is made."""
    (target,) = targets_of(chain((op, {name: shape}), ("glob_avg", {})), config)
    return target


@pytest.mark.parametrize(
    ("op", "shape", "kind", "asked", "kernel", "status"),
    [
        ("conv", (64, 64, 11, 11), "kernel", (64, 64, 11, 11), (11, 11), "predicted"),
        ("conv", (64, 3, 7, 7), "kernel", (64, 4, 7, 7), (7, 7), "predicted"),
        ("conv", (10, 240, 1, 1), "kernel", (16, 64, 1, 1), (1, 1), "tiled"),
        ("conv", (768, 3, 16, 16), "kernel", (64, 4, 11, 11), (16, 16), "resized"),
        ("conv", (1000, 26), "kernel", (64, 32, 1, 1), (1, 1), "tiled"),
        ("conv", (8, 8, 3), "kernel", (8, 8, 3, 1), (3, 1), "predicted"),
        ("sep_conv", (96, 1, 5, 5), "kernel", (64, 1, 5, 5), (5, 5), "tiled"),
        ("pos_enc", (1, 64, 11, 11), "kernel", (1, 64, 11, 11), (11, 11), "predicted"),
        ("pos_enc", (1, 50, 64), "grid", (1, 64, 7, 7), (7, 7), "predicted"),
        ("pos_enc", (1, 197, 768), "grid", (1, 64, 11, 11), (14, 14), "resized"),
        ("bn", (64,), "norm_weight", (0, 0, 0, 0), (1, 1), "predicted"),
        ("ln", (65,), "norm_weight", (0, 0, 0, 0), (1, 1), "tiled"),
        ("bias", (20,), "bias", (0, 0, 0, 0), (1, 1), "predicted"),
        ("conv", (128, 1, 1), "scale", (0, 0, 0, 0), (1, 1), "predicted"),
        ("conv", (129, 1, 1), "scale", (0, 0, 0, 0), (1, 1), "tiled"),
    ],
)
def test_decoders_by_shape(
    op: str, shape: Shape, kind: str, asked: Shape, kernel: tuple[int, int], status: str
) -> None:
    target = target_of(op, shape)
    assert (target.key.kind, target.key.shape, target.key.kernel, target.status) == (kind, asked, kernel, status)


def test_rules_in_words() -> None:
    assert target_of("conv", (64, 64, 11, 11)).rule == "whole block"
    assert target_of("conv", (64, 3, 7, 7)).rule == "leading 64x3x7x7 of a block of 64x64x11x11"
    assert target_of("conv", (96, 10, 1, 1)).rule.endswith("64x64x11x11, repeated along channels")
    assert target_of("conv", (8, 3, 16, 16)).rule.endswith("64x64x11x11, enlarged to 16x16")
    assert target_of("pos_enc", (1, 50, 8)).rule.endswith("49 places of a grid repeated over 50 tokens")


def test_rules_of_centered_kernels_in_words() -> None:
    config = GHNConfig.ghn3("T")
    assert target_of("conv", (64, 64, 11, 11), config=config).rule == "whole block"
    assert target_of("conv", (64, 3, 7, 7), config=config).rule == "leading 64x3, central 7x7 of a block of 64x64x11x11"
    assert target_of("conv", (64, 3, 11, 11), config=config).rule == "leading 64x3x11x11 of a block of 64x64x11x11"
    assert target_of("bias", (20,), config=config).rule == "leading 20x1x1x1 of a block of 64x1x1x1"


@pytest.mark.parametrize(
    ("op", "shape", "scale"),
    [
        ("conv", (64, 32, 3, 3), math.sqrt(2 / 288)),
        ("conv", (64, 32), math.sqrt(2 / 32)),
        ("conv", (64, 32, 1, 7), math.sqrt(1 / 224)),
        ("conv", (64, 32, 7, 1), math.sqrt(2 / 224)),
        ("sep_conv", (64, 1, 3, 3), math.sqrt(1 / 9)),
        ("pos_enc", (1, 64, 11, 11), 1.0),
        ("pos_enc", (1, 50, 64), 1.0),
        ("conv", (1, 64, 3, 3), math.sqrt(2 / 576)),
        ("conv", (64, 1, 1), 1.0),
        ("bias", (64,), 1.0),
        ("bn", (64,), 1.0),
    ],
)
def test_fan_in_scale(op: str, shape: Shape, scale: float) -> None:
    assert target_of(op, shape).scale == pytest.approx(scale)
    assert target_of(op, shape, config=GHNConfig.ghn1()).scale == 1.0


def test_norms_hold_a_weight_and_a_bias() -> None:
    weight, bias = targets_of(chain(("bn", {"weight": (8,), "bias": (8,)}), ("glob_avg", {})), CONFIG)
    assert (weight.key.kind, bias.key.kind, weight.node, bias.node) == ("norm_weight", "bias", 1, 1)


def test_class_layer_is_the_linear_layer_at_the_main_output() -> None:
    linear = ("conv", {"weight": (10, 32)})
    with_bias = chain(linear, ("bias", {"bias": (10,)}))
    assert class_layer_nodes(with_bias) == (1, 2)
    assert [target.key.kind for target in targets_of(with_bias, CONFIG)] == ["class_weight", "class_bias"]
    assert list(targets_of(with_bias, CONFIG, predict_class_layers=False)) == []
    assert class_layer_nodes(chain(linear)) == (1,)
    assert class_layer_nodes(chain(linear, linear, ("bias", {"bias": (10,)}), outputs=(1, 3))) == (1,)


def test_networks_that_end_in_anything_else_have_no_class_layer() -> None:
    conv = ("conv", {"weight": (10, 32, 1, 1)})
    for nodes in (
        (conv,),
        (conv, ("bias", {"bias": (10,)})),
        (("conv", {"weight": (10, 32)}), ("glob_avg", {})),
        (("bn", {"weight": (10,), "bias": (10,)}),),
    ):
        assert class_layer_nodes(chain(*nodes)) == ()


def test_another_class_count_is_refused_with_the_remedy() -> None:
    graph = chain(("conv", {"weight": (7, 32)}))
    with pytest.raises(PredictionError, match=r"7 outputs, this GHN predicts class layers of 10.*layers=False"):
        list(targets_of(graph, CONFIG))
    assert list(targets_of(graph, CONFIG, predict_class_layers=False)) == []


def test_a_parameter_used_twice_is_predicted_once() -> None:
    graph = ComputationalGraph(
        ops=("input", "conv", "conv", "glob_avg"),
        edge_index=make_edge_index([(0, 1), (1, 2), (2, 3)]),
        param_names=((), ("w",), ("w",), ()),
        param_shapes=((), ((8, 8),), ((8, 8),), ()),
        inputs=(0,),
        outputs=(3,),
        vocabulary="ppuda",
    )
    assert [(target.name, target.node) for target in targets_of(graph, CONFIG, first_node=5)] == [("w", 6)]
