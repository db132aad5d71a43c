"""Properties of the networks of DeepNets-1M, as its authors published them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ppuda_like.errors import DataError
from ppuda_like.predictors._join import some
from ppuda_like.predictors._property_table import PropertyTable

__all__ = ["published_labels"]

_PERCENT = (
    "test_acc",
    "test_acc_noise",
    "val_acc",
    "val_acc_noise",
    "mlp_test_acc",
    "ghn1_test_acc",
    "ghn2_test_acc",
)
_HIGHEST = sys.float_info.max  # infinity is no value
_OTHERS = {"params": "num_params", "time": "time", "converge_time": "converge_time"}
_NETWORKS: Mapping[str, dict[str, Any]] = {
    "cifar10": {"width": "fitted", "num_classes": 10, "is_imagenet_input": False},
    "imagenet": {"width": "fitted", "num_classes": 1000, "is_imagenet_input": True},
}


def published_labels(path: str | os.PathLike[str], images: Literal["cifar10", "imagenet"]) -> dict[str, PropertyTable]:
    """Read the properties of the evaluated networks of DeepNets-1M (arXiv:2110.13100, section 5).

    ``published_labels(path, "cifar10")["val"].labelled(DeepNets(store, "val"))`` joins them to the graphs of the
    released ``deepnets1m_eval.hdf5`` that :func:`import_ppuda` read.  The file states each network's number of
    parameters and not its width: the join finds the width that has this number, and names the networks that have it at
    no width.

    The columns, of which splits hold different ones:

    - ``test_acc``, ``val_acc``, ``test_acc_noise``, ``val_acc_noise``: accuracy after training by SGD, on clean images
      and under Gaussian noise; 0..1, where the file has percents, and top-5 on ImageNet, as all of these.
    - ``mlp_test_acc``, ``ghn1_test_acc``, ``ghn2_test_acc``: accuracy with predicted parameters.
    - ``time``: seconds that inference takes, on the images and hardware of the authors.
    - ``converge_time``: share of the training after which the network had converged; 2 if it never did.
    - ``num_params``.

    Args:
        path: ``results_cifar10.json`` or ``results_imagenet.json``.
        images: what the networks were trained on.

    Returns:
        A table for each split.

    Raises:
        DataError: if the file is missing, damaged or no such file; a network comes twice, is missing, lacks a property
            that others of its split have, or has one that is not finite or out of range.
    """
    if images not in _NETWORKS:
        raise DataError(f"there are published properties for {', '.join(_NETWORKS)} (got {images!r})")
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except (UnicodeDecodeError, RecursionError, DataError, json.JSONDecodeError) as error:
        raise DataError(f"'{path}' is damaged, or no JSON: {error}") from error
    if not isinstance(found, dict) or not found or not all(isinstance(nets, dict) and nets for nets in found.values()):
        raise DataError(f"'{path}' must hold the networks of each split by number, {{split: {{index: properties}}}}")
    return {split: _table(path, split, nets, images) for split, nets in found.items()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DataError(f"'{key}' comes twice")
        found[key] = value
    return found


def _table(path: Path, split: str, nets: dict[str, Any], images: str) -> PropertyTable:
    where = f"split '{split}' of '{path}'"
    strange = [key for key in nets if not (key.isascii() and key.isdecimal() and str(int(key)) == key)]
    if strange:
        raise DataError(f"the networks of {where} must be numbered from 0 (got {some(strange)})")
    missing = sorted(set(range(len(nets))) - {int(key) for key in nets})
    if missing:
        raise DataError(f"{where} holds {len(nets)} networks, but lacks number {some(missing)}")
    rows = [nets[str(index)] for index in range(len(nets))]
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"the networks of {where} must be tables of properties and values")
    names = list(dict.fromkeys(name for row in rows for name in row))
    unknown = sorted(set(names) - {*_PERCENT, *_OTHERS})
    if unknown:
        raise DataError(f"{where} holds unknown properties {unknown}; known are {', '.join((*_PERCENT, *_OTHERS))}")
    columns = {_OTHERS.get(name, name): [_value(row, name, i, where) for i, row in enumerate(rows)] for name in names}
    return PropertyTable(
        split=split,
        index=range(len(rows)),
        columns=columns,
        meta={"source": "published with arXiv:2110.13100", "images": images, "networks": _NETWORKS[images]},
    )


def _value(row: dict[str, Any], name: str, index: int, where: str) -> float:
    value: object = row.get(name)
    percent = name in _PERCENT
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= (100 if percent else _HIGHEST):
        return float(value) / 100 if percent else float(value)
    got = "nothing" if value is None else repr(value)
    wanted = "a percentage" if percent else "a finite number, 0 or more"
    raise DataError(f"property '{name}' of network {index} in {where} must be {wanted} (got {got})")
