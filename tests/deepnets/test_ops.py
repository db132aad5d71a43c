import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ppuda_like.deepnets import OPS, NetworkError
from ppuda_like.deepnets._cell import drop_path
from ppuda_like.deepnets._layers import ChannelSE, FactorizedReduce, Transformer, norm_layer


@pytest.mark.parametrize("norm", ["bnorm", None])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", list(OPS))
def test_shape_and_count(name: str, stride: int, norm: str | None) -> None:
    op = OPS[name].build(16, stride, norm)
    # Self-attention only occurs in networks that keep the resolution.
    size = 8 if stride == 1 or name == "msa" else 4
    out = op(torch.randn(2, 16, 8, 8))
    assert out.shape == (2, 16, size, size)
    assert bool(out.isfinite().all())
    count = sum(parameter.numel() for parameter in op.parameters())
    assert OPS[name].count(16, stride, 0 if norm is None else 32) == count


def test_unknown_names_its_neighbours() -> None:
    assert "conv_3x3" in OPS
    assert len(OPS) == 15
    with pytest.raises(NetworkError, match=r"unknown operation 'sep_conv_3'; did you mean \['sep_conv_3x3'"):
        OPS["sep_conv_3"]
    with pytest.raises(NetworkError, match=r"unknown operation 'zzz'; there are \['none'"):
        OPS["zzz"]
    assert repr(OPS).startswith("Table('operation', ['none'")


def test_pools() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert OPS["max_pool_3x3"].build(1, 2, None)(x).flatten().tolist() == [5, 7, 13, 15]
    # Padding does not count: the corner is the mean of 0, 1, 4, 5.
    assert OPS["avg_pool_3x3"].build(1, 1, None)(x)[0, 0, 0, 0] == 2.5


def test_none_is_zero() -> None:
    assert OPS["none"].build(1, 2, None)(torch.ones(1, 1, 4, 4)).tolist() == [[[[0, 0], [0, 0]]]]


def test_factorized_reduce_sees_both_diagonals() -> None:
    layer = FactorizedReduce(1, 2, None)
    for conv in (layer.conv_1, layer.conv_2):
        nn.init.ones_(conv.weight)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(x).tolist() == [[[[0, 2], [8, 10]], [[5, 7], [13, 15]]]]
    # Of an odd size, the shifted half lacks a row and a column: they are zeros.
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert layer(x).tolist() == [[[[0, 2], [6, 8]], [[4, 0], [0, 0]]]]


def test_squeeze_excitation_formula() -> None:
    layer, x = ChannelSE(4, 1).double(), torch.randn(2, 4, 3, 3, dtype=torch.double)
    hidden = F.relu(x.flatten(2).mean(-1) @ layer.fc1.weight.T + layer.fc1.bias)
    score = hidden @ layer.fc2.weight.T + layer.fc2.bias
    gate = score * (score + 3).clamp(0, 6) / 6
    torch.testing.assert_close(layer(x), x * gate[..., None, None])


def test_transformer_agrees_with_torch() -> None:
    ours = Transformer(16).double().eval()
    theirs = nn.MultiheadAttention(16, 8, bias=False, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.get_parameter("to_qkv.weight"))
        theirs.out_proj.weight.copy_(ours.get_parameter("to_out.0.weight"))
    x = torch.randn(2, 16, 3, 5, dtype=torch.double)
    tokens = x.flatten(2).transpose(1, 2)
    normed = ours.ln1(tokens)
    tokens = tokens + theirs(normed, normed, normed)[0] + ours.get_parameter("to_out.0.bias")
    tokens = tokens + ours.ff(ours.ln2(tokens))
    torch.testing.assert_close(ours(x), tokens.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize("norm", ["bn", "bnorm"])
def test_untracked_norm_uses_batch_statistics(norm: str) -> None:
    layer = norm_layer(norm, 3).eval()
    x = torch.randn(8, 3, 4, 4, dtype=torch.double) * 5 + 2
    assert not list(layer.buffers())
    assert layer.double()(x).mean().abs() < 1e-6


def test_tracked_norm_keeps_running_statistics() -> None:
    x = torch.randn(8, 3, 4, 4) + 2
    torch.testing.assert_close(norm_layer("bn-track", 3).eval()(x), x, rtol=1e-4, atol=1e-4)
    assert isinstance(norm_layer(None, 3), nn.Identity)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    out = drop_path(torch.ones(4000, 2, 1, 1), 0.25)
    assert set(out.flatten().tolist()) == {0.0, (1 / torch.tensor(0.75)).item()}
    torch.testing.assert_close(out[:, 0], out[:, 1])
    assert abs(out.mean().item() - 1) < 0.05
