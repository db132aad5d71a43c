import copy
import pickle
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.deepnets import DARTS, Network, NetworkConfig, ViT, sample_network
from ppuda_like.errors import DataError
from ppuda_like.vision import Backbone, adapt_small_input
from ppuda_like.vision._detect_cut import find_cut


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


# For each family, what its own code says the features before pooling are.
FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    "resnet": (torchvision.models.resnet18, lambda m, x: nn.Sequential(*list(m.children())[:-2])(x)),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 8), lambda m, x: F.relu(m.features(x))),
    "squeezenet": (torchvision.models.squeezenet1_1, lambda m, x: m.features(x)),
    "mobilenet": (torchvision.models.mobilenet_v3_small, lambda m, x: m.features(x)),
    "mnasnet": (torchvision.models.mnasnet0_5, lambda m, x: m.layers(x)),
    "shufflenet": (torchvision.models.shufflenet_v2_x0_5, lambda m, x: nn.Sequential(*list(m.children())[:-1])(x)),
    "googlenet": (
        lambda: torchvision.models.GoogLeNet(init_weights=False),
        lambda m, x: nn.Sequential(*[child for name, child in m.named_children() if "aux" not in name][:-3])(x),
    ),
    "swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 12, [1, 1, 1, 1], [1, 2, 2, 2], [7, 7]),
        lambda m, x: m.permute(m.norm(m.features(x))),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_torchvision_models(name: str) -> None:
    build, features_of = FAMILIES[name]
    model = seeded(build)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = features_of(copy.deepcopy(model), x)
        backbone = Backbone(model)
        features = backbone(x)
    torch.testing.assert_close(features, expected)
    assert backbone.out_channels == features.size(1)
    assert backbone.stride == (16 if name == "squeezenet" else 32)


@pytest.mark.parametrize(
    ("name", "moment", "channels", "stride"),
    [
        ("alexnet", "the input of 'avgpool'", 256, 32),
        ("vgg11", "the input of 'avgpool'", 512, 32),
        ("inception_v3", "the input of 'avgpool'", 2048, 32),
        ("efficientnet_b0", "the input of 'avgpool'", 1280, 32),
    ],
)
def test_where_larger_models_are_cut(name: str, moment: str, channels: int, stride: int) -> None:
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, **options)
    cut = find_cut(model)
    assert (str(cut.moment), cut.channels, cut.stride) == (moment, channels, stride)


def test_small_input_adaptation_changes_the_stride() -> None:
    model = seeded(lambda: adapt_small_input(torchvision.models.resnet18()))
    assert Backbone(model, input_shape=(1, 3, 32, 32)).stride == 8


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"glob_avg": False},
        {"stem_type": 1, "fc_layers": 2},
        {"norm": "bn-track", "auxiliary": True, "drop_path": 0.2},
        {"norm": None},
    ],
    ids=str,
)
def test_features_of_generated_networks(options: dict[str, object]) -> None:
    net = seeded(lambda: Network(C=8, genotype=DARTS, n_cells=3, **options))  # type: ignore[arg-type]
    seen: list[Tensor] = []
    handle = net.global_pooling.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        net(x)
        handle.remove()
        backbone = Backbone(net)
        torch.testing.assert_close(backbone(x), seen[0])
        size = (64 // backbone.stride, 40 // backbone.stride)
        assert backbone.train()(torch.rand(2, 3, 64, 40)).shape == (2, backbone.out_channels, *size)


def network(config: NetworkConfig) -> Network:
    return Network(**{field.name: getattr(config, field.name) for field in fields(config)})


def test_generated_networks_with_unused_operations() -> None:
    """A backbone does not hold the parameters of operations that nothing depends on."""
    used = 0
    for index in range(6):
        config = sample_network("test", index).replace(C=8)
        if config.genotype.is_transformer:
            continue
        backbone = Backbone(seeded(partial(network, config))).train()
        backbone(torch.rand(2, 3, 32, 32)).sum().backward()
        assert all(parameter.grad is not None for parameter in backbone.parameters())
        used += len(list(network(config).parameters())) > len(list(backbone.parameters())) + 2
    assert used, "some network should have had unused operations"


class Functional(nn.Module):
    """One activation module called in several places, pooling by functions, weights used without a call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.scale = nn.Linear(6, 6)
        self.act = nn.ReLU()
        self.fc = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = self.second(x)
        x = self.act(F.conv2d(x, self.scale.weight[:, :, None, None]))
        try:
            return self.fc(self.act(x.mean((2, 3))))  # type: ignore[no-any-return]
        except Exception as error:
            raise AssertionError("the cut must not be taken for an error") from error


def test_a_module_that_runs_often_is_cut_at_the_right_call() -> None:
    model = seeded(Functional)
    x = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        expected = F.relu(F.conv2d(model.second(F.relu(model.first(x))), model.scale.weight[:, :, None, None]))
    backbone = Backbone(model, input_shape=(1, 3, 32, 32))
    torch.testing.assert_close(backbone(x), expected)
    assert (backbone.out_channels, backbone.stride) == (6, 4)
    assert {name for name, _ in backbone.named_parameters()} == {
        "body.first.weight", "body.first.bias", "body.second.weight", "body.second.bias", "body.scale.weight"
    }  # fmt: skip
    torch.testing.assert_close(pickle.loads(pickle.dumps(backbone))(x), expected)
    torch.testing.assert_close(copy.deepcopy(backbone)(x), expected)


def test_one_cell_at_the_usual_size() -> None:
    """A network for large images, described by a small one."""
    backbone = Backbone(seeded(torchvision.models.resnet18), input_shape=(1, 3, 32, 32))
    assert (backbone.out_channels, backbone.stride) == (512, 32)


def test_only_parameters_of_the_features_are_kept() -> None:
    model = seeded(torchvision.models.mobilenet_v3_small)
    kept = {f"body.features.{name}" for name, _ in model.features.named_parameters()}
    assert {name for name, _ in Backbone(model).named_parameters()} == kept


def test_auxiliary_heads_do_not_run_in_training() -> None:
    backbone = Backbone(seeded(lambda: torchvision.models.GoogLeNet(init_weights=False))).train()
    assert not [name for name, _ in backbone.named_parameters() if "aux" in name]
    assert backbone(torch.rand(2, 3, 64, 64)).shape == (2, 1024, 2, 2)


def test_finding_the_cut_leaves_the_model_as_it_was() -> None:
    model: Any = seeded(torchvision.models.mobilenet_v3_small).train()
    model.features[3].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    find_cut(model)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks


# -------------------------------------------------------------------------------------- normalisation in training


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )


def test_usual_batch_normalisation() -> None:
    backbone = Backbone(seeded(normed), input_shape=(1, 3, 8, 8))
    x = torch.rand(4, 3, 8, 8)
    trained = backbone.train()(x)
    torch.testing.assert_close(trained.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert not torch.allclose(backbone.eval()(x), trained)


def test_batch_statistics_in_either_mode() -> None:
    backbone = Backbone(seeded(normed), input_shape=(1, 3, 8, 8), norm="batch")
    x = torch.rand(4, 3, 8, 8)
    trained = backbone.train()(x)
    torch.testing.assert_close(trained.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert torch.equal(backbone.eval()(x), trained)
    assert not list(backbone.buffers())


def test_frozen_batch_normalisation() -> None:
    backbone = Backbone(seeded(normed), input_shape=(1, 3, 8, 8), norm="frozen")
    x = torch.rand(4, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    assert torch.equal(backbone.train()(x), backbone.eval()(x))
    backbone.train()(x).sum().backward()
    torch.testing.assert_close(dict(backbone.state_dict()), before, rtol=0, atol=0)
    assert [name for name, p in backbone.named_parameters() if not p.requires_grad] == ["body.1.weight", "body.1.bias"]


# --------------------------------------------------------------------------------------------------------- mistakes


def test_vision_transformers_are_refused() -> None:
    model = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=4)
    with pytest.raises(DataError, match=r"is the output of 'conv_proj'; from there on it works on sequences .* Swin"):
        Backbone(model)


def test_networks_of_one_image_size() -> None:
    config = {"C": 8, "genotype": ViT, "n_cells": 2, "preproc": False, "C_mult": 1}
    with pytest.raises(DataError, match=r"reads images of 32x32 pixels only .*fixed_size=\(32, 32\)"):
        Backbone(seeded(lambda: Network(**config)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="reads images of 32x32 pixels only"):
        Backbone(seeded(lambda: Network(**config)), fixed_size=(32, 64))  # type: ignore[arg-type]
    backbone = Backbone(seeded(lambda: Network(**config)), fixed_size=(32, 32))  # type: ignore[arg-type]
    assert backbone(torch.rand(1, 3, 32, 32)).shape == (1, backbone.out_channels, 11, 11)
    assert backbone.stride == 3


def test_networks_without_a_feature_map() -> None:
    for model in (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
    ):
        with pytest.raises(DataError, match="has no feature map"):
            Backbone(model, input_shape=(1, 3, 8, 8))


def test_networks_that_take_no_images() -> None:
    with pytest.raises(DataError, match=r"must take images of shape \(n, 3, H, W\)"):
        Backbone(nn.Linear(4, 2), input_shape=(1, 4))
    with pytest.raises(DataError, match=r"fails on its usual input \(1, 3, 8, 8\).*give its 'input_shape'"):
        Backbone(nn.Sequential(nn.Conv2d(4, 2, 1)), input_shape=(1, 3, 8, 8))


def test_weights_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = normed()
    with pytest.raises(DataError, match=r"'0.weight' of Sequential is on the meta device"):
        Backbone(model, input_shape=(1, 3, 8, 8))


def test_unknown_norm() -> None:
    with pytest.raises(DataError, match="unknown 'norm' 'none'"):
        Backbone(normed(), norm="none")  # type: ignore[arg-type]


class Fickle(nn.Module):
    """Calls a module for small images only."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.small(x) if x.size(2) < 50 else F.conv2d(x, self.small.weight, self.small.bias)
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def test_a_network_that_runs_other_modules_on_other_sizes() -> None:
    backbone = Backbone(Fickle(), input_shape=(1, 3, 8, 8))
    with pytest.raises(DataError, match="did not come to the output of 'small'"):
        backbone(torch.rand(1, 3, 64, 64))


def test_functions_after_the_last_module_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc((F.relu(self.conv(x)) * 2).mean((2, 3)))  # type: ignore[no-any-return]

    Backbone(Net(), input_shape=(1, 3, 8, 8))
    assert "applies relu, mul to its last feature map" in caplog.text
