import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2

from ppuda_like.vision import random_resized_crop
from ppuda_like.vision._resized_crop import _window

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_windows_lie_in_the_image(height: int, width: int, seed: int) -> None:
    y, x, h, w = _window(height, width, generator(seed), AREA, RATIO)
    assert 0 <= y <= y + h <= height
    assert 0 <= x <= x + w <= width
    assert min(h, w) >= 1


def test_windows_are_distributed_as_those_of_torchvision() -> None:
    draws = generator(1)
    own = torch.tensor([_window(60, 100, draws, AREA, RATIO) for _ in range(1500)])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        crop = v2.RandomResizedCrop(8)
        theirs = [crop.make_params([torch.empty(3, 60, 100)]) for _ in range(1500)]
    for column, name in enumerate(("top", "left", "height", "width")):
        other = [params[name] for params in theirs]
        assert ks_2samp(own[:, column].numpy(), other).pvalue > 1e-3, name


def test_extreme_shapes_get_their_largest_central_window() -> None:
    assert _window(10, 1000, generator(), (0.9, 1.0), RATIO) == (0, 493, 10, 13)
    assert _window(1000, 10, generator(), (0.9, 1.0), RATIO) == (493, 0, 13, 10)


def ramp(height: int, width: int) -> Tensor:
    """Red grows by rows, green by columns, both from 0 to 1."""
    rows = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width)[None].expand(height, width)
    return torch.stack((rows, columns, torch.zeros(height, width)))


def test_a_crop_shows_the_window_drawn() -> None:
    image = ramp(80, 120)
    for seed in range(20):
        y, x, h, w = _window(80, 120, generator(seed), AREA, RATIO)
        (found,) = random_resized_crop([image], 16, generator(seed))
        assert math.isclose(float(found[0].mean()), (y + h / 2) / 80, abs_tol=0.01)
        assert math.isclose(float(found[1].mean()), (x + w / 2) / 120, abs_tol=0.01)
        assert math.isclose(float(found[0, -1, 0] - found[0, 0, 0]), h / 80 * 15 / 16, abs_tol=0.03)


def test_an_image_is_cropped_alike_whatever_the_one_before_it() -> None:
    def second(first: Tensor) -> Tensor:
        return random_resized_crop([first, ramp(50, 40)], 8, generator(3))[1]

    assert torch.equal(second(ramp(50, 50)), second(ramp(3, 200)))
