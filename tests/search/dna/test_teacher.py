"""Teachers, their taps, and their features on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import efficientnet_b7, resnet18

from ppuda_like.errors import DataError
from ppuda_like.search.dna import (
    EFFICIENTNET_B7_TAPS,
    FeatureFiles,
    Teacher,
    cache_features,
    choose_taps,
    imagenet_space,
)
from tests.search.dna import tiny


def test_published_teacher() -> None:
    with torch.device("meta"):
        model = efficientnet_b7().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 66_347_960
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 163
    teacher = Teacher(model, EFFICIENTNET_B7_TAPS)
    assert teacher.shapes(224) == (
        (48, 56, 56),
        (80, 28, 28),
        (160, 14, 14),
        (224, 14, 14),
        (384, 7, 7),
        (640, 7, 7),
    )
    assert teacher.widths(imagenet_space()) == (48, 80, 160, 224, 384, 640)


def test_features_are_those_of_the_modules_alone() -> None:
    model = tiny.model()
    found = Teacher(model, ("1", "4")).features(images := torch.randn(3, 3, 16, 16))
    with torch.no_grad():
        wanted = [model[:2](images), model[:5](images)]
    for features, same in zip(found, wanted, strict=True):
        assert torch.equal(features, same)  # though the ReLU behind the first overwrites what it gets
        assert not features.requires_grad
    assert [tuple(f.shape[1:]) for f in found] == list(Teacher(model, ("1", "4")).shapes(16))


def test_a_pass_ends_behind_the_last_tap_and_leaves_no_hook() -> None:
    model = tiny.model()
    seen: list[int] = []
    for number, module in enumerate(model):
        module.register_forward_hook(lambda *_, number=number: seen.append(number))
    teacher = Teacher(model, ("1", "4"))
    teacher.features(torch.zeros(1, 3, 16, 16), last=0)
    assert max(seen) <= 1
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 10)


def test_a_teacher_in_training_mode_is_refused_at_any_time() -> None:
    with pytest.raises(DataError, match=r"in training mode .*call its eval"):
        Teacher(tiny.model().train(), ("1",))
    teacher = tiny.teacher()
    teacher.model[1].train()
    with pytest.raises(DataError, match="in training mode \\(1, and 0 more"):
        teacher.features(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (("1", "nowhere"), "unknown: \\['nowhere'\\]"),
        (("1", "1"), "must be different"),
        ((), "one or more"),
    ],
)
def test_taps_that_are_no_modules(taps: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Teacher(tiny.model(), taps)


def test_taps_that_do_not_fit() -> None:
    space = tiny.space()
    with pytest.raises(DataError, match="2 stages, each of which needs a tap"):
        Teacher(tiny.model(), ("1",)).widths(space)
    with pytest.raises(DataError, match=r"stage 1 of 'tiny' makes features of 4x4, but those behind '2' .* are 8x8"):
        Teacher(tiny.model(), ("1", "2")).widths(space)
    with pytest.raises(DataError, match="in the order they run in: '1' runs before '4'"):
        Teacher(tiny.model(), ("4", "1")).shapes(16)
    with pytest.raises(DataError, match=r"'5' .* must give a tensor of shape .*got shape"):
        Teacher(tiny.model(), ("5",)).shapes(16)
    shared = nn.Sequential(same := nn.Conv2d(3, 3, 1), same, nn.Conv2d(3, 4, 1)).eval()
    with pytest.raises(DataError, match="runs more than once"):
        Teacher(shared, ("0", "2")).shapes(16)


def test_taps_chosen_on_the_graph() -> None:
    with torch.device("meta"):
        b7, r18 = efficientnet_b7().eval(), resnet18().eval()
    space = imagenet_space()
    chosen = choose_taps(b7, space)
    assert chosen[:4] == EFFICIENTNET_B7_TAPS[:4]
    for model, taps in ((b7, chosen), (r18, choose_taps(r18, space))):
        assert len(Teacher(model, taps).widths(space)) == 6  # they fit
    assert choose_taps(tiny.model(), tiny.space()) == ("2", "4")  # behind "1", a ReLU works in place
    with pytest.raises(DataError, match=r"stages 0 of 'dna-imagenet' make features of 56x56, .* behind 0 modules"):
        choose_taps(nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU()).eval(), space)


def test_features_on_disk(tmp_path: Path) -> None:
    teacher, images = tiny.teacher(), tiny.images(20)
    files = cache_features(teacher, images, tmp_path, half=False, batch_size=7)
    index = torch.tensor([19, 3, 3])
    for found, wanted in zip(files.batch(index), teacher.features(images.batch(index)[0]), strict=True):
        torch.testing.assert_close(found, wanted)
    assert len(files.batch(index, last=0)) == 1
    half = cache_features(teacher, images, tmp_path / "half").batch(index, 0)[0]
    torch.testing.assert_close(half, files.batch(index, 0)[0], rtol=1e-3, atol=1e-3)
    again = cache_features(teacher, images, tmp_path, half=False)  # read, not made
    np.testing.assert_array_equal(again.batch(index)[1], files.batch(index)[1])


def test_features_of_something_else_or_incomplete(tmp_path: Path) -> None:
    teacher, images = tiny.teacher(), tiny.images(20)
    with pytest.raises(DataError, match="holds no features"):
        FeatureFiles(tmp_path)
    cache_features(teacher, images, tmp_path)
    with pytest.raises(DataError, match="features of another images"):
        cache_features(teacher, tiny.images(21), tmp_path)
    with torch.no_grad():
        teacher.model[0].bias.add_(1)
    with pytest.raises(DataError, match="features of another teacher"):
        cache_features(teacher, images, tmp_path)
    (tmp_path / "tap1.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"tap1.npy' is missing or damaged"):
        FeatureFiles(tmp_path)
