import pytest
import torch
import torchvision
from torch import nn

from ppuda_like.vision import adapt_small_input


def on_meta(name: str) -> nn.Module:
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        model: nn.Module = torchvision.models.get_model(name, num_classes=10, **options).eval()
    return model


def last_map(model: nn.Module) -> tuple[int, int]:
    """Height and width of the last 4-D activation with an area, for an image of 32 pixels."""
    sizes: list[tuple[int, int]] = []

    def note(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        sizes.append((output.size(2), output.size(3)))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    assert model(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
    return sizes[-1]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("resnet18", 1, 4),
        ("wide_resnet50_2", 1, 4),
        ("densenet121", 1, 4),
        ("shufflenet_v2_x0_5", 1, 4),
        ("convnext_tiny", 1, 3),
        ("mobilenet_v2", 1, 8),
        ("mnasnet0_5", 1, 2),
        ("efficientnet_b0", 1, 1),
    ],
)
def test_maps_grow(name: str, before: int, after: int) -> None:
    assert last_map(on_meta(name)) == (before, before)
    assert last_map(adapt_small_input(on_meta(name))) == (after, after)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "alexnet", "googlenet", "mobilenet_v3_small", "efficientnet_b0"])
def test_adapted_models_run(name: str) -> None:
    model = on_meta(name)
    assert adapt_small_input(model) is model
    last_map(model)


def test_resnet_keeps_the_centre_of_its_kernel() -> None:
    model = torchvision.models.resnet18()
    kernel = model.conv1.weight.detach().clone()
    adapt_small_input(model)
    assert torch.equal(model.conv1.weight, kernel[:, :, 2:5, 2:5])
    assert model.conv1.weight.requires_grad
    assert (model.conv1.kernel_size, model.conv1.stride, model.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(model.maxpool, nn.Identity)


def test_vgg_loses_the_early_pools_only() -> None:
    model = adapt_small_input(on_meta("vgg11"))
    assert isinstance(model.features, nn.Sequential)
    kinds = [type(layer) for layer in model.features]
    assert nn.MaxPool2d not in kinds[:10]
    assert kinds[10:].count(nn.MaxPool2d) == 3


def test_adapting_twice_changes_nothing_more() -> None:
    for name in ("resnet18", "densenet121"):
        once = adapt_small_input(torchvision.models.get_model(name))
        state = {key: value.clone() for key, value in once.state_dict().items()}
        twice = adapt_small_input(once)
        assert str(twice) == str(once)
        torch.testing.assert_close(dict(twice.state_dict()), state, rtol=0, atol=0)


def test_other_models_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 7, stride=4), nn.MaxPool2d(2))
    before = str(model)
    assert adapt_small_input(model) is model
    assert str(model) == before
