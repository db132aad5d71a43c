import math

import pytest
import torch

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData, digits, evaluate, gaussian_noise, noisy, subset


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_is_gaussian_where_nothing_is_clipped() -> None:
    grey = torch.full((50_000,), 0.5)
    noise = gaussian_noise(grey, generator(), 0.1) - grey
    assert float(noise.mean()) == pytest.approx(0, abs=0.002)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert float((noise.abs() < 0.1).float().mean()) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.01)


def test_black_and_white_are_clipped_in_half_of_all_pixels() -> None:
    for value, kept in ((0, 0.0), (255, 1.0)):
        found = gaussian_noise(torch.full((20_000,), value, dtype=torch.uint8), generator(), 0.2)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        assert float((found == kept).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_bytes_and_floats_get_the_same_noise() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8, generator=generator())
    assert torch.equal(gaussian_noise(images, generator(1), 0.1), gaussian_noise(images / 255, generator(1), 0.1))
    assert torch.equal(gaussian_noise(images, generator(1), 0), images / 255)


def test_an_image_keeps_its_noise_and_shares_it_with_none() -> None:
    data = ImageData(
        images=torch.full((6, 3, 4, 4), 0.5), labels=torch.zeros(6, dtype=torch.long), class_names=("grey",)
    )
    found = noisy(data, 0.1, seed=3)
    images = found.pixels(torch.arange(6))[0]
    assert len(images.flatten(1).unique(dim=0)) == 6
    assert torch.equal(found.pixels(torch.tensor([4, 1, 4, -2]))[0], images[[4, 1, 4, 4]])
    assert not torch.equal(noisy(data, 0.1, seed=4).pixels(torch.arange(6))[0], images)


def test_noise_lowers_the_accuracy_of_a_network_that_looks_at_pixels() -> None:
    train, test = digits("train", 8), digits("test", 8)
    centres = torch.stack([train.images[train.labels == label].mean(dim=0).flatten() for label in range(10)])

    class Nearest(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.flatten(1) * test.std[0] + test.mean[0]
            return -torch.cdist(pixels, centres)

    clean = evaluate(Nearest(), test).top1
    accuracies = [evaluate(Nearest(), noisy(test, std)).top1 for std in (0.0, 1.0, 10.0)]
    assert clean == accuracies[0] > 0.8
    assert accuracies[0] > accuracies[1] > accuracies[2]
    assert evaluate(Nearest(), noisy(subset(test, range(100)), 1.0)).num_images == 100


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_impossible_noise(std: float) -> None:
    with pytest.raises(DataError, match="'std' must be 0 or more"):
        noisy(digits("test", 8), std)
