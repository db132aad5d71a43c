"""Vocabularies of primitive operations: name to index tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ppuda_like.errors import GraphError

__all__ = ["EXTENDED", "PPUDA", "VOCABULARIES", "Vocabulary", "vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """An ordered set of primitives; a primitive's place is its embedding row.

    Attributes:
        name: what :meth:`ComputationalGraph.lower` calls it.
        primitives: the names, in order.
    """

    name: str
    primitives: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each primitive."""
        return {primitive: i for i, primitive in enumerate(self.primitives)}

    def __len__(self) -> int:
        return len(self.primitives)

    def __contains__(self, primitive: object) -> bool:
        return primitive in self.index


PPUDA = Vocabulary(
    "ppuda",
    (
        "max_pool",
        "avg_pool",
        "sep_conv",
        "dil_conv",
        "conv",
        "msa",
        "cse",
        "sum",
        "concat",
        "input",
        "bias",
        "bn",
        "ln",
        "pos_enc",
        "glob_avg",
    ),
)
"""The 15 primitives of DeepNets-1M (arXiv:2110.13100); the order is the one released checkpoints were trained with."""

EXTENDED = Vocabulary(
    "extended",
    (
        *PPUDA.primitives,
        "conv1d",
        "conv3d",
        "conv_transpose",
        "matmul",
        "rnn",
        "embedding",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "prelu",
        "scale",
        "layer_scale",
        "class_token",
        "rel_pos_bias",
        "parameter",
    ),
)
"""Primitives for every operation a parameter can sit in; it begins with the 15 of :data:`PPUDA`."""

VOCABULARIES = {known.name: known for known in (PPUDA, EXTENDED)}


def vocabulary(name: str) -> Vocabulary:
    """The vocabulary of that name.

    >>> vocabulary("ppuda").index["input"]
    9

    Raises:
        GraphError: if there is none.
    """
    if name not in VOCABULARIES:
        raise GraphError(f"unknown vocabulary {name!r}; there are {sorted(VOCABULARIES)}")
    return VOCABULARIES[name]
