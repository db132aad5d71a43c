import pytest
import torch
from hypothesis import assume, given, settings
from network_strategies import network_configs
from torch import nn

from ppuda_like.deepnets import (
    DARTS,
    PDARTS,
    Genotype,
    Network,
    NetworkConfig,
    NetworkError,
    ViT,
    count_parameters,
)
from ppuda_like.graph import trace

DEAD = Genotype(
    normal=(("conv_3x3", 0), ("skip_connect", 1)),
    normal_concat=(2,),
    reduce=(("none", 0), ("none", 1)),
    reduce_concat=(2,),
)


# What reads the reducing cells 1 and 3 of a network of 5 cells: the second input of cells 2 and 4, the first of 3.
UNREAD = ("cells.2.preprocess1.", "cells.4.preprocess1.")


def _build(config: NetworkConfig, device: str | None = None) -> Network:
    try:
        return config.build(device)
    except NetworkError as error:
        assume("no path leads" not in str(error))
        raise


@settings(max_examples=25, deadline=None)
@given(network_configs(max_cells=4))
def test_forward_is_finite(config: NetworkConfig) -> None:
    config = config.replace(is_imagenet_input=False)
    net = _build(config)
    x = torch.randn(2, 3, 32, 32)
    out = net.train()(x)
    if config.auxiliary:
        out, aux = out
        assert aux.shape == (2, config.num_classes)
        assert bool(aux.isfinite().all())
    assert out.shape == (2, config.num_classes)
    assert bool(out.isfinite().all())


@settings(max_examples=20, deadline=None)
@given(network_configs(max_cells=4))
def test_touches_what_the_output_depends_on(config: NetworkConfig) -> None:
    net = _build(config.replace(auxiliary=False, is_imagenet_input=False, norm="bn-track")).eval()
    full = trace(net)
    net(torch.randn(1, 3, 32, 32)).sum().backward()
    reached = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert set(full.params) == set(full.lower("ppuda").params) == reached
    assert set(full.unreached) == {name for name, _ in net.named_parameters()} - reached


@settings(max_examples=40, deadline=None)
@given(network_configs())
def test_count_agrees_with_modules(config: NetworkConfig) -> None:
    net = _build(config, "meta")
    assert count_parameters(config) == sum(parameter.numel() for parameter in net.parameters())
    assert net.eval()(torch.empty(net.input_shape, device="meta")).shape == (1, config.num_classes)


@settings(max_examples=10, deadline=None)
@given(network_configs(max_cells=4))
def test_runs_from_meta_given_what_its_graph_holds(config: NetworkConfig) -> None:
    net = _build(config.replace(auxiliary=False, is_imagenet_input=False, norm="bnorm"), "meta")
    shapes = trace(net).lower("ppuda").params
    params = {name: torch.full(shape, 0.01) for name, shape in shapes.items()}
    logits = torch.func.functional_call(net, params, (torch.randn(2, 3, 32, 32),))
    assert logits.device.type == "cpu"
    assert logits.shape == (2, config.num_classes)


def test_says_its_input_shape() -> None:
    assert Network(n_cells=1, C=8).input_shape == (1, 3, 32, 32)
    assert Network(n_cells=1, C=8, is_imagenet_input=True).input_shape == (1, 3, 224, 224)


@pytest.mark.parametrize("genotype", [DARTS, PDARTS, ViT])
def test_named_genotypes_learn(genotype: Genotype) -> None:
    torch.manual_seed(0)
    net = Network(C=8, num_classes=3, genotype=genotype, n_cells=3, stem_type=1)
    x, y = torch.randn(6, 3, 32, 32), torch.arange(6) % 3
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_cell_without_input_is_skipped() -> None:
    # Cells 1 and 3 reduce, and give nothing: what comes after them reads the cell before.
    net = Network(C=8, genotype=DEAD, n_cells=5, auxiliary=True)
    logits, aux = net(torch.randn(2, 3, 32, 32))
    assert logits.shape == aux.shape == (2, 10)
    unreached = trace(net.eval()).unreached
    untouched = ("cells.1.", "cells.3.", *UNREAD)
    assert {name for name in unreached if not name.startswith("auxiliary_head.")} == {
        name for name, _ in net.named_parameters() if name.startswith(untouched)
    }
    # Two such cells in a row cut the network.
    with pytest.raises(NetworkError, match=r"no path leads from the input to the output of 4 cells"):
        Network(C=8, genotype=DEAD, n_cells=4)


def test_dead_states_become_zeros() -> None:
    genotype = Genotype(
        normal=(("none", 0), ("none", 1), ("skip_connect", 0), ("conv_1x1", 1)),
        normal_concat=(2, 3),
        reduce=(("skip_connect", 0), ("skip_connect", 1), ("none", 0), ("none", 1)),
        reduce_concat=(2, 3),
    )
    net = Network(C=8, genotype=genotype, n_cells=1).eval()
    features = net.get_submodule("cells.0")(torch.randn(1, 24, 4, 4), torch.randn(1, 24, 4, 4))
    assert features.shape == (1, 16, 4, 4)
    assert not features[:, :8].any()
    assert bool(features[:, 8:].any())


def test_auxiliary_head_is_for_training_only() -> None:
    net = Network(C=8, n_cells=3, auxiliary=True)
    x = torch.randn(2, 3, 32, 32)
    assert isinstance(net.train()(x), tuple)
    assert isinstance(net.eval()(x), torch.Tensor)
    assert any(name.startswith("auxiliary_head.") for name in trace(net).unreached)


def test_drop_path_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = Network(C=8, n_cells=3, drop_path=0.5)
    x = torch.randn(4, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    net.drop_path_rate = 0.0
    torch.testing.assert_close(net(x), net(x))
    net.drop_path_rate = 0.5
    net.eval()
    torch.testing.assert_close(net(x), net(x))


@pytest.mark.parametrize("norm", ["bnorm", "bn", "bn-track", None])
def test_norms(norm: str | None) -> None:
    net = Network(C=8, n_cells=3, norm=norm)
    layers = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert bool(layers) == (norm is not None)
    assert bool(list(net.buffers())) == (norm == "bn-track")
    # Names of convolutions do not depend on the norm.
    names = {name for name, parameter in net.named_parameters() if parameter.dim() == 4}
    assert names == {name for name, parameter in Network(C=8, n_cells=3).named_parameters() if parameter.dim() == 4}


@pytest.mark.parametrize("size", [17, 20, 48])
def test_convolutional_networks_take_any_size(size: int) -> None:
    assert Network(C=8, n_cells=3, stem_type=1)(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_transformers_take_one_size() -> None:
    net = NetworkConfig(C=8, genotype=ViT, n_cells=3, preproc=False, C_mult=1).build()
    with pytest.raises(NetworkError, match=r"encoding is for \(11, 11\) patches \(got \(14, 14\)\); resize the images"):
        net(torch.randn(1, 3, 40, 40))
