import pytest
import torch

from ppuda_like.deepnets import NetworkConfig
from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.ghn._init import common_init, fan_in_init, identity_init
from ppuda_like.graph import trace


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def wide() -> GHN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(GHNConfig.ghn2(kernel=11, hid=32))


def test_fan_in_gives_he_initialised_networks(wide: GHN) -> None:
    net = NetworkConfig(C=16, n_cells=3).build("meta")
    kernel = "cells.0.preprocess0.op.1.weight"

    def scale() -> float:
        weight = wide.predict(trace(net))[0][kernel]
        return float((weight.std() / (2 / weight[0].numel()) ** 0.5).detach())

    assert scale() < 0.3
    fan_in_init(wide, generator())
    assert 0.5 < scale() < 2.0


def test_common_makes_nodes_alike(wide: GHN) -> None:
    x = torch.nn.functional.layer_norm(torch.randn(64, 32, generator=generator()), (32,))

    def variation() -> float:
        made = wide.decoder(x, (8, 8, 3, 3)).detach().flatten(1)
        return float(made.std(dim=0).mean() / made.mean(dim=0).std())

    before = variation()
    common_init(wide, generator())
    assert variation() < 0.9 * before


def test_identity_adds_itself_to_what_is_predicted(wide: GHN) -> None:
    x = torch.randn(2, 32, generator=generator())
    before = wide.decoder(x, (4, 3, 1, 1))
    identity_init(wide, diagonal=2.0, first=0.5)
    added = (wide.decoder(x, (4, 3, 1, 1)) - before)[0, :, :, 0, 0]
    expected = torch.tensor([[2.5, 0.0, 0.0], [0.5, 2.0, 0.0], [0.5, 0.0, 2.0], [0.5, 0.0, 0.0]])
    torch.testing.assert_close(added, expected)


def test_other_decoders_are_refused() -> None:
    ghn = GHN(GHNConfig(max_shape=(4, 4, 3, 3), decoder="mlp", hid=4))
    with pytest.raises(TypeError, match=r"'fan_in' .* decoder 'conv' \(got MLPDecoder\)"):
        fan_in_init(ghn, generator())
    with pytest.raises(TypeError, match=r"'common' .* decoder 'conv' \(got MLPDecoder\)"):
        common_init(ghn, generator())
    with pytest.raises(TypeError, match=r"'identity' .* decoder 'conv' \(got MLPDecoder\)"):
        identity_init(ghn)
