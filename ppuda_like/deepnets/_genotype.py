"""Genotypes: what a network's cells are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._ops import OPS

__all__ = ["DARTS", "PDARTS", "Edge", "Genotype", "ViT"]

Edge = tuple[str, int]
"""An operation and the state it reads."""


@dataclass(frozen=True)
class Genotype:
    """The two kinds of cells of a network (DARTS, arXiv:1806.09055, section 2.1).

    A cell is a small graph of states.  States 0 and 1 are the outputs of the cell before the previous one and of the
    previous one.  Step i adds two operations, each applied to an earlier state, and so makes state i + 2.  The cell's
    output is the concatenation of some states.

    Lists are turned into tuples, so that what :func:`json.loads` gives is fine.

    Attributes:
        normal: two (operation, state) pairs per step, for the cells that keep the resolution.
        normal_concat: states that the output of a normal cell is made of.
        reduce: as ``normal``, for the cells that halve the resolution.
        reduce_concat: as ``normal_concat``, for the cells that halve the resolution.

    Raises:
        NetworkError: if an operation is unknown, a state is not there yet, or a cell has no step or no output.

    Example:
        >>> one = [("conv_3x3", 0), ("skip_connect", 1)]
        >>> Genotype(normal=one, normal_concat=[2], reduce=one, reduce_concat=[2]).num_steps
        1
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for kind in ("normal", "reduce"):
            edges, concat = _checked(kind, getattr(self, kind), getattr(self, f"{kind}_concat"))
            object.__setattr__(self, kind, edges)
            object.__setattr__(self, f"{kind}_concat", concat)
        if len(self.normal_concat) != len(self.reduce_concat):
            raise NetworkError(
                "'normal_concat' and 'reduce_concat' must hold equally many states, or cells would differ in width "
                f"(got {len(self.normal_concat)} and {len(self.reduce_concat)})"
            )

    @property
    def num_steps(self) -> int:
        """Number of steps of the longer cell."""
        return max(len(self.normal), len(self.reduce)) // 2

    @property
    def ops(self) -> frozenset[str]:
        """Operations that occur."""
        return frozenset(op for op, _ in self.normal + self.reduce)

    @property
    def is_transformer(self) -> bool:
        """Whether self-attention occurs, which changes the stem and keeps the resolution in all cells."""
        return "msa" in self.ops

    def cell(self, reduction: bool) -> tuple[tuple[Edge, ...], tuple[int, ...]]:
        """Edges and output states of one kind of cell."""
        return (self.reduce, self.reduce_concat) if reduction else (self.normal, self.normal_concat)

    def to_dict(self) -> dict[str, Any]:
        """The genotype as a dictionary of lists that JSON can hold; :meth:`from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Genotype:
        """The genotype that :meth:`to_dict` gave.

        Raises:
            NetworkError: if fields are missing or not known, or their content is not a genotype.
        """
        names = {field.name for field in fields(cls)}
        if set(found) != names:
            raise NetworkError(f"a stored genotype has the fields {sorted(names)} (got {sorted(map(str, found))})")
        return cls(**found)


def _checked(kind: str, edges: Sequence[Edge], concat: Sequence[int]) -> tuple[tuple[Edge, ...], tuple[int, ...]]:
    try:
        pairs = tuple((str(op), int(state)) for op, state in edges)
        states = tuple(int(state) for state in concat)
    except (TypeError, ValueError) as error:
        raise NetworkError(
            f"'{kind}' must be (operation, state) pairs and '{kind}_concat' state numbers (got {edges!r}, {concat!r})"
        ) from error
    if not pairs or len(pairs) % 2:
        raise NetworkError(f"'{kind}' must hold two (operation, state) pairs per step (got {len(pairs)} pairs)")
    for place, (op, state) in enumerate(pairs):
        OPS[op]
        if not 0 <= state < place // 2 + 2:
            raise NetworkError(
                f"'{kind}' step {place // 2} may read states 0..{place // 2 + 1} (got state {state} for '{op}')"
            )
    last = len(pairs) // 2 + 1
    if not states or len(set(states)) < len(states) or not all(2 <= state <= last for state in states):
        raise NetworkError(f"'{kind}_concat' must name distinct states among 2..{last}, at least one (got {states})")
    return pairs, states


DARTS = Genotype(
    normal=(
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("skip_connect", 0),
        ("dil_conv_3x3", 2),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        ("max_pool_3x3", 0),
        ("max_pool_3x3", 1),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("skip_connect", 2),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
    ),
    reduce_concat=(2, 3, 4, 5),
)
"""The cells that DARTS found on CIFAR-10 (arXiv:1806.09055, second order)."""

PDARTS = Genotype(
    normal=(
        ("skip_connect", 0),
        ("dil_conv_3x3", 1),
        ("skip_connect", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 3),
        ("sep_conv_3x3", 0),
        ("dil_conv_5x5", 4),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        ("avg_pool_3x3", 0),
        ("sep_conv_5x5", 1),
        ("sep_conv_3x3", 0),
        ("dil_conv_5x5", 2),
        ("max_pool_3x3", 0),
        ("dil_conv_3x3", 1),
        ("dil_conv_3x3", 1),
        ("dil_conv_5x5", 3),
    ),
    reduce_concat=(2, 3, 4, 5),
)
"""The cells that P-DARTS found on CIFAR-10 (arXiv:1904.12760)."""

ViT = Genotype(
    normal=(("none", 0), ("msa", 1)),
    normal_concat=(2,),
    reduce=(("none", 0), ("skip_connect", 1)),
    reduce_concat=(2,),
)
"""A chain of transformer blocks (arXiv:2010.11929), one per normal cell; with ``preproc=False``, a vision transformer.

Of 12 cells it holds 10 blocks: at C=128 the 1,012,234 parameters that are published for it on CIFAR-10.
"""
