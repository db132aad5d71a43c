import json
from typing import Any

import pytest
from hypothesis import given
from network_strategies import network_configs

from ppuda_like.deepnets import DARTS, NetworkConfig, NetworkError, ViT


@given(network_configs())
def test_json_round_trip(config: NetworkConfig) -> None:
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_replace_and_build() -> None:
    config = NetworkConfig(C=8, n_cells=2).replace(num_classes=7)
    net = config.build("meta")
    assert net.config == config
    assert net.config.num_classes == 7
    assert all(parameter.is_meta for parameter in net.parameters())
    assert config == NetworkConfig(C=8, n_cells=2, num_classes=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"C": 0}, r"'C' must be a positive integer \(got 0\)"),
        ({"C": 7}, "'C' must be even"),
        ({"C": 12, "genotype": ViT}, r"'C' must be a multiple of 8 with 'msa'.*\(got 12\)"),
        ({"n_cells": 2.5}, r"'n_cells' must be a positive integer \(got 2.5\)"),
        ({"fc_layers": True}, "'fc_layers' must be a positive integer"),
        ({"ks": 4}, r"'ks' must be odd \(got 4\)"),
        ({"stem_type": 2}, "'stem_type' must be 0 or 1"),
        ({"norm": "ln"}, r"'norm' must be one of .*'bn-track'.* \(got 'ln'\)"),
        ({"drop_path": 1.0}, "'drop_path' must be at least 0 and below 1"),
        ({"preproc": False}, r"'preproc' must be on where widths change.*C_mult=2, 4 states"),
        ({"genotype": "DARTS"}, r"'genotype' must be a Genotype \(got str\)"),
    ],
)
def test_invalid(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        NetworkConfig(**({"genotype": DARTS} | change))


def test_unknown_argument() -> None:
    with pytest.raises(NetworkError, match=r"unknown network arguments \['depth'\]; there are \['C', "):
        NetworkConfig.from_dict({"depth": 3})
