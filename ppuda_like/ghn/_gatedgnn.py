"""The gated graph neural network of GHNs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.ghn._layers import MLP
from ppuda_like.ghn._schedule import VisitSchedule
from ppuda_like.ghn._sweep import SweepBuffers, SweepWeights, run, sweep

__all__ = ["GatedGNN"]


class GatedGNN(nn.Module):
    """One forward and one backward pass over a DAG's nodes in topological order (arXiv:2110.13100, Eq. 3 and 4).

    Visiting a node v, in either pass, ``h_v`` becomes ``GRU(m_v, h_v)`` with ``m_v`` the sum over the neighbours u that
    were visited before of ``mlp(h_u)`` for real edges, plus, with virtual edges, ``mlp_ve(h_u) / s`` for every path
    length s from 1 on.

    The result is that of visiting one node at a time.  The work is done one level at a time for all graphs of a batch,
    each message network running once per node and pass; time grows with depth, memory with nodes and edges.

    Args:
        hid: width of the node features.
        virtual_edges: whether messages also go over virtual edges.

    Example:
        >>> from ppuda_like.ghn import GraphEdges, VisitSchedule
        >>> chain = GraphEdges(3, torch.tensor([[0, 1], [1, 2]]), torch.ones(2), torch.arange(3))
        >>> GatedGNN(8, virtual_edges=False)(torch.zeros(3, 8), VisitSchedule.build([chain], virtual=False)).shape
        torch.Size([3, 8])
    """

    def __init__(self, hid: int, *, virtual_edges: bool) -> None:
        super().__init__()
        mid = hid // 2 if virtual_edges else hid
        self.mlp = MLP(hid, (mid, hid), last_relu=True)
        self.mlp_ve = MLP(hid, (mid, hid), last_relu=True) if virtual_edges else None
        self.gru = nn.GRUCell(hid, hid)

    def forward(self, x: Tensor, schedule: VisitSchedule) -> Tensor:
        """Updated node features.

        Args:
            x: features of the nodes of all graphs, one graph after the other, ``(num_nodes, hid)``; left as they are.
            schedule: the order of visits, built with ``virtual`` as this network's ``virtual_edges``.

        Raises:
            GraphError: if the schedule is of other graphs or made for the other kind of edges.
        """
        channels = 1 if self.mlp_ve is None else 2
        if schedule.num_channels != channels:
            raise GraphError(
                f"this GatedGNN wants a schedule built with virtual={channels == 2} (got virtual={channels != 2}); "
                "build it again"
            )
        if x.size(0) != schedule.num_nodes:
            raise GraphError(f"'x' must have one row per node of the schedule: {schedule.num_nodes} (got {x.size(0)})")
        # Low precision would lose the sums over hundreds of virtual edges, and gains nothing in calls this small.
        dtype = torch.promote_types(x.dtype, torch.float32)
        weights = self._weights(dtype)
        hidden = x.to(dtype).index_select(0, schedule.order.to(x.device))
        if torch.is_grad_enabled() and (hidden.requires_grad or any(weight.requires_grad for weight in weights)):
            for backward in (False, True):
                hidden = sweep(schedule, hidden, weights, backward=backward)
        else:
            buffers = SweepBuffers(schedule, hidden, weights.w1.size(0))
            for backward in (False, True):
                run(schedule, buffers, weights, backward)
        return hidden.index_select(0, schedule.rank.to(x.device)).to(x.dtype)

    def _weights(self, dtype: torch.dtype) -> SweepWeights:
        first, second = self.mlp.linear(0), self.mlp.linear(1)
        w1: Tensor = first.weight
        b1: Tensor = first.bias
        w2: Tensor = second.weight
        b2: Tensor = second.bias
        if self.mlp_ve is not None:
            first, second = self.mlp_ve.linear(0), self.mlp_ve.linear(1)
            w1, b1 = torch.cat((w1, first.weight)), torch.cat((b1, first.bias))
            mid = w2.size(1)
            w2 = torch.cat((F.pad(w2, (0, mid)), F.pad(second.weight, (mid, 0))))
            b2 = torch.cat((b2, second.bias))
        gru = self.gru
        sign = torch.ones(3, gru.hidden_size, 1, dtype=dtype, device=w1.device)
        sign[1] = -1
        sign = sign.view(-1, 1)
        return SweepWeights(
            w_ih=gru.weight_ih * sign,
            w_hh=gru.weight_hh * sign,
            b_ih=gru.bias_ih * sign[:, 0],
            b_hh=gru.bias_hh * sign[:, 0],
            w1=w1.to(dtype),
            b1=b1.to(dtype),
            w2=w2.to(dtype),
            b2=b2.to(dtype),
        )
