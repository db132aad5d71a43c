import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks import AUXILIARIES, LIGHT, auxiliary, similarity_matrix, smoothed_cross_entropy


def count(name: str, shape: tuple[int, ...], num_classes: int = 10, **options: object) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in auxiliary(name, shape, num_classes, **options).parameters())


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((16, 32, 32), (8_318, 8_662, 10_066, 10_678)),
        ((32, 16, 16), (10_610, 11_554, 14_682, 16_482)),
        ((64, 8, 8), (15_578, 18_490, 26_026, 31_930)),
        ((128, 4, 4), (27_050, 36_970, 57_162, 78_186)),
        ((128, 2, 2), (27_050, 36_970, 46_890, 56_810)),
        ((256, 8, 8), (56_138, 92_362, 153_226, 232_138)),
        ((512, 4, 4), (138_890, 276_874, 480_522, 785_802)),
    ],
)
def test_parameters_of_the_light_ones(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert tuple(count(name, shape) for name in LIGHT) == wanted


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [
        (64, (2_087_096, 2_090_008, 2_109_832, 2_115_736)),
        (128, (2_123_144, 2_133_064, 2_177_832, 2_198_856)),
        (256, (2_201_384, 2_237_608, 2_347_624, 2_426_536)),
        (512, (2_382_440, 2_520_424, 2_822_376, 3_127_656)),
        (1024, (2_842_856, 3_380_968, 4_312_552, 5_512_936)),
        (2048, (4_156_904, 6_281_704, 9_455_592, 14_215_656)),
    ],
)
def test_parameters_of_the_light_ones_for_imagenet(channels: int, wanted: tuple[int, ...]) -> None:
    assert tuple(count(name, (channels, 14, 14), 1000, features=2048) for name in LIGHT) == wanted


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([8, 16, 32, 64]), st.integers(2, 17), st.integers(2, 9), st.sampled_from([8, 512]))
def test_closed_form_of_the_light_ones(channels: int, size: int, classes: int, features: int) -> None:
    p = channels // 4
    q = p + p // 2 if -(-size // 2) >= 2 else p

    def last(width: int) -> int:
        return width * features + 2 * features + (features + 1) * classes

    first = p * (channels + 13)
    second = first + 8 * p**2 + 54 * p
    third = second + 4 * p**2 + 52 * p + 4 * p * q + 2 * q
    fourth = third + 8 * q**2 + 54 * q
    wanted = (first + last(p), second + last(p), third + last(q), fourth + last(q))
    assert tuple(count(name, (channels, size, size), classes, features=features) for name in LIGHT) == wanted


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "options", "wanted"),
    [
        ("mlp-sr", (64, 8, 8), 10, {"pool": "fit"}, 214_154),
        ("mlp-sr", (128, 16, 16), 10, {"pool": "fit"}, 846_090),
        ("mlp-sr", (256, 8, 8), 10, {"pool": "fit"}, 3_363_338),
        ("mlp-sr", (512, 4, 4), 10, {"pool": "fit"}, 1_585_674),
        ("mlp-sr", (256, 56, 56), 1000, {"pool": "fit"}, 4_378_088),
        ("mlp-sr", (512, 28, 28), 1000, {"pool": "fit"}, 15_439_848),
        ("mlp-sr", (1024, 14, 14), 1000, {"pool": "fit"}, 57_617_384),
        ("mlp-sr", (2048, 7, 7), 1000, {"pool": "fit"}, 222_188_520),
        # DGL's own hold 2 C parameters that nothing reads
        ("mlp-sr", (128, 16, 16), 10, {}, 846_346 - 2 * 128),
        ("mlp-sr", (256, 16, 16), 10, {}, 3_363_850 - 2 * 256),
        ("mlp-sr", (512, 8, 8), 10, {}, 13_412_362 - 2 * 512),
        ("mlp-sr", (64, 224, 224), 1000, {}, 468_712 - 2 * 64),
        ("mlp-sr", (128, 112, 112), 1000, {}, 1_354_216 - 2 * 128),
        ("mlp-sr", (256, 56, 56), 1000, {}, 4_378_600 - 2 * 256),
        ("mlp-sr", (512, 28, 28), 1000, {}, 15_440_872 - 2 * 512),
        ("mlp-sr", (1024, 14, 14), 1000, {}, 57_619_432 - 2 * 1024),
        ("mlp", (128, 32, 32), 10, {}, 796_426 - 2 * 128),
        ("mlp", (256, 16, 16), 10, {}, 3_165_706 - 2 * 256),
        ("mlp", (512, 8, 8), 10, {}, 12_622_858 - 2 * 512),
        ("cnn", (128, 32, 32), 10, {}, 300_810),
        ("cnn", (256, 16, 16), 10, {}, 1_191_434),
        ("cnn", (512, 8, 8), 10, {}, 4_742_154),
        ("predsim", (64, 8, 8), 10, {}, 5_130 + 36_864),
        ("predsim", (256, 8, 8), 10, {}, 5_130 + 589_824),
        ("predsim", (512, 4, 4), 10, {}, 5_130 + 2_359_296),
        ("linear", (64, 8, 8), 10, {}, 650),
    ],
)
def test_parameters_of_the_others(
    name: str, shape: tuple[int, ...], num_classes: int, options: dict[str, object], wanted: int
) -> None:
    assert count(name, shape, num_classes, **options) == wanted


SHAPES = {3: (8, 5, 3), 2: (7, 8), 1: (8,)}


@pytest.mark.parametrize("name", AUXILIARIES)
@pytest.mark.parametrize("dims", SHAPES)
def test_all_learn_from_any_shape_they_read(name: str, dims: int) -> None:
    shape = SHAPES[dims]
    if dims not in AUXILIARIES[name]:
        with pytest.raises(PpudaLikeError, match=rf"'{name}' reads .*; choose one of .*linear"):
            auxiliary(name, shape, 4)
        return
    net = auxiliary(name, shape, 4)
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    loss, logits = net.loss(x, torch.arange(6) % 4)
    loss.backward()
    assert logits.shape == (6, 4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_names_options_and_seeds() -> None:
    with pytest.raises(PpudaLikeError, match="did you mean 'light-2'"):
        auxiliary("light2", (8, 4, 4), 10)
    with pytest.raises(PpudaLikeError, match="cannot build 'linear' with options"):
        auxiliary("linear", (8, 4, 4), 10, depth=2)
    with pytest.raises(PpudaLikeError, match="positive depth and widths"):
        auxiliary("light-1", (3, 4, 4), 10)
    with pytest.raises(PpudaLikeError, match="2 classes"):
        auxiliary("linear", (3, 4, 4), 1)
    before = torch.random.get_rng_state()
    weights = [auxiliary("linear", (8, 4, 4), 10, seed=seed).get_parameter("classifier.weight") for seed in (0, 0, 1)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])
    assert torch.random.get_rng_state().equal(before)


@given(st.integers(2, 9), st.floats(0, 0.9))
def test_label_smoothing_against_torch(classes: int, eps: float) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(5, classes, generator=generator, dtype=torch.double)
    labels = torch.randint(classes, (5,), generator=generator)
    eps = min(eps, (classes - 1) / classes)
    wanted = F.cross_entropy(logits, labels, label_smoothing=min(1.0, eps * classes / (classes - 1)))
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, eps), wanted)


@given(st.integers(2, 6), st.sampled_from([(5, 3, 3), (2, 3, 3), (7,), (5, 1, 4)]))
def test_similarities(n: int, shape: tuple[int, ...]) -> None:
    found = similarity_matrix(torch.randn(n, *shape, generator=torch.Generator().manual_seed(n), dtype=torch.double))
    torch.testing.assert_close(found.diagonal(), torch.ones(n, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(found, found.t())
    assert float(found.abs().max()) <= 1


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_similarities_of_labels(classes: int) -> None:
    labels = torch.tensor([0, 1, 0])
    found = similarity_matrix(F.one_hot(labels, classes).double())
    torch.testing.assert_close(found[0, 2], torch.tensor(1.0, dtype=torch.double))
    torch.testing.assert_close(found[0, 1], torch.tensor(-1 / (classes - 1), dtype=torch.double))


def test_predsim_loss() -> None:
    net = auxiliary("predsim", (8, 4, 4), 3).double()
    x = torch.randn(6, 8, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    labels = torch.arange(6) % 3
    loss, logits = net.loss(x, labels, label_smoothing=0.1)
    similarity = net.get_submodule("similarity")
    assert isinstance(similarity, nn.Conv2d)
    wanted = F.mse_loss(similarity_matrix(similarity(x)), similarity_matrix(F.one_hot(labels, 3).double()))
    torch.testing.assert_close(loss, 0.01 * F.cross_entropy(logits, labels) + 0.99 * wanted)
