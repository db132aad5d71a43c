"""The splits of DeepNets-1M: what each draws its networks from."""

from __future__ import annotations

from dataclasses import dataclass

from ppuda_like.deepnets._table import Table

__all__ = ["SPLITS", "Split"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split (arXiv:2110.13100, section 3.1 and appendix A).

    Attributes:
        name: what it is called.
        code: what its random streams are numbered by.
        size: number of networks in the published one; more may be drawn.
        seed: seed of the random streams, where no other is given.
        n_cells: least and most number of cells.
        threshold: least and most number of cells beyond which a network counts as deep; drawn per network.
        steps: least and most number of steps in the cells of other networks.
        steps_deep: least and most number of steps in the cells of deep networks.
        max_params: most parameters at C=32, for inputs of either size and ten classes.
        norm_free: whether all networks do without normalisation.
    """

    name: str
    code: int
    size: int
    seed: int = 1
    n_cells: tuple[int, int] = (4, 18)
    threshold: tuple[int, int] = (7, 10)
    steps: tuple[int, int] = (1, 4)
    steps_deep: tuple[int, int] = (1, 2)
    max_params: int = 10_000_000
    norm_free: bool = False


_LARGE = 100_000_000

_ALL = (
    Split(name="train", code=0, size=1_000_000),
    Split(name="val", code=1, size=500, seed=0),
    Split(name="test", code=2, size=500),
    Split(name="search", code=3, size=100_000, n_cells=(6, 20), threshold=(10, 10), steps=(1, 6), steps_deep=(1, 3)),
    # The networks of test, wider: hence its code.
    Split(name="wide", code=2, size=500),
    Split(name="deep", code=4, size=100, n_cells=(10, 36), threshold=(18, 18), max_params=_LARGE),
    Split(name="dense", code=5, size=100, steps=(2, 10), steps_deep=(2, 6), max_params=_LARGE),
    Split(name="bnfree", code=6, size=100, norm_free=True),
    Split(name="predefined", code=7, size=2),
)

SPLITS = Table("split", {split.name: split for split in _ALL})
"""All splits by name.  The networks of ``wide`` are those of ``test`` with more channels, and those of ``predefined``
are a ResNet-50 and a vision transformer."""
