"""Agreement with the parameters that the reference predicts for whole networks."""

import json
import lzma
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from ppuda_like.deepnets import DARTS, Network
from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.vision import adapt_small_input

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden_params.json.xz"
RECIPES: dict[str, Callable[[], GHNConfig]] = {"ghn1_cifar10": GHNConfig.ghn1, "ghn2_cifar10": GHNConfig.ghn2}
NETWORKS = ("resnet18", "densenet121", "mobilenet_v2", "vgg11_bn", "DARTS")
SEED = 7
"""The reference's checkpoints hold the weights that torch draws from this seed."""


@cache
def golden() -> dict[str, Any]:
    return dict(json.loads(lzma.decompress(GOLDEN.read_bytes())))


@cache
def graph_of(name: str) -> ComputationalGraph:
    with torch.device("meta"):
        model: nn.Module
        if name == "DARTS":
            model = Network(C=32, num_classes=10, genotype=DARTS, n_cells=8, stem_type=1, C_mult=2, preproc=True)
        else:
            model = adapt_small_input(torchvision.models.get_model(name, num_classes=10))
    return trace(model, (1, 3, 32, 32)).lower("ppuda")


@cache
def ghn_of(name: str) -> GHN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return GHN(RECIPES[name]())


def test_the_goldens_are_of_these_networks() -> None:
    assert {name: set(networks) for name, networks in golden().items()} == {key: set(NETWORKS) for key in RECIPES}


@pytest.mark.parametrize("checkpoint", RECIPES)
def test_the_seed_draws_the_weights_of_the_checkpoint(checkpoint: str) -> None:
    state = ghn_of(checkpoint).state_dict()
    last = {"ghn1_cifar10": [0.01912, -0.00245, 0.05748], "ghn2_cifar10": [-0.08740, 0.04375, -0.01508]}[checkpoint]
    torch.testing.assert_close(state["embed.weight"][0, :3], torch.tensor([-0.8201, 0.3956, 0.8989]), atol=1e-4, rtol=0)
    torch.testing.assert_close(state["bias_class.1.bias"][:3], torch.tensor(last), atol=1e-5, rtol=0)


@pytest.mark.parametrize("checkpoint", RECIPES)
@pytest.mark.skipif("PPUDA_LIKE_DATA" not in os.environ, reason="PPUDA_LIKE_DATA does not name a folder of checkpoints")
def test_checkpoint_files_hold_the_same_weights(checkpoint: str) -> None:
    read = GHN.from_ppuda(Path(os.environ["PPUDA_LIKE_DATA"]) / f"{checkpoint}.pt", num_classes=10)
    assert read.config == ghn_of(checkpoint).config
    torch.testing.assert_close(read.state_dict(), ghn_of(checkpoint).state_dict(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("checkpoint", RECIPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_agrees(checkpoint: str, network: str) -> None:
    wanted = golden()[checkpoint][network]
    with torch.no_grad():
        batch = ghn_of(checkpoint).prepare(graph_of(network))
        embedding = ghn_of(checkpoint).embed(batch)[0]
        (found,) = ghn_of(checkpoint).predict(batch)
    torch.testing.assert_close(embedding, torch.tensor(wanted["embed_mean"]), rtol=1e-4, atol=1e-5)
    assert set(found) == set(wanted["params"])
    for name, facts in wanted["params"].items():
        tensor = found[name]
        assert list(tensor.shape) == facts["shape"], name
        std, mean = torch.std_mean(tensor, correction=0)
        flat = tensor.flatten()
        got = torch.cat((torch.stack((mean, std)), flat[:4], flat[-4:]))
        expected = torch.tensor([facts["mean"], facts["std"], *facts["head"], *facts["tail"]])
        # Means are small differences of large sums: what counts is the scale of the tensor.
        scale = max(abs(facts["mean"]), facts["std"])
        torch.testing.assert_close(
            got, expected, rtol=1e-4, atol=2e-6 * scale, msg=lambda text, name=name: f"{name}: {text}"
        )
