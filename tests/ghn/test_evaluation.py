import csv
from pathlib import Path

import pytest
import torch

from ppuda_like.errors import DataError, PredictionError
from ppuda_like.ghn import GHN, GHNConfig, GHNEvaluation, NetEvaluation, eval_ghn
from ppuda_like.vision import ImageData, digits


def some(count: int = 40) -> ImageData:
    data = digits("val")
    images, labels = data.batch(torch.arange(count))
    return ImageData(images=images, labels=labels, class_names=data.class_names)


def net(top1: float) -> NetEvaluation:
    return NetEvaluation(net="0", width=8, num_params=1, top1=top1, top5=1.0, loss=1.0, seconds=0.0)


def test_mean_standard_error_and_best() -> None:
    found = GHNEvaluation(split="test", nets=(net(0.1), net(0.5), net(0.3)))
    assert found.mean == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(0.2 / 3**0.5)
    assert found.best.top1 == 0.5
    assert GHNEvaluation(split="test", nets=(net(0.1),)).standard_error == 0.0


def test_generated_networks_with_csv(ghn: GHN, tmp_path: Path) -> None:
    path = tmp_path / "new" / "test.csv"
    found = eval_ghn(ghn, "test", 2, some(), width=8, csv_path=path, progress=False)
    assert [entry.net for entry in found.nets] == ["0", "1"]
    assert all(entry.width == 8 and 0 <= entry.top1 <= entry.top5 <= 1 for entry in found.nets)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["top1"]) for row in rows] == [entry.top1 for entry in found.nets]
    assert [int(row["num_params"]) for row in rows] == [entry.num_params for entry in found.nets]
    assert [entry.name for entry in path.parent.iterdir()] == ["test.csv"]
    again = eval_ghn(ghn, "test", 2, some(), width=8, progress=False)
    assert [entry.loss for entry in again.nets] == [entry.loss for entry in found.nets]


def test_torchvision_models_are_adapted_to_small_images(ghn: GHN) -> None:
    before = torch.get_rng_state()
    found = eval_ghn(ghn, ["shufflenet_v2_x0_5"], 5, some(16), progress=False)
    assert [(entry.net, entry.width) for entry in found.nets] == [("shufflenet_v2_x0_5", 0)]
    assert found.split == "torchvision"
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_requests(ghn: GHN, tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="at least one network to evaluate"):
        eval_ghn(ghn, "test", 0, some(), progress=False)
    with pytest.raises(PredictionError, match="torchvision has no classification model 'resnet19'; choose one of"):
        eval_ghn(ghn, ["resnet19"], 1, some(), progress=False)
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        eval_ghn(ghn, "tset", 1, some(), progress=False)


def test_failure_leaves_no_csv(tmp_path: Path) -> None:
    other = GHN(GHNConfig.ghn2(num_classes=7, kernel=5, hid=8))
    with pytest.raises((PredictionError, DataError)):
        eval_ghn(other, "test", 1, some(), width=8, csv_path=tmp_path / "x.csv", progress=False)
    assert not list(tmp_path.iterdir())
