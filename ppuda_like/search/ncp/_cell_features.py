"""What predictors of NAS-Bench-201 read of a cell."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS

__all__ = ["cell_features"]

_POOL, _NONE, _SKIP, _CONV1, _CONV3 = (
    NASBENCH201_OPS.index(op) for op in ("avg_pool_3x3", "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
)
_ALIVE = (_POOL, _SKIP, _CONV1, _CONV3)
_WORKING = (_POOL, _CONV1, _CONV3)
_KINDS = ((_CONV1, _CONV3), (_CONV3,), (_CONV1,), (_POOL,))  # operations counted together along paths
_LONGEST = 3  # edges of a path
_INPUT, _OUTPUT = 0, 3


def _paths(state: int = _INPUT) -> list[tuple[int, ...]]:
    """Edges of each path from a state to the output."""
    if state == _OUTPUT:
        return [()]
    return [
        (edge, *rest)
        for edge, (source, target) in enumerate(NASBENCH201_EDGES)
        if source == state
        for rest in _paths(target)
    ]


_PATHS = _paths()
_WALKS = [(number, ops) for number, path in enumerate(_PATHS) for ops in product(_ALIVE, repeat=len(path))]
"""A path and an operation on each of its edges, in the order of :func:`_walks`."""


def _sequences() -> Tensor:
    """Matrix from walks to the sequences of operations that they are, skip connections left out."""
    keys = [tuple(op for op in ops if op != _SKIP) for _, ops in _WALKS]
    number = {key: column for column, key in enumerate(dict.fromkeys(keys))}
    return torch.nn.functional.one_hot(torch.tensor([number[key] for key in keys])).double()


def _counts(*, least: bool) -> Tensor:
    """Array (path, kind, level, walk) of ones where a walk along a path has at least, or at most, so many of a kind."""
    found = torch.zeros(len(_PATHS), len(_KINDS), _LONGEST, len(_WALKS), dtype=torch.float64)
    for column, (path, ops) in enumerate(_WALKS):
        for row, kind in enumerate(_KINDS):
            count = sum(op in kind for op in ops)
            for level in range(_LONGEST):
                found[path, row, level, column] = count >= level + 1 if least else count <= level
    return found


_SEQUENCES = _sequences()
_AT_LEAST, _AT_MOST = _counts(least=True), _counts(least=False)


def cell_features(relaxed: Tensor) -> Tensor:
    """What flows through cells, (n, 30) -> (n, 53); cells that compute the same mostly agree in it.

    In the manner of GRAF (arXiv:2404.16551): how many paths from the input to the output have each sequence of
    operations, skip connections left out; how many poolings and convolutions something flows through that reaches the
    output; the greatest and the least number of convolutions (all, 3x3, 1x1) and of poolings on a
    path; the logarithm of the taps of convolutions in use.  All but the last are polynomials in the shares of
    operations: expected values, were each edge's operation drawn by its shares and paths independent.

    Args:
        relaxed: the share of each operation on each edge.

    Example:
        >>> one = torch.eye(5)[torch.tensor([3, 1, 1, 1, 2, 1])].reshape(1, 30)  # a 1x1 convolution, then a skip
        >>> other = torch.eye(5)[torch.tensor([1, 1, 1, 3, 1, 4])].reshape(1, 30)  # the same; a 3x3 reads nothing
        >>> torch.equal(cell_features(one), cell_features(other))
        True
    """
    shares = relaxed.reshape(-1, len(NASBENCH201_EDGES), len(NASBENCH201_OPS))
    walks = _walks(shares)
    live = _live(shares)[:, :, None] * shares
    used = live.sum(1)
    convolutions = used[:, _CONV1] + used[:, _CONV3]
    some = torch.einsum("pklw,nw->npkl", _AT_LEAST.to(relaxed), walks)
    few = torch.einsum("pklw,nw->npkl", _AT_MOST.to(relaxed), walks)
    taps = used[:, _CONV1] + 9 * used[:, _CONV3]
    return torch.cat(
        (
            walks @ _SEQUENCES.to(relaxed),
            used[:, list(_WORKING)],
            convolutions[:, None],
            (1 - (1 - some).prod(1)).sum(2),  # a path with so many: not none
            (1 - few).prod(1).sum(2),
            (1.5 + taps).log()[:, None],
        ),
        dim=1,
    )


def _walks(shares: Tensor) -> Tensor:
    """The product of the shares along each of ``_WALKS``."""
    alive = shares[:, :, list(_ALIVE)]
    found = []
    for path in _PATHS:
        ways = alive[:, path[0]]
        for edge in path[1:]:
            ways = (ways[:, :, None] * alive[:, edge, None, :]).flatten(1)
        found.append(ways)
    return torch.cat(found, dim=1)


def _live(shares: Tensor) -> Tensor:
    """Whether the input reaches each edge and the edge, were something on it, the output, (n, 6)."""
    open_ = 1 - shares[:, :, _NONE]
    one = torch.ones_like(open_[:, 0])
    reached, leads = [one], {_OUTPUT: one}
    for state in range(1, _OUTPUT + 1):
        blocked = one
        for edge, (source, target) in enumerate(NASBENCH201_EDGES):
            if target == state:
                blocked = blocked * (1 - reached[source] * open_[:, edge])
        reached.append(1 - blocked)
    for state in reversed(range(_OUTPUT)):
        blocked = one
        for edge, (source, target) in enumerate(NASBENCH201_EDGES):
            if source == state:
                blocked = blocked * (1 - leads[target] * open_[:, edge])
        leads[state] = 1 - blocked
    return torch.stack([reached[source] * leads[target] for source, target in NASBENCH201_EDGES], dim=1)
