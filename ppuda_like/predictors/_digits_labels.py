"""The bundled properties: generated networks, trained briefly on handwritten digits."""

from __future__ import annotations

from pathlib import Path

from ppuda_like.errors import DataError
from ppuda_like.predictors._labelled import LabelledGraphs
from ppuda_like.predictors._property_table import PropertyTable

__all__ = ["digits_labels", "digits_table"]

_FOLDER = Path(__file__).parent / "labels"
_PREFIX = "digits-"


def digits_table(split: str = "train") -> PropertyTable:
    """The bundled properties of networks of a split, measured on :func:`ppuda_like.vision.digits`.

    They are the columns of :func:`measure_properties`; ``labels/README.md`` beside this module is their card.

    Args:
        split: ``"train"``, or ``"test"``, whose networks are from another random stream.

    Raises:
        DataError: if none are bundled for the split.

    Example:
        >>> table = digits_table("train")
        >>> table["val_acc"].shape == (len(table),)
        True
    """
    path = _FOLDER / f"{_PREFIX}{split}.csv"
    if not path.is_file():
        raise DataError(f"no properties are bundled for split '{split}', only for {', '.join(_splits())}")
    return PropertyTable.from_csv(path)


def digits_labels(*splits: str) -> dict[str, LabelledGraphs]:
    """The networks of :func:`digits_table` with their graphs, drawn anew: what a predictor learns and is tested on.

    Args:
        splits: which; all that are bundled if none is named.

    Returns:
        For each split its graphs and their properties.

    Raises:
        DataError: if none are bundled for a split.

    Example:
        >>> nets = digits_labels("train")["train"].known("val_acc", "converge_time")
        >>> len(nets.graphs) == len(nets.values("val_acc"))
        True
    """
    return {split: digits_table(split).labelled(name=f"digits, {split}") for split in splits or _splits()}


def _splits() -> list[str]:
    return sorted(path.stem.removeprefix(_PREFIX) for path in _FOLDER.glob(f"{_PREFIX}*.csv"))
