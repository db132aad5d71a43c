import csv
import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from ppuda_like.deepnets import DeepNets, generate
from ppuda_like.errors import DataError, PredictionError
from ppuda_like.ghn import GHN, GHNConfig, GHNEvaluation, NetEvaluation, eval_ghn
from ppuda_like.vision import ImageData, digits


def some(count: int = 40) -> ImageData:
    data = digits("val")
    images, labels = data.pixels(torch.arange(count))
    return ImageData(images=images, labels=labels, class_names=data.class_names, mean=data.mean, std=data.std)


def comparable(found: GHNEvaluation) -> list[NetEvaluation]:
    return [replace(net, seconds=0.0) for net in found.nets]


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


def test_chosen_networks_in_the_order_asked_for(ghn: GHN) -> None:
    found = eval_ghn(ghn, "test", [3, 1], some(16), width=8, progress=False)
    assert [entry.net for entry in found.nets] == ["3", "1"]
    (alone,) = eval_ghn(ghn, "test", [1], some(16), width=8, progress=False).nets
    assert alone.loss == found.nets[1].loss
    assert found.mean_top5 == pytest.approx(sum(entry.top5 for entry in found.nets) / 2)


def test_stored_networks_are_those_of_their_split(ghn: GHN, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        path = generate("test", 3, tmp_path / "nets.h5", executor=executor).path
    dataset = DeepNets(path, "test")
    stored = eval_ghn(ghn, dataset[1:], None, some(16), width=8, progress=False)
    drawn = eval_ghn(ghn, "test", [1, 2], some(16), width=8, progress=False)
    assert [entry.loss for entry in stored.nets] == [entry.loss for entry in drawn.nets]
    assert stored.split == "test"


def test_all_networks_of_an_endless_split_are_refused(ghn: GHN) -> None:
    with pytest.raises(PredictionError, match="say how many networks of split 'predefined'"):
        eval_ghn(ghn, "predefined", None, some(16), progress=False)


@pytest.mark.parametrize("processes", [False, True])
def test_executors_change_nothing(ghn: GHN, processes: bool) -> None:
    alone = eval_ghn(ghn, "test", 5, some(16), width=8, progress=False)
    pool = ProcessPoolExecutor(1, get_context("spawn")) if processes else ThreadPoolExecutor(2)
    with pool as executor:
        shared = eval_ghn(ghn, "test", 5, some(16), width=8, executor=executor, progress=False)
    assert [entry.net for entry in shared.nets] == [entry.net for entry in alone.nets]
    for one, other in zip(comparable(alone), comparable(shared), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_evaluation_that_was_stopped_continues(ghn: GHN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = tmp_path / "x.csv", 0
    whole = eval_ghn(ghn, "test", 3, some(16), width=8, progress=False)
    fill = GHN.fill

    def limited(self: GHN, *args: object, **options: object) -> object:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return fill(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(GHN, "fill", limited)
    with pytest.raises(KeyboardInterrupt):
        eval_ghn(ghn, "test", 3, some(16), width=8, csv_path=path, progress=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv.part"]
    with (tmp_path / "x.csv.part").open("a") as file:
        file.write('{"key": "2", "val')  # cut off by the kill
    found = eval_ghn(ghn, "test", 3, some(16), width=8, csv_path=path, progress=False)
    assert done == 4
    assert comparable(found) == comparable(whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]


def test_results_of_another_evaluation_are_not_continued(ghn: GHN, tmp_path: Path) -> None:
    (tmp_path / "x.csv.part").write_text(json.dumps({"identity": "other"}) + "\n")
    with pytest.raises(DataError, match=r"x.csv.part' holds results of other work .*delete it"):
        eval_ghn(ghn, "test", 1, some(16), width=8, csv_path=tmp_path / "x.csv", progress=False)


def test_bad_requests(ghn: GHN, tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="at least one network to evaluate"):
        eval_ghn(ghn, "test", 0, some(), progress=False)
    with pytest.raises(PredictionError, match="torchvision has no classification model 'resnet19'; choose one of"):
        eval_ghn(ghn, ["resnet19"], 1, some(), progress=False)
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        eval_ghn(ghn, "tset", 1, some(), progress=False)
    with pytest.raises(PredictionError, match=r"there is no network 1 in \['resnet18'\]"):
        eval_ghn(ghn, ["resnet18"], [1], some(), progress=False)
    with pytest.raises(PredictionError, match="'width' is for generated networks"):
        eval_ghn(ghn, ["resnet18"], 1, some(), width=8, progress=False)


def test_failure_leaves_no_csv(tmp_path: Path) -> None:
    other = GHN(GHNConfig.ghn2(num_classes=7, kernel=5, hid=8))
    with pytest.raises((PredictionError, DataError)):
        eval_ghn(other, "test", 1, some(), width=8, csv_path=tmp_path / "x.csv", progress=False)
    assert not list(tmp_path.iterdir())
