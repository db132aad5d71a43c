import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from ppuda_like.vision import color_jitter

NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 6, 5), dtype=torch.uint8, generator=generator(9))


def test_no_change_of_nothing() -> None:
    assert torch.equal(color_jitter(images(), generator(), **NONE), images())


@pytest.mark.parametrize("kind", NONE)
def test_each_kind_changes_images_one_by_one(kind: str) -> None:
    same = images(1).expand(6, -1, -1, -1)
    found = color_jitter(same, generator(), **{**NONE, kind: 0.3})
    assert found.dtype == torch.uint8
    assert len(found.flatten(1).unique(dim=0)) == 6


def test_brightness_is_a_factor_within_bounds() -> None:
    grey = torch.full((400, 3, 2, 2), 0.5)
    factors = color_jitter(grey, generator(), **{**NONE, "brightness": 0.4})[:, 0, 0, 0] / 0.5
    assert float(factors.min()) >= 0.6
    assert float(factors.max()) <= 1.4
    assert float(factors.std()) == pytest.approx(0.8 / 12**0.5, rel=0.1)  # of a uniform distribution


def test_grey_images_have_no_colour_to_change() -> None:
    grey = torch.rand(5, 1, 4, 4, generator=generator()).expand(-1, 3, -1, -1)
    found = color_jitter(grey, generator(), **{**NONE, "saturation": 0.4, "hue": 0.5})
    torch.testing.assert_close(found, grey, atol=1e-3, rtol=0)


def test_hue_turns_the_circle_of_colours_only() -> None:
    found = color_jitter(images() / 255, generator(), **{**NONE, "hue": 0.5})
    for extreme in (torch.amax, torch.amin):  # value and saturation stay
        torch.testing.assert_close(extreme(found, dim=1), extreme(images() / 255, dim=1), atol=1e-4, rtol=0)


def test_orders_vary() -> None:
    one = images(1)
    found = color_jitter(one.expand(40, -1, -1, -1), generator(), **{**NONE, "brightness": 0.4, "contrast": 0.4})
    draws, orders = generator(), set()
    for image in found:
        brightness, contrast = (1 + (2 * torch.rand(4, generator=draws) - 1) * 0.4)[:2].tolist()
        torch.randperm(4, generator=draws)
        first = v2.adjust_contrast(v2.adjust_brightness(one[0], brightness), contrast)
        other = v2.adjust_brightness(v2.adjust_contrast(one[0], contrast), brightness)
        assert torch.equal(image, first) or torch.equal(image, other)
        if not torch.equal(first, other):
            orders.add(torch.equal(image, first))
    assert orders == {True, False}
