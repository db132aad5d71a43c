import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from ppuda_like.errors import DataError
from ppuda_like.vision import DetectorConfig, detector


class Tiny(nn.Module):
    """Eight channels at a stride of 8, and a class layer on flattened features."""

    input_shape = (1, 3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (3, 8, 8):
            layers += [nn.Conv2d(width, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))  # type: ignore[no-any-return]


CONFIG = DetectorConfig(min_size=32, max_size=64, anchor_sizes=(8, 16), head_width=16, proposals=20)


def test_losses_and_boxes() -> None:
    model = detector(Tiny(), num_classes=4, config=CONFIG)
    images = [torch.rand(3, 40, 52), torch.rand(3, 32, 32)]
    targets = [{"boxes": torch.tensor([[2.0, 3, 20, 30]]), "labels": torch.tensor([3])}] * 2
    losses = model.train()(images, targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for image, found in zip(images, model.eval()(images), strict=True):
        x1, y1, x2, y2 = found["boxes"].unbind(1)
        assert bool(((x1 >= 0) & (y1 >= 0) & (x2 <= image.size(2)) & (y2 <= image.size(1))).all())
        assert set(found["labels"].tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("size", [(32, 64), (33, 40), (64, 36)])
def test_features_of_a_box_are_taken_where_it_is(size: tuple[int, int]) -> None:
    """Feature maps that hold their own positions give RoIAlign's bin centres back, at any image size."""
    model = detector(Tiny(), config=CONFIG)
    height, width = (-(-side // 32) * 32 // 8 for side in size)  # padded to 32 pixels, stride 8
    rows = torch.arange(height)[:, None].expand(height, width).float() * 8
    columns = torch.arange(width)[None].expand(height, width).float() * 8
    box = torch.tensor([[8.0, 8.0, 22.0, 22.0]])
    pooled = model.roi_heads.box_roi_pool({"0": torch.stack((rows, columns))[None]}, [box], [size])
    centres = 8 + 14 * (torch.arange(7) + 0.5) / 7
    torch.testing.assert_close(pooled[0, 0], centres[:, None].expand(7, 7))
    torch.testing.assert_close(pooled[0, 1], centres[None].expand(7, 7))


def test_anchors_are_a_stride_apart() -> None:
    model = detector(Tiny(), config=CONFIG)
    anchors_of = model.rpn.anchor_generator
    # Five cells on 36 pixels, as of a convolution without padding: dividing the sizes would give 7.
    (anchors,) = anchors_of(ImageList(torch.zeros(1, 3, 36, 36), [(36, 36)]), [torch.zeros(1, 8, 5, 5)])
    assert len(anchors) == 5 * 5 * 2 * 3
    centres = (anchors[:, :2] + anchors[:, 2:]).reshape(5, 5, 6, 2) / 2
    assert (centres[:, 1:] - centres[:, :-1]).unique(dim=0).flatten(0, 2).unique(dim=0).tolist() == [[8.0, 0.0]]
    assert (centres[1:] - centres[:-1]).flatten(0, 2).unique(dim=0).tolist() == [[0.0, 8.0]]


def test_anchor_shapes() -> None:
    config = DetectorConfig(anchor_sizes=(16, 64), aspect_ratios=(0.25, 1.0, 4.0), head_width=4)
    (cell,) = detector(Tiny(), config=config).rpn.anchor_generator.cell_anchors
    shapes = {tuple(shape) for shape in (cell[:, 2:] - cell[:, :2]).tolist()}
    assert shapes == {(32, 8), (16, 16), (8, 32), (128, 32), (64, 64), (32, 128)}


def test_images_of_one_size() -> None:
    model = detector(Tiny(), config=DetectorConfig(fixed_size=(40, 24), head_width=4)).eval()
    images, _ = model.transform([torch.rand(3, 50, 60), torch.rand(3, 9, 7)])
    assert images.tensors.shape == (2, 3, 40, 24)


def test_images_are_resized_and_normalised() -> None:
    config = DetectorConfig(min_size=32, max_size=64, mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.5), head_width=4)
    images, _ = detector(Tiny(), config=config).eval().transform([torch.ones(3, 16, 20)])
    assert images.image_sizes == [(32, 40)]
    torch.testing.assert_close(images.tensors[0, :, 5, 5], torch.tensor([5.0, 2.5, 1.0]))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    made = [
        detector(Tiny(), config=DetectorConfig(head_width=4), seed=seed).roi_heads.state_dict() for seed in (1, 1, 2)
    ]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=0)
    assert not torch.equal(made[0]["box_head.fc6.weight"], made[2]["box_head.fc6.weight"])
    torch.random.set_rng_state(before)
    body = Tiny()
    after = torch.random.get_rng_state()
    detector(body, config=CONFIG)
    assert torch.equal(torch.random.get_rng_state(), after)


def test_a_backbone_keeps_its_weights_and_dtype() -> None:
    body = Tiny().double()
    weight = body.features[0].weight
    model = detector(body, config=CONFIG)
    assert model.backbone.body.features[0].weight is weight
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_size": 0}, "'min_size' must be positive"),
        ({"min_size": 900, "max_size": 800}, "'max_size' must be at least 'min_size' = 900"),
        ({"fixed_size": (32,)}, "'fixed_size' must be a height and a width"),
        ({"anchor_sizes": ()}, "'anchor_sizes' must hold positive values"),
        ({"std": (1.0, 0.0, 1.0)}, "'std' must hold positive values"),
    ],
)
def test_configs_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorConfig(**options)  # type: ignore[arg-type]


def test_there_must_be_a_class() -> None:
    with pytest.raises(DataError, match="'num_classes' must be at least 2"):
        detector(Tiny(), num_classes=1)
