import pytest
import torch

from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.ghn._init import identity_init


@pytest.fixture
def wide() -> GHN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GHN(GHNConfig.ghn2(kernel=11, hid=32))


def test_identity_adds_itself_to_what_is_predicted(wide: GHN) -> None:
    x = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    before = wide.decoder(x, (4, 3, 1, 1))
    identity_init(wide, diagonal=2.0, first=0.5)
    added = (wide.decoder(x, (4, 3, 1, 1)) - before)[0, :, :, 0, 0]
    expected = torch.tensor([[2.5, 0.0, 0.0], [0.5, 2.0, 0.0], [0.5, 0.0, 2.0], [0.5, 0.0, 0.0]])
    torch.testing.assert_close(added, expected)


def test_other_decoders_are_refused() -> None:
    ghn = GHN(GHNConfig(max_shape=(4, 4, 3, 3), decoder="mlp", hid=4))
    with pytest.raises(TypeError, match=r"'identity' .* decoder 'conv' \(got MLPDecoder\)"):
        identity_init(ghn)
