from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.predictors import Comparison, LabelledGraphs, PropertyTable, digits_table
from tests.experiment_modules import experiment
from tests.predictors.small_nets import small_nets


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return experiment("property_prediction")


def written(path: Path, split: str, index: list[int], accuracy: list[float]) -> Path:
    """A file of made-up accuracies of generated networks."""
    networks = {"seed": 1, "width": 8, "num_classes": 10, "is_imagenet_input": False}
    PropertyTable(split=split, index=index, columns={"val_acc": accuracy}, meta={"networks": networks}).save(path)
    return path


def test_tables_curves_and_pictures_are_made_and_not_made_again(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = run.recipes.stand_in
    monkeypatch.setattr(run.recipes, "stand_in", lambda num: stand_in(28))
    names = ("SVR on GHN embeddings", "ridge on GRAF", "gradient boosting on GRAF", "graph network + GRAF")
    every = run.recipes.predictors
    monkeypatch.setattr(run.recipes, "predictors", lambda *args: {k: v for k, v in every(*args).items() if k in names})
    monkeypatch.setattr(run.recipes, "CURVES", ("ridge on GRAF",))
    run.main(out=tmp_path, smoke=True)
    found = Comparison.load(tmp_path / "val_acc.json")
    assert found.predictors == (*names, "parameters", "FLOPs", "GRAF + random forest", "ghn_test_acc")
    assert (tmp_path / "val_acc.md").read_text() == found.table() + "\n"
    assert Comparison.load(tmp_path / "val_acc_curves.json").train_sizes == (12, 14)
    for name in ("val_acc.png", "val_acc_curves.png", "val_acc_importance.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(run, "evaluate_predictors", None)
    run.main(out=tmp_path, smoke=True, stages=("tables", "curves"))


def test_predictors_of_training_free_scores_are_there_with_the_file(run: ModuleType, tmp_path: Path) -> None:
    plain = run.recipes.predictors(tmp_path)
    more = run.recipes.predictors(tmp_path, tmp_path / "scores.h5")
    assert set(run.recipes.CURVES) <= set(plain) < set(more)


def test_networks_without_a_value_are_left_out_and_times_learnt_as_logarithms(run: ModuleType) -> None:
    nets = small_nets(3)
    data = LabelledGraphs(graphs=nets.graphs, labels={"time": [0.1, np.nan, 1e-3], "val_acc": [0.1, 0.2, 0.3]})
    found = run.recipes.learnt(data, "time")
    np.testing.assert_allclose(found.values("time"), [-1, -3])
    assert found.values("val_acc").tolist() == [0.1, 0.3]
    assert run.recipes.learnt(data, "val_acc").values("val_acc").tolist() == [0.1, 0.2, 0.3]
    zero = LabelledGraphs(graphs=nets.graphs, labels={"time": [0.1, 0.0, 1.0]})
    with pytest.raises(DataError, match="'time' must be positive"):
        run.recipes.learnt(zero, "time")


def test_tables_are_put_together_and_scores_measured_for_all(run: ModuleType, tmp_path: Path) -> None:
    paths = (
        written(tmp_path / "a.csv", "train", [2], [0.3]),
        written(tmp_path / "b.csv", "val", [1], [0.1]),
    )
    tables = [run.table(str(path)) for path in paths]
    found = run.together(tables)
    assert (found.name, found.values("val_acc").tolist()) == ("train and val", [0.3, 0.1])
    run.score(tables, tmp_path, None)
    free = run.recipes.predictors(tmp_path, tmp_path / "scores.h5")["random forest on training-free scores"][0]
    rows = free.fit_transform(list(found.graphs))
    assert len(rows) == 2
    assert np.isfinite(rows).all()


def test_bundled_networks_go_by_the_name_of_their_split(run: ModuleType) -> None:
    found = run.table("train")
    assert (found.split, len(found)) == ("train", len(digits_table("train")))
