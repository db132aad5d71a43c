"""Whether a function on graphs depends on the order of the nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ppuda_like.errors import GraphError

__all__ = ["assert_permutation_equivariant"]


def assert_permutation_equivariant(
    function: Callable[..., Tensor],
    x: Tensor,
    edge_index: Tensor,
    *edge_features: Tensor,
    order: Sequence[int],
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Assert that renumbering the nodes renumbers the result: f(Px, PE) = P f(x, E).

    Args:
        function: from node features, edges and edge features to one row per node.
        x: node features, of shape (num_nodes, ...).
        edge_index: long, of shape (2, num_edges).
        *edge_features: tensors with one row per edge; edges keep their order.
        order: the old id of each new node; use :func:`topological_orders` where edges must point forward.
        rtol: relative tolerance; torch's for the type by default.
        atol: absolute tolerance; torch's for the type by default.

    Raises:
        AssertionError: if the results differ.
        GraphError: if ``order`` is no permutation of the nodes.

    Example:
        >>> import torch
        >>> chain = torch.tensor([[0, 1], [1, 2]])
        >>> def in_degree(x, edge_index):
        ...     return torch.bincount(edge_index[1], minlength=len(x))
        >>> assert_permutation_equivariant(in_degree, torch.zeros(3, 1), chain, order=[2, 0, 1])
    """
    if sorted(order) != list(range(len(x))):
        raise GraphError(f"'order' must hold every node id 0..{len(x) - 1} once (got {list(order)})")
    old = torch.tensor(order, dtype=torch.long, device=x.device)
    expected = function(x, edge_index, *edge_features)[old]
    actual = function(x[old], old.argsort()[edge_index], *edge_features)
    torch.testing.assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        msg=lambda text: f"the function depends on the order of the nodes {list(order)}: {text}",
    )
