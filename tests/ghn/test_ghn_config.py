"""Configurations of hypernetworks."""

import json
from typing import Any, Literal

import pytest
import torch

from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHN, GHNConfig


def test_recipes() -> None:
    assert GHNConfig.ghn2() == GHNConfig(max_shape=(64, 64, 11, 11), num_classes=10)
    one, two, mlp = GHNConfig.ghn1(kernel=16, num_classes=1000), GHNConfig.ghn2(hid=64), GHNConfig.mlp()
    assert (one.ve, one.layernorm, one.weight_norm, one.max_shape) == (False, False, False, (64, 64, 16, 16))
    assert (two.ve, two.layernorm, two.weight_norm, two.max_shape) == (True, True, True, (128, 128, 11, 11))
    assert (mlp.hypernet, mlp.decoder) == ("mlp", "conv")
    three = GHNConfig.ghn3("S", num_classes=100)
    assert (three.hypernet, three.decoder, three.centered) == ("graphormer", "conv", True)
    assert (three.ve, three.layernorm, three.weight_norm) == (True, True, True)
    assert (three.hid, three.layers, three.heads, three.max_shape) == (128, 5, 16, (128, 128, 11, 11))


@pytest.mark.parametrize(
    ("size", "total", "backbone", "decoder"),
    [
        ("T", 6_906_632, 251_592, 6_557_672),
        ("S", 35_810_368, None, None),
        ("L", 214_668_960, None, None),
        ("XL", 654_365_184, 43_421_584, 609_627_112),
    ],
)
def test_ghn3_has_the_published_numbers_of_parameters(
    size: Literal["T", "S", "L", "XL"], total: int, backbone: int | None, decoder: int | None
) -> None:
    with torch.device("meta"):
        ghn = GHN(GHNConfig.ghn3(size, num_classes=1000, kernel=16))
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in ghn.named_children()}
    assert sum(counts.values()) == total
    assert counts["gnn"] == (backbone or counts["gnn"])
    assert counts["decoder"] == (decoder or counts["decoder"])


@pytest.mark.parametrize(
    "config",
    [
        GHNConfig.ghn1(),
        GHNConfig.ghn2(hid=8, kernel=5),
        GHNConfig.mlp(num_classes=100),
        GHNConfig.ghn3("T"),
        GHNConfig(centered=True),
    ],
)
def test_round_trip_through_json(config: GHNConfig) -> None:
    assert GHNConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_other_hypernets_are_written_as_before_ghn3() -> None:
    released = {"max_shape", "num_classes", "hypernet", "decoder", "weight_norm", "ve", "layernorm", "hid"}
    assert set(GHNConfig.ghn2().to_dict()) == released
    assert set(GHNConfig.ghn3("T").to_dict()) == released | {"layers", "heads", "centered"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hypernet": "gnn"}, r"'hypernet' must be one of \('gatedgnn', 'graphormer', 'mlp'\) \(got 'gnn'\)"),
        ({"decoder": "fc"}, "'decoder' must be one of"),
        ({"max_shape": (64, 64)}, "4 positive sizes"),
        ({"max_shape": "large"}, "4 positive sizes"),
        ({"max_shape": (64, 64, 0, 1)}, "4 positive sizes"),
        ({"hid": 30}, "multiple of 4"),
        ({"hid": 0}, "'hid' must be a positive integer"),
        ({"num_classes": 2.5}, "'num_classes' must be a positive integer"),
        ({"layers": 3}, "'layers' must be 0, its default, for the hypernet 'gatedgnn' \\(got 3"),
        ({"hypernet": "mlp", "heads": 2}, "'heads' must be 0, its default, for the hypernet 'mlp' \\(got 2"),
        ({"hypernet": "graphormer"}, "'layers' must be a positive integer for the hypernet 'graphormer' \\(got 0"),
        ({"hypernet": "graphormer", "layers": 1, "heads": True}, "'heads' must be a positive integer"),
        ({"hypernet": "graphormer", "layers": -1, "heads": 4}, "'layers' must be a positive integer"),
        ({"hypernet": "graphormer", "layers": 1, "heads": 5}, "'heads' must be a divisor of 'hid' = 32 \\(got 5"),
        ({"virtual": True}, r"unknown configuration names \['virtual'\]"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        GHNConfig.from_dict(values)


def test_ghn3_has_four_sizes() -> None:
    with pytest.raises(PredictionError, match=r"'size' must be one of \('T', 'S', 'L', 'XL'\) \(got 'M'\)"):
        GHNConfig.ghn3("M")  # type: ignore[arg-type]
