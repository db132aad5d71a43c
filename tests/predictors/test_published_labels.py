"""The published properties, on generated stand-ins for the files of DeepNets-1M."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppuda_like.deepnets import (
    DeepNets,
    count_parameters,
    export_ppuda,
    generate,
    import_ppuda,
    network_graph,
    sample_network,
)
from ppuda_like.errors import DataError
from ppuda_like.predictors import published_labels

WIDTHS = {"test": (32, 48, 64, 32, 208, 32), "wide": (128, 192, 128, 400)}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was exported in the released format and imported again."""
    folder = tmp_path_factory.mktemp("released")
    with ThreadPoolExecutor(1) as executor:
        for split, widths in WIDTHS.items():
            generate(split, len(widths), folder / "made.h5", executor=executor, progress=False)
    export_ppuda(folder / "made.h5", folder / "eval.hdf5", folder / "eval_meta.json", progress=False)
    return import_ppuda(folder / "eval.hdf5", folder / "eval_meta.json", folder / "nets.h5", progress=False).path


def stated(images: str = "cifar10") -> dict[str, dict[str, dict[str, float]]]:
    """What the published file would say of these networks."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for split, widths in WIDTHS.items():
        for i, width in enumerate(widths):
            config = sample_network(split, i).replace(C=width)
            if images == "imagenet":
                config = config.replace(num_classes=1000, is_imagenet_input=True)
            row = {"test_acc": 90.0 + i, "params": count_parameters(config), "time": 1 + i, "ghn2_test_acc": 12.5 * i}
            if split == "test":
                row |= {"val_acc": 80 + i, "val_acc_noise": 40.25, "converge_time": 2.0 if i == 1 else 0.5}
            found.setdefault(split, {})[str(i)] = row
    return found


def written(path: Path, change: Callable[[Any], object] | None = None) -> Path:
    found = stated()
    if change is not None:
        change(found)
    path.write_text(json.dumps(found))
    return path


def test_a_table_for_each_split(tmp_path: Path) -> None:
    tables = published_labels(written(tmp_path / "results.json"), "cifar10")
    assert {split: len(table) for split, table in tables.items()} == {"test": 6, "wide": 4}
    test = tables["test"]
    assert test["test_acc"].tolist() == pytest.approx([0.9, 0.91, 0.92, 0.93, 0.94, 0.95])
    assert test["ghn2_test_acc"].tolist() == [0, 0.125, 0.25, 0.375, 0.5, 0.625]
    assert test["converge_time"].tolist() == [0.5, 2, 0.5, 0.5, 0.5, 0.5]
    assert test["time"].tolist() == [1, 2, 3, 4, 5, 6]
    assert "val_acc" not in tables["wide"].columns


@pytest.mark.parametrize("images", ["cifar10", "imagenet"])
def test_graphs_are_those_of_the_width_trained_at(images: str, released: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stated(images)))
    large = images == "imagenet"
    for split, table in published_labels(path, images).items():  # type: ignore[arg-type]
        found = table.labelled(DeepNets(released, split))
        for i, width in enumerate(WIDTHS[split]):
            config = sample_network(split, i).replace(
                C=width, num_classes=1000 if large else 10, is_imagenet_input=large
            )
            assert found.graphs[i] == network_graph(config)
        assert np.array_equal(found.values("num_params"), table["num_params"])


def test_networks_that_are_others_or_missing_are_named(released: Path, tmp_path: Path) -> None:
    def other(found: Any) -> None:
        found["test"]["4"]["params"] += 1

    table = published_labels(written(tmp_path / "other.json", other), "cifar10")["test"]
    with pytest.raises(DataError, match=r"1 of 6 networks of split 'test' do not have .* at any width: 4 \("):
        table.labelled(DeepNets(released, "test"))
    table = published_labels(written(tmp_path / "same.json"), "cifar10")["test"]
    with pytest.raises(DataError, match="2 of 6 networks of split 'test' are not among the 4 given: 4, 5"):
        table.labelled(DeepNets(released, "test")[:4])
    with pytest.raises(DataError, match="give the dataset that holds them"):
        table.labelled()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["test"].pop("2"), r"holds 5 networks, but lacks number 2"),
        (lambda d: d["test"]["2"].pop("val_acc"), r"'val_acc' of network 2 .* must be a percentage \(got nothing\)"),
        (lambda d: d["test"]["2"].update(val_acc=float("nan")), r"must be a percentage \(got nan\)"),
        (lambda d: d["test"]["2"].update(val_acc=101), r"must be a percentage \(got 101\)"),
        (lambda d: d["test"]["2"].update(time=float("inf")), r"must be a finite number, 0 or more \(got inf\)"),
        (lambda d: d["test"]["2"].update(time=True), r"\(got True\)"),
        (lambda d: d["test"]["2"].update(speed=1), r"unknown properties \['speed'\]; known are test_acc,"),
        (lambda d: d["test"].update(x=d["test"].pop("2")), r"must be numbered from 0 \(got x\)"),
        (lambda d: d["test"].update({"02": d["test"].pop("2")}), r"must be numbered from 0 \(got 02\)"),
        (lambda d: d.update(test=[]), "must hold the networks of each split by number"),
        (lambda d: d.clear(), "must hold the networks of each split by number"),
        (lambda d: d["test"].update({"2": 5}), "must be tables of properties and values"),
    ],
)
def test_a_file_that_says_too_little_is_refused(change: Callable[[Any], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        published_labels(written(tmp_path / "results.json", change), "cifar10")


def test_a_network_that_comes_twice_and_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"test": {"0": {"time": 1}, "0": {"time": 2}}}')
    with pytest.raises(DataError, match="'0' comes twice"):
        published_labels(path, "cifar10")
    path.write_text('{"test": {"0": ')
    with pytest.raises(DataError, match="is damaged, or no JSON"):
        published_labels(path, "cifar10")
    with pytest.raises(DataError, match="cannot read"):
        published_labels(tmp_path / "none.json", "cifar10")
    with pytest.raises(DataError, match=r"for cifar10, imagenet \(got 'mnist'\)"):
        published_labels(path, "mnist")  # type: ignore[arg-type]
