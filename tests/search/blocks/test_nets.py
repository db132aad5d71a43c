import pytest
import torch
from torch import nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import trace, units
from ppuda_like.search.blocks import LIGHT, auxiliary, sedona_net


def built(name: str, num_classes: int = 10, **options: int) -> nn.Sequential:
    with torch.device("meta"):
        return sedona_net(name, num_classes, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Encoders, head and whole supernet with the four candidates at every boundary, as published.
PARAMETERS = {
    ("vgg19", 10, 32, 1): (1_254_256, 1_191_946, 4_297_034),
    ("resnet50", 10, 32, 1): (1_479_056, 5_130, 9_125_090),
    ("resnet101", 10, 32, 1): (2_675_856, 5_130, 19_397_578),
    ("resnet152", 10, 32, 1): (3_662_224, 5_130, 28_121_650),
    ("vgg19", 200, 64, 4): (20_029_888, 25_993_416, 94_565_320),
    ("vgg19", 1000, 224, 4): (20_029_888, 123_642_856, 290_566_760),
    ("resnet50", 200, 64, 4): (23_508_032, 409_800, 161_132_456),
    ("resnet50", 1000, 224, 4): (23_508_032, 2_049_000, 261_123_656),
    ("resnet101", 200, 64, 4): (42_500_160, 409_800, 341_497_288),
    ("resnet101", 1000, 224, 4): (42_500_160, 2_049_000, 552_954_088),
    ("resnet152", 200, 64, 4): (58_143_808, 409_800, 497_727_976),
    ("resnet152", 1000, 224, 4): (58_143_808, 2_049_000, 820_650_376),
}


@pytest.mark.parametrize("case", PARAMETERS, ids=lambda case: "-".join(map(str, case)))
def test_units_and_parameters(case: tuple[str, int, int, int]) -> None:
    name, num_classes, size, feat_mult = case
    net = built(name, num_classes, image_size=size, feat_mult=feat_mult)
    encoders, head, supernet = PARAMETERS[case]
    graph = trace(net.eval(), (2, 3, size, size))
    found = units(graph)
    assert len(found) == len(net.units) == {"vgg19": 16, "resnet50": 16, "resnet101": 33, "resnet152": 50}[name]
    assert (count(net.units), count(net.head)) == (encoders, head)
    candidates: dict[tuple[int, ...], int] = {}
    with torch.device("meta"):
        for unit in found[:-1]:
            shape = unit.shape[1:]
            if shape not in candidates:
                nets = [auxiliary(light, shape, num_classes, features=512 * feat_mult) for light in LIGHT]
                candidates[shape] = sum(map(count, nets))
    assert encoders + head + sum(candidates[unit.shape[1:]] for unit in found[:-1]) == supernet


def test_shapes_of_units() -> None:
    found = [unit.shape[1:] for unit in units(trace(built("vgg19").eval(), (2, 3, 32, 32)))][:-1]
    assert found == [(16, 32, 32)] * 2 + [(32, 16, 16)] * 2 + [(64, 8, 8)] * 4 + [(128, 4, 4)] * 4 + [(128, 2, 2)] * 3
    found = [unit.shape[1:] for unit in units(trace(built("resnet50").eval(), (2, 3, 32, 32)))][:-1]
    assert found == [(64, 32, 32)] * 3 + [(128, 16, 16)] * 4 + [(256, 8, 8)] * 6 + [(512, 4, 4)] * 2


@pytest.mark.parametrize(("name", "number"), [("vgg11", 8), ("vgg13", 10), ("vgg16", 13), ("resnet18", 8)])
def test_smaller_ones(name: str, number: int) -> None:
    net = built(name)
    assert len(net.units) == number == len(units(trace(net.eval(), (2, 3, 32, 32))))


def test_parameters_of_units() -> None:
    assert [count(unit) for unit in built("vgg19").units] == [
        *(464, 2336, 4672, 9280, 18560, 36992, 36992, 36992, 73984),
        *[147712] * 7,
    ]
    stages = [(5392, 4544, 3), (24192, 17792, 4), (95488, 70400, 6), (379392, 280064, 3)]
    wanted = [n for first, other, length in stages for n in (first, *[other] * (length - 1))]
    assert [count(unit) for unit in built("resnet50").units] == wanted


def test_weights_are_a_function_of_the_seed() -> None:
    state = torch.random.get_rng_state()
    one, two, other = (sedona_net("vgg11", seed=seed).units[0][0].weight for seed in (1, 1, 2))
    assert one.equal(two)
    assert not one.equal(other)
    assert torch.random.get_rng_state().equal(state)


def test_bad_names_and_sizes() -> None:
    with pytest.raises(PpudaLikeError, match="did you mean 'vgg19'"):
        sedona_net("vgg91")
    with pytest.raises(PpudaLikeError, match="images of 32 pixels at least"):
        sedona_net("vgg11", image_size=16)
