"""Edge lists as tensors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["make_edge_index"]


def make_edge_index(edges: Iterable[tuple[int, int]]) -> Tensor:
    """Distinct edges as a long tensor of shape (2, num_edges).

    >>> make_edge_index([(0, 1), (1, 2), (0, 1)]).tolist()
    [[0, 1], [1, 2]]
    """
    distinct = sorted(set(edges), key=lambda edge: (edge[1], edge[0]))
    return torch.tensor(distinct, dtype=torch.long).reshape(-1, 2).t().contiguous()
