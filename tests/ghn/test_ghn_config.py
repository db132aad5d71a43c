"""Configurations of hypernetworks."""

import json
from typing import Any

import pytest

from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHNConfig


def test_recipes() -> None:
    assert GHNConfig.ghn2() == GHNConfig(max_shape=(64, 64, 11, 11), num_classes=10)
    one, two, mlp = GHNConfig.ghn1(kernel=16, num_classes=1000), GHNConfig.ghn2(hid=64), GHNConfig.mlp()
    assert (one.ve, one.layernorm, one.weight_norm, one.max_shape) == (False, False, False, (64, 64, 16, 16))
    assert (two.ve, two.layernorm, two.weight_norm, two.max_shape) == (True, True, True, (128, 128, 11, 11))
    assert (mlp.hypernet, mlp.decoder) == ("mlp", "conv")


@pytest.mark.parametrize("config", [GHNConfig.ghn1(), GHNConfig.ghn2(hid=8, kernel=5), GHNConfig.mlp(num_classes=100)])
def test_round_trip_through_json(config: GHNConfig) -> None:
    assert GHNConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


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
        ({"virtual": True}, r"unknown configuration names \['virtual'\]"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        GHNConfig.from_dict(values)
