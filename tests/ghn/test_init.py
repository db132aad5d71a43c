import pytest
import torch

from ppuda_like.errors import PredictionError
from ppuda_like.ghn import GHN, GHNConfig, parameter_norms
from ppuda_like.ghn._init import graphormer_init, identity_init


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


@pytest.mark.parametrize("decoder", ["conv", "mlp"])
def test_graphormer_init_makes_outputs_small_and_tables_normal(decoder: str) -> None:
    config = GHNConfig(max_shape=(16, 16, 3, 3), hid=64, decoder=decoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ghn = GHN(config)
        before = {name: value.clone() for name, value in ghn.state_dict().items()}
        graphormer_init(ghn)
    after = ghn.state_dict()
    last = {"conv": "decoder.conv.2", "mlp": "decoder.mlp.fc.2"}[decoder]
    lasts = [last, "decoder.class_layer_predictor.1", "decoder_1d.fc.2"]
    tables = ["embed.weight", "shape_enc.embed_spatial.weight", "shape_enc.embed_channel.weight"]
    for name in lasts:
        torch.testing.assert_close(after.pop(f"{name}.weight"), before[f"{name}.weight"] / 5)
        assert not after.pop(f"{name}.bias").any()
    for name in tables:
        table = after.pop(name)
        assert table.std() == pytest.approx(64**-0.5, rel=0.15)
        assert table.abs().max() <= 2
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_ghn3_begins_with_small_predictions_and_sinusoids() -> None:
    config = GHNConfig(max_shape=(16, 16, 3, 3), hypernet="graphormer", hid=16, layers=1, heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = GHN(config).state_dict()
    assert not state["decoder.conv.2.bias"].any()
    assert not state["decoder_1d.fc.2.bias"].any()
    assert state["gnn.input_distance.weight"].std() == pytest.approx(0.25, rel=0.1)
    table = state["gnn.edge_bias.embed.weight"]
    assert not table[0].any()
    place, pair = 37, 3
    angle = torch.tensor(place / 10000 ** (2 * pair / 16))
    torch.testing.assert_close(table[place, 2 * pair : 2 * pair + 2], torch.stack((angle.sin(), angle.cos())))


def test_parameter_norms_add_up_and_have_unit_gradients() -> None:
    a = torch.tensor([[3.0, 0.0], [0.0, 4.0]], requires_grad=True)
    b = torch.full((4,), 2.0, requires_grad=True)
    c = torch.zeros(3, requires_grad=True)
    found = parameter_norms({"a": a, "b": b, "c": c})
    assert found.item() == 9.0
    found.backward()
    torch.testing.assert_close(a.grad, a.detach() / 5)
    torch.testing.assert_close(b.grad, b.detach() / 4)
    assert c.grad is not None
    assert not c.grad.any()


def test_parameter_norms_do_not_overflow_in_half_precision() -> None:
    large = torch.full((100, 100), 1000.0, dtype=torch.float16)
    assert parameter_norms({"weight": large}).item() == pytest.approx(1e5, rel=1e-4)
    assert parameter_norms({"weight": large.double()}).dtype == torch.float64


def test_norms_of_nothing_are_refused() -> None:
    with pytest.raises(PredictionError, match="no predicted tensors"):
        parameter_norms({})
