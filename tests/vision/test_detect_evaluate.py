import builtins
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision import evaluate_detector

Boxes = list[tuple[int, int, int, int]]


class Listed:
    """Images whose first pixel is their position."""

    def __init__(self, boxes: list[Boxes], labels: list[list[int]] | None = None) -> None:
        self.boxes = boxes
        self.labels = labels or [[1] * len(found) for found in boxes]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
        image = torch.zeros(3, 100, 100)
        image[0, 0, 0] = position
        boxes = torch.tensor(self.boxes[position], dtype=torch.float32).reshape(-1, 4)
        return image, {"boxes": boxes, "labels": torch.tensor(self.labels[position], dtype=torch.long)}


class Answers(nn.Module):
    """Says what it was told to about each image."""

    def __init__(self, answers: list[list[tuple[Any, float]]], num_classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answers = answers
        self.roi_heads = SimpleNamespace(
            box_predictor=SimpleNamespace(cls_score=SimpleNamespace(out_features=num_classes))
        )
        self.batches: list[int] = []

    def forward(self, images: list[Tensor]) -> list[Mapping[str, Tensor]]:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        told = [self.answers[int(image[0, 0, 0])] for image in images]
        return [
            {
                "boxes": torch.tensor([box for box, _ in one], dtype=torch.float32).reshape(-1, 4),
                "labels": torch.ones(len(one), dtype=torch.long),
                "scores": torch.tensor([score for _, score in one], dtype=torch.float32),
            }
            for one in told
        ]


A, B = (0, 0, 20, 50), (60, 10, 90, 90)


def test_perfect_answers() -> None:
    data = Listed([[A], [A, B], [B]])
    model = Answers([[(A, 0.9)], [(B, 0.8), (A, 0.7)], [(B, 0.6)]])
    found = evaluate_detector(model, data)
    assert (found.ap, found.ap50, found.ap75) == (1.0, 1.0, 1.0)
    assert (found.num_images, found.num_objects, found.num_detections) == (3, 4, 4)
    assert model.batches == [2, 1]


def test_no_answers() -> None:
    found = evaluate_detector(Answers([[], []]), Listed([[A], [B]]))
    assert (found.ap, found.ap50, found.num_detections) == (0.0, 0.0, 0)


def test_overlap_decides() -> None:
    """A box of 0.7 overlap counts at 0.50, 0.55, ..., 0.65 (and 0.70) of ten thresholds."""
    shorter = (0, 0, 20, 36)  # 36 of 50 rows: an overlap of 0.72
    found = evaluate_detector(Answers([[(shorter, 0.9)]]), Listed([[A]]))
    assert (found.ap50, found.ap75) == (1.0, 0.0)
    assert found.ap == pytest.approx(0.5)


def test_precision_falls_with_false_boxes_of_high_score() -> None:
    wrong = (40, 0, 50, 10)
    late = evaluate_detector(Answers([[(A, 0.9), (wrong, 0.1)]]), Listed([[A]]))
    early = evaluate_detector(Answers([[(wrong, 0.9), (A, 0.1)]]), Listed([[A]]))
    assert late.ap50 == 1.0
    assert early.ap50 == pytest.approx(0.5)


def test_half_of_the_objects() -> None:
    """COCO's precision is read at 101 recalls, 0 to 1: 51 of them are up to one half."""
    found = evaluate_detector(Answers([[(A, 0.9)], []]), Listed([[A], [B]]))
    assert found.ap50 == pytest.approx(51 / 101)


def test_images_without_objects_count() -> None:
    found = evaluate_detector(Answers([[(A, 0.5)], [(A, 0.9)]]), Listed([[A], []]))
    assert found.ap50 == pytest.approx(0.5)


def test_nothing_to_find() -> None:
    with pytest.raises(DataError, match="the 2 images to evaluate on hold no boxes"):
        evaluate_detector(Answers([[], []]), Listed([[], []]))


def test_modes_are_restored() -> None:
    model = Answers([[]]).train()
    model.inner = nn.Dropout().eval()
    evaluate_detector(model, Listed([[A]]))
    assert model.training
    assert not model.inner.training


@pytest.mark.parametrize(
    ("box", "label", "message"),
    [
        ((5, 5, 5, 9), 1, r"image 1: a box must have 0 <= x1 < x2 <= 100.*got \[5.0, 5.0, 5.0, 9.0\]"),
        ((0, 0, 101, 9), 1, "image 1: a box must have"),
        (A, 2, r"image 1: labels must be in 1\.\.1, 0 being the background \(got \[2\]\)"),
        (A, 0, r"image 1: labels must be in 1\.\.1"),
    ],
)
def test_bad_targets_are_named(box: tuple[int, int, int, int], label: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate_detector(Answers([[], []]), Listed([[A], [box]], [[1], [label]]))


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_data_come_as_they_are(workers: int) -> None:
    class Broken(Listed):
        def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
            raise DataError("unreadable image 'x.png'; replace the file")

    with pytest.raises(DataError, match=r"^unreadable image 'x.png'; replace the file$"):
        evaluate_detector(Answers([[]]), Broken([[A]]), workers=workers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(1, 4)}, "it lacks labels"),
        ({"boxes": torch.zeros(2, 4), "labels": torch.ones(1)}, r"'boxes' must have shape \(n, 4\)"),
    ],
)
def test_targets_of_another_form(change: dict[str, Tensor], message: str) -> None:
    class Other(Listed):
        def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
            return torch.zeros(3, 10, 10), change

    with pytest.raises(DataError, match=message):
        evaluate_detector(Answers([[]]), Other([[A]]))


def test_images_of_bytes() -> None:
    class Bytes(Listed):
        def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
            return torch.zeros(3, 10, 10, dtype=torch.uint8), {}

    with pytest.raises(DataError, match=r"floats in 0..1 of shape \(3, H, W\) \(got torch.uint8"):
        evaluate_detector(Answers([[]]), Bytes([[A]]))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("torchmetrics"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return found(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PpudaLikeError, match=r"pip install 'ppuda-like\[detection\]'"):
        evaluate_detector(Answers([[]]), Listed([[A]]))
