"""The bundled properties go with the networks that they are said to be of."""

from pathlib import Path

import numpy as np
import pytest

import ppuda_like.predictors
from ppuda_like.errors import DataError
from ppuda_like.predictors import PROPERTIES, digits_labels, digits_table

LABELS = Path(ppuda_like.predictors.__file__).parent / "labels"
BUNDLED = sorted(path.stem.removeprefix("digits-") for path in LABELS.glob("digits-*.csv"))


@pytest.mark.parametrize("split", BUNDLED)
def test_values_are_possible_and_differ(split: str) -> None:
    table = digits_table(split)
    assert table.split == split
    assert np.array_equal(np.asarray(table.index), np.arange(len(table)))
    for name in ("val_acc", "val_acc_noise", "test_acc", "converge_time", "ghn_test_acc"):
        known = table[name][~np.isnan(table[name])]
        assert ((known >= 0) & (known <= 1)).all()
    assert (table["time"] > 0).all()
    for name in PROPERTIES:
        known = table[name][~np.isnan(table[name])]
        assert len(known) > 0.8 * len(table)
        assert len(np.unique(known)) > 5
    diverged = np.array([status == "diverged" for status in table.status or ()])
    assert np.array_equal(np.isnan(table["val_acc"]), diverged)


def test_networks_are_drawn_anew_and_checked() -> None:
    found = digits_labels("train")
    assert list(found) == ["train"]
    table = digits_table("train")
    assert len(found["train"]) == len(table)
    # The join compares structures and sizes; the costs follow from the graphs alone.
    assert [graph.macs for graph in found["train"].graphs] == table["macs"].tolist()


def test_there_are_networks_to_learn_from() -> None:
    assert "train" in BUNDLED


def test_only_what_is_bundled_can_be_had() -> None:
    with pytest.raises(DataError, match=r"no properties are bundled for split 'deep', only for .*train"):
        digits_labels("deep")
