from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.errors import CodeError
from ppuda_like.graph import trace
from ppuda_like.search.ncp import MultiResolutionCode, MultiResolutionNet
from ppuda_like.search.ncp._network_blocks import Fusion, resized

SMALL = MultiResolutionCode((8, 16, 2, 1, 8, 1, 1, 2, 8, 16, 2, 1, 1, 1, 16, 8, 8, 1, 1, 1, 2, 1, 8, 16, 8, 8, 24))


def net(head: Any = "classification", **kwargs: Any) -> MultiResolutionNet:
    torch.manual_seed(0)
    return SMALL.network(head=head, **kwargs).eval()


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("head", "given", "made"),
    [
        ("classification", (2, 3, 64, 64), (2, 50)),
        ("classification", (2, 3, 70, 45), (2, 50)),
        ("segmentation", (2, 3, 64, 96), (2, 19, 16, 24)),
        ("segmentation", (1, 3, 70, 90), (1, 19, 18, 23)),
        ("video", (2, 3, 3, 64, 64), (2, 51)),
        ("bev", (1, 64, 48, 32), (1, 24, 24, 16)),
    ],
)
def test_the_head_says_what_comes_out(head: Any, given: tuple[int, ...], made: tuple[int, ...]) -> None:
    assert tuple(net(head)(torch.randn(given)).shape) == made


def test_features_are_a_pyramid() -> None:
    model = net("features")
    maps = model(torch.randn(1, 3, 64, 96))
    assert model.out_channels == (8, 16, 8, 8)
    assert [tuple(x.shape) for x in maps] == [(1, 8, 16, 24), (1, 16, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]


@pytest.mark.parametrize("head", ["classification", "segmentation", "video", "bev", "features"])
def test_every_parameter_is_used(head: Any) -> None:
    model = net(head).train()
    shape = (2, *model.input_shape[1:-2], 64, 64)
    out = model(torch.randn(shape))
    sum(x.square().sum() for x in (out if isinstance(out, list) else [out])).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_network_tells_its_example_input() -> None:
    assert trace(net("bev", in_channels=5)).out_shapes[0] == (1, 5, 128, 128)
    assert trace(net("video")).out_shapes[-1] == (1, 51)


def test_a_clip_of_one_image_is_classified_as_the_image() -> None:
    video, image = net("video", num_classes=7), net("classification", num_classes=7)
    image.load_state_dict(video.state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(video(x[:, None].repeat(1, 4, 1, 1, 1)), image(x))
    frames = torch.randn(1, 3, 3, 64, 64)
    torch.testing.assert_close(video(frames), image(frames[0]).mean(dim=0, keepdim=True))  # the classifier is linear


def test_a_single_image_is_no_clip() -> None:
    with pytest.raises(CodeError, match="clips"):
        net("video")(torch.zeros(1, 3, 64, 64))


def test_classification_pools_what_the_branches_make() -> None:
    model, x = net(), torch.randn(1, 3, 64, 64)
    maps = [F.interpolate(m, size=(2, 2), mode="bilinear", align_corners=False) for m in model.branches(x)]
    assert model.project is not None
    features = model.project(torch.cat(maps, 1)).mean(dim=(2, 3))
    torch.testing.assert_close(model(x), model.classifier(features))


def test_strides_of_the_stem_can_be_chosen() -> None:
    assert net("segmentation", stem_strides=(1, 1))(torch.randn(1, 3, 32, 32)).shape[-2:] == (32, 32)


def test_convolutions_are_initialised_by_their_fan_out() -> None:
    model = MultiResolutionCode((128,) * 2 + SMALL.numbers[2:]).network()
    weight = model.stem[1][0].weight  # type: ignore[index]
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all() and (module.bias == 0).all())
            assert (module.momentum, module.eps) == (0.1, 1e-5)
        if isinstance(module, nn.Conv2d):
            assert module.bias is None


def test_wrong_heads_are_refused() -> None:
    with pytest.raises(CodeError, match=r"'head' of a network must be one of classification.*got 'detection'"):
        SMALL.network(head="detection")  # type: ignore[arg-type]
    with pytest.raises(CodeError, match="no classes"):
        SMALL.network(head="bev", num_classes=3)


def cbr(path: nn.Module, x: Tensor, stride: int) -> Tensor:
    conv = next(module for module in path.modules() if isinstance(module, nn.Conv2d))
    norm = next(module for module in path.modules() if isinstance(module, nn.BatchNorm2d))
    x = F.conv2d(x, conv.weight, stride=stride, padding=conv.weight.shape[-1] // 2)
    mean, var = (value[:, None, None] for value in (norm.running_mean, norm.running_var))  # type: ignore[union-attr, index]
    x = (x - mean) / (var + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    return x.clamp(min=0)


def paths(fusion: Fusion, branch: int) -> Any:
    return fusion.paths[branch]


def shaken(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean.normal_()
            nn.init.normal_(layer.bias)
    return module.eval()


def test_a_fusion_adds_neighbours_and_a_branch_from_what_it_made() -> None:
    fusion = Fusion((4, 6), (5, 3, 2))
    shaken(fusion)
    x = [torch.randn(2, 4, 16, 8), torch.randn(2, 6, 8, 4)]
    below = cbr(paths(fusion, 0)[1], x[1], 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    first = (cbr(paths(fusion, 0)[0], x[0], 1) + below).clamp(min=0)
    second = (cbr(paths(fusion, 1)[0], x[0], 2) + cbr(paths(fusion, 1)[1], x[1], 1)).clamp(min=0)
    third = cbr(fusion.added[0], second, 2)
    found = fusion(x)
    assert len(found) == 3
    for got, wanted in zip(found, (first, second, third), strict=True):
        torch.testing.assert_close(got, wanted)


def test_only_neighbours_are_fused() -> None:
    fusion = Fusion((2, 2, 2, 2), (2, 2, 2, 2)).eval()
    shapes = [(1, 2, 32 >> i, 32 >> i) for i in range(4)]
    x = [torch.randn(shape) for shape in shapes]
    before = fusion(x)
    x[0] = torch.randn(shapes[0])
    after = fusion(x)
    assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_a_map_of_the_right_size_is_not_resized() -> None:
    x = torch.randn(1, 2, 4, 4)
    assert resized(x, (4, 4)) is x
    assert resized(x, (2, 2)).shape == (1, 2, 2, 2)
