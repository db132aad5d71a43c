import csv
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torchvision

from ppuda_like.errors import DataError
from ppuda_like.ghn import GHN
from tests.experiment_modules import experiment


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return experiment("torchvision_prediction")


@pytest.fixture(scope="module")
def ghn() -> GHN:
    return GHN.from_pretrained("ghn2-digits")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "models.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_family_has_a_name(run: ModuleType) -> None:
    names = run.recipes.full().models
    assert names == tuple(torchvision.models.list_models(module=torchvision.models))
    assert {run.recipes.family(name) for name in names} == set(run.recipes.FAMILIES.values())


def test_most_images_that_the_cost_allows(run: ModuleType) -> None:
    recipe = run.recipes.Recipe(num_images=(250, 64), tflops=1.0)
    costs = {0: 250, 4_000_000_000: 250, 4_000_000_001: 64, 15_625_000_000: 64, 15_625_000_001: 0}
    assert {flops: recipe.affordable(flops) for flops in costs} == costs


def test_a_small_image_where_the_model_takes_it(run: ModuleType) -> None:
    recipe = run.recipes.SMOKE
    graph, size, small = run.sized("resnet18", recipe, 10)
    assert (size, small) == (32, True)
    # The first block works at full resolution, as the small-input adaptation has it.
    assert graph.out_shapes[graph.names.index("layer1.0.conv1")] == (1, 64, 32, 32)
    assert run.sized("vit_b_32", recipe, 10)[1:] == (224, False)


def test_what_stays_random_is_told(run: ModuleType, ghn: GHN) -> None:
    recipe = run.recipes.SMOKE
    _, device, report = run.filled("squeezenet1_1", ghn, recipe, 32, True)
    assert (device, report.kept) == ("meta", ())
    model, device, report = run.filled("convnext_tiny", ghn, recipe, 32, True)
    assert device == "cpu"
    assert {tensor.name.rpartition(".")[2] for tensor in report.kept} == {"layer_scale"}
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_results_are_written_and_an_interruption_loses_none(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ("squeezenet1_1", "mnasnet0_5", "resnet18")
    cheap = replace(run.recipes.SMOKE, tflops=0.005)
    monkeypatch.setattr(run.recipes, "SMOKE", cheap)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run.main(models=models, out=whole, smoke=True)
    rows = rows_of(whole)
    assert [row["model"] for row in rows] == list(models)
    for row in rows:
        assert float(row["predicted"]) + float(row["tiled"]) + float(row["kept"]) == pytest.approx(1, abs=1e-3)
    # A ResNet-18 at full resolution is too costly here: predicted, and not evaluated.
    assert [row["num_images"] for row in rows] == ["32", "32", "0"]
    assert [bool(row["top1"]) for row in rows] == [True, True, False]
    assert (whole / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    table = (whole / "families.md").read_text().splitlines()
    assert len(table) == 2 + 3
    assert table[-1].startswith("| ResNet")  # families without an accuracy come last

    measured = []

    def measure(name: str, *rest: object) -> object:
        if name == "resnet18" and not measured.count("stop"):
            measured.append("stop")
            raise KeyboardInterrupt
        measured.append(name)
        return original(name, *rest)

    original = run.measure
    monkeypatch.setattr(run, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        run.main(models=models, out=cut, smoke=True)
    assert not (cut / "models.csv").exists()
    monkeypatch.setattr(run.recipes, "SMOKE", replace(cheap, batch_size=8))
    with pytest.raises(DataError, match="other work"):
        run.main(models=models, out=cut, smoke=True)
    monkeypatch.setattr(run.recipes, "SMOKE", cheap)
    run.main(models=models, out=cut, smoke=True)
    assert measured == ["squeezenet1_1", "mnasnet0_5", "stop", "resnet18"]
    for one, other in zip(rows_of(cut), rows, strict=True):
        assert {**one, "seconds": ""} == {**other, "seconds": ""}
    assert not list(cut.glob("*.part"))
