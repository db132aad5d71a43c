import csv
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from ppuda_like.errors import PpudaLikeError
from tests.experiment_modules import experiment


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return experiment("darts_protocol")


def test_smoke_ends_with_results_and_is_not_repeated(run: ModuleType, tmp_path: Path) -> None:
    run.main(smoke=True, out=tmp_path)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["all", "none"]
    # The auxiliary head is not counted: a network has the same parameters with it and without.
    assert rows[0]["num_params"] == rows[1]["num_params"]
    with (tmp_path / "curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["variant"], line["epoch"]) for line in lines] == [
        ("all", "1"),
        ("all", "2"),
        ("none", "1"),
        ("none", "2"),
    ]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    about = json.loads((tmp_path / "results.json").read_text())
    assert (about["train_images"], about["test_images"]) == (200, 250 + 1_297 - 200)

    before = (tmp_path / "results.csv").read_text()
    run.main(smoke=True, out=tmp_path)
    assert (tmp_path / "results.csv").read_text() == before  # the seconds too: nothing was trained again


def test_paper_is_the_published_protocol(run: ModuleType) -> None:
    recipe = run.recipes.paper()
    assert recipe.variants == ("all",)
    config = recipe.config(Path("out"), "all", 0, device="cpu", workers=0)
    found = config.epochs, config.batch_size, config.optimizer, config.lr, config.momentum, config.weight_decay
    assert found == (600, 96, "sgd", 0.025, 0.9, 3e-4)
    assert (config.schedule, config.final_lr, config.clip) == ("cosine", 0.0, 5.0)
    assert (config.augment, config.drop_path, config.auxiliary) == ("crop-cutout", 0.2, 0.4)
    model = recipe.build("all", 10, seed=0)
    # What the authors' own script prints for the cells of the second order: 3.349342 MB.
    assert run.inference_params(model) == 3_349_342
    assert not model._forward_pre_hooks  # cutout is in the augmentation


@pytest.mark.parametrize("variant", ["all", "no cutout", "no drop path", "no auxiliary head", "none"])
def test_a_variant_leaves_out_what_it_says(run: ModuleType, variant: str) -> None:
    recipe = run.recipes.smoke()
    left_out = {"all": set(), "none": {"cutout", "drop path", "auxiliary head"}}.get(variant, {variant[len("no ") :]})
    config = recipe.config(Path("out"), variant, 0, device="cpu", workers=0)
    assert (config.drop_path == 0) == ("drop path" in left_out)
    assert (config.auxiliary == 0) == ("auxiliary head" in left_out)
    model = recipe.build(variant, 10, seed=0).train()
    images = torch.ones(5, 3, 8, 8)
    assert isinstance(model(images), tuple) == ("auxiliary head" not in left_out)

    seen: list[Tensor] = []
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(images)
    blank = (seen.pop() == 0).all(dim=1).flatten(1).sum(1)
    if "cutout" in left_out:
        assert not blank.any()
    else:  # a quarter of each side remains at least of a square of 4 pixels, whose middle is in the image
        assert ((blank >= 4) & (blank <= 16)).all()
    model.eval()(images)
    assert torch.equal(seen.pop(), images)


def test_variants_start_from_the_same_weights(run: ModuleType) -> None:
    recipe = run.recipes.smoke()
    before = torch.random.get_rng_state()
    models = [recipe.build(variant, 10, seed=3) for variant in ("no drop path", "all")]
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


def test_images_left_over_are_tested_on_and_not_trained_on(run: ModuleType) -> None:
    recipe = run.recipes.smoke()
    everything = run.split_images(replace(recipe, shots=None), 0, Path())
    for seed in (0, 1):
        train, _, test = run.split_images(recipe, seed, Path())
        assert train.labels.bincount().tolist() == [20] * 10
        together = run.joined(train, test)
        whole = run.joined(everything[0], everything[2])
        # The same images, each as often.
        torch.testing.assert_close(
            together.images.double().flatten(1).sum(1).sort().values,
            whole.images.double().flatten(1).sum(1).sort().values,
        )
    assert not torch.equal(train.index, run.split_images(recipe, 0, Path())[0].index)


def test_all_images_are_trained_on_as_published(run: ModuleType) -> None:
    recipe = replace(run.recipes.smoke(), shots=None, all_images=True)
    train, curve, test = run.split_images(recipe, 0, Path())
    assert (len(train), len(test)) == (1_297 + 250, 250)
    assert curve is test


def test_networks_of_deepnets(run: ModuleType) -> None:
    recipe = replace(run.recipes.smoke(), arch="test:3")
    assert recipe.build("all", 10, seed=0).eval()(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    with pytest.raises(PpudaLikeError, match="ResNet-50"):
        replace(recipe, arch="predefined:0").build("all", 10, seed=0)
    with pytest.raises(PpudaLikeError, match="DARTS, PDARTS or SPLIT:INDEX"):
        replace(recipe, arch="darts").build("all", 10, seed=0)


def test_table_has_no_second_column_of_test_images(run: ModuleType) -> None:
    runs = [
        {"variant": "all", "train_top1": 0.5, "val_top1": 0.75, "test_top1": value, "seconds": 90}
        for value in (0.7, 0.8)
    ]
    assert run.table(runs, "test").splitlines()[-1] == "| all | 2 | 50.0 (50.0-50.0) | 75.0 (70.0-80.0) | 1.5 |"
    assert run.table(runs, "validation").splitlines()[-1].count("|") == 7
