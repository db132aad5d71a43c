"""One pass of a GatedGNN over all levels, in place and with handwritten gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ppuda_like.ghn._schedule import SweepTables, VisitSchedule

__all__ = ["SweepBuffers", "SweepWeights", "sweep"]


class SweepWeights(NamedTuple):
    """Weights of a pass, as rows = outputs; the update gate's rows of the GRU negated, so that it gates the new state.

    Attributes:
        w_ih: GRU, from messages, ``(3 * hid, hid)``.
        w_hh: GRU, from the hidden state, ``(3 * hid, hid)``.
        b_ih: ``(3 * hid,)``.
        b_hh: ``(3 * hid,)``.
        w1: first layer of the message networks, all channels below each other, ``(mid, hid)``.
        b1: ``(mid,)``.
        w2: their second layers, block-diagonal, ``(channels * hid, mid)``.
        b2: ``(channels * hid,)``.
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


class SweepBuffers:
    """Storage of one pass with its views by level, which another pass may use again.

    Attributes:
        hidden: hidden states, updated in place, ``(num_nodes, hid)``.
        gates: reset gate, complement of the update gate, and candidate, ``(num_nodes, 3 * hid)``.
        candidate: the hidden state's part of the candidate, ``(num_nodes, hid)``.
        mid: first layer of the message networks, ``(num_nodes, mid)``.
        messages: what each node sends, ``(num_nodes, channels * hid)``.
    """

    def __init__(self, schedule: VisitSchedule, hidden: Tensor, mid: int) -> None:
        nodes, hid = hidden.shape
        sizes = list(schedule.level_sizes)
        self.hidden = hidden
        self.gates = hidden.new_empty(nodes, 3 * hid)
        self.candidate = hidden.new_empty(nodes, hid)
        self.mid = hidden.new_empty(nodes, mid)
        self.messages = hidden.new_empty(nodes, schedule.num_channels * hid)
        self.rows = self.messages.view(-1, hid)
        reset_update = self.gates[:, : 2 * hid]
        self.levels = list(
            zip(
                self.gates.split_with_sizes(sizes),
                reset_update.split_with_sizes(sizes),
                reset_update[:, :hid].split_with_sizes(sizes),
                reset_update[:, hid:].split_with_sizes(sizes),
                self.gates[:, 2 * hid :].split_with_sizes(sizes),
                self.candidate.split_with_sizes(sizes),
                self.hidden.split_with_sizes(sizes),
                self.mid.split_with_sizes(sizes),
                self.messages.split_with_sizes(sizes),
                strict=True,
            )
        )
        self.row_blocks = self.rows.split_with_sizes([schedule.num_channels * size for size in schedule.block_sizes])


class _Sweep(torch.autograd.Function):
    """:func:`run` with gradients: the levels once more, in the opposite order."""

    @staticmethod
    def forward(ctx: Any, schedule: VisitSchedule, backward: bool, hidden: Tensor, *weights: Tensor) -> Tensor:
        buffers = SweepBuffers(schedule, hidden.clone(), weights[4].size(0))
        received = torch.cat(run(schedule, buffers, SweepWeights(*weights), backward))
        ctx.schedule, ctx.backward_pass = schedule, backward
        ctx.save_for_backward(
            hidden, buffers.hidden, buffers.gates, buffers.candidate, buffers.mid, buffers.messages, received, *weights
        )
        return buffers.hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor | None, ...]:
        before, after, gates, candidate, mid, messages, received, *rest = ctx.saved_tensors
        weights = SweepWeights(*rest)
        hid = before.size(1)
        reset, update, new = gates.chunk(3, dim=1)
        to_new = update * (1 - new * new)
        # Factors from the gradient of the new state to those of the gates before their nonlinearities.
        factors = torch.stack(
            (to_new * candidate * reset * (1 - reset), (new - before) * update * (1 - update), to_new), dim=1
        )
        grads = _Gradients(ctx.schedule, grad_hidden, mid, messages, factors)
        _run_adjoint(ctx.schedule, grads, weights, ctx.backward_pass)

        grad_gates = grads.gates.flatten(1)
        grad_recurrent = torch.cat((grad_gates[:, : 2 * hid], grad_gates[:, 2 * hid :] * reset), dim=1)
        return (
            None,
            None,
            torch.addmm(grads.hidden * (1 - update), grad_recurrent, weights.w_hh),
            grad_gates.t() @ received,
            grad_recurrent.t() @ before,
            grad_gates.sum(0),
            grad_recurrent.sum(0),
            grads.mid.t() @ after,
            grads.mid.sum(0),
            grads.messages.t() @ mid,
            grads.messages.sum(0),
        )


class _Gradients:
    """Storage of the gradients of one pass, with its views by level."""

    def __init__(
        self, schedule: VisitSchedule, grad_hidden: Tensor, mid: Tensor, messages: Tensor, factors: Tensor
    ) -> None:
        sizes = list(schedule.level_sizes)
        hid = grad_hidden.size(1)
        self.hidden = grad_hidden.clone(memory_format=torch.contiguous_format)
        self.gates = torch.empty_like(factors)
        self.received = torch.zeros_like(self.hidden)
        self.mid = torch.empty_like(mid)
        self.messages = torch.empty_like(messages)
        self.levels = list(
            zip(
                self.messages.split_with_sizes(sizes),
                self.messages.view(-1, hid).split_with_sizes([schedule.num_channels * size for size in sizes]),
                (messages > 0).to(mid.dtype).split_with_sizes(sizes),
                self.mid.split_with_sizes(sizes),
                (mid > 0).to(mid.dtype).split_with_sizes(sizes),
                self.hidden.split_with_sizes(sizes),
                self.hidden.unsqueeze(1).split_with_sizes(sizes),
                factors.split_with_sizes(sizes),
                self.gates.split_with_sizes(sizes),
                self.gates.flatten(1).split_with_sizes(sizes),
                self.received.split_with_sizes(sizes),
                strict=True,
            )
        )
        self.received_blocks = self.received.split_with_sizes(schedule.block_sizes)


def _run_adjoint(schedule: VisitSchedule, grads: _Gradients, weights: SweepWeights, backward: bool) -> None:
    """Fill ``grads`` from the gradient of the hidden states in ``grads.hidden``, last visited level first."""
    tables = schedule.tables(backward=backward, adjoint=True, dtype=grads.hidden.dtype, device=grads.hidden.device)
    rows_of = [schedule.num_channels * size for size in schedule.block_sizes]
    row_blocks = grads.messages.view(-1, grads.hidden.size(1)).split_with_sizes(rows_of)
    step = 1 if backward else -1
    for number in range(len(schedule.blocks))[::step]:
        first, last = schedule.blocks[number]
        received_block = grads.received_blocks[number]
        row_blocks[number].copy_(_outer(grads.received, tables, number))
        for level in range(first, last)[::step]:
            messages, rows, sent, mid, active, hidden, hidden3, factors, gates3, gates, received = grads.levels[level]
            inner = tables.inner[level]
            if inner is not None:
                rows.addmm_(inner, received_block)
            messages.mul_(sent)
            torch.mm(messages, weights.w2, out=mid).mul_(active)
            hidden.addmm_(mid, weights.w1)
            torch.mul(hidden3, factors, out=gates3)
            torch.mm(gates, weights.w_ih, out=received)


def sweep(schedule: VisitSchedule, hidden: Tensor, weights: SweepWeights, *, backward: bool) -> Tensor:
    """Hidden states after one pass over the levels (arXiv:2110.13100, Eq. 3 and 4), differentiable once.

    A node at level l gets ``m``, the weighted sum of what its neighbours of this pass send, and becomes
    ``GRU(m, hidden)``; then it sends ``relu(w2 relu(w1 hidden + b1) + b2)``.

    Args:
        schedule: the order of visits.
        hidden: states before, ``(num_nodes, hid)``, sorted as ``schedule.order`` says; left as it is.
        weights: see there.
        backward: go from the last level to the first, against the edges.
    """
    found: Tensor = _Sweep.apply(schedule, backward, hidden, *weights)
    return found


def run(schedule: VisitSchedule, buffers: SweepBuffers, weights: SweepWeights, backward: bool) -> list[Tensor]:
    """Update ``buffers.hidden`` in place by one pass; returns the summed messages by block, in order of blocks."""
    w_ih, w_hh, b_ih, b_hh, w1, b1, w2, b2 = weights
    hid = buffers.hidden.size(1)
    tables = schedule.tables(backward=backward, adjoint=False, dtype=buffers.hidden.dtype, device=buffers.hidden.device)
    # What does not depend on the messages is done for all nodes at once: a hidden state changes only when visited.
    bias = b_hh + b_ih
    torch.addmm(bias[: 2 * hid], buffers.hidden, w_hh[: 2 * hid].t(), out=buffers.gates[:, : 2 * hid])
    torch.addmm(b_hh[2 * hid :], buffers.hidden, w_hh[2 * hid :].t(), out=buffers.candidate)
    buffers.gates[:, 2 * hid :] = b_ih[2 * hid :]
    buffers.mid.copy_(b1.expand_as(buffers.mid))
    buffers.messages.copy_(b2.expand_as(buffers.messages))
    w_ih, w1, w2 = w_ih.t(), w1.t(), w2.t()

    step = -1 if backward else 1
    summed = [buffers.hidden] * len(schedule.blocks)
    for number in range(len(schedule.blocks))[::step]:
        first, last = schedule.blocks[number]
        rows = buffers.row_blocks[number]
        summed[number] = total = _outer(buffers.rows, tables, number)
        parts = total.split_with_sizes(schedule.level_sizes[first:last])
        for level in range(first, last)[::step]:
            gates, reset_update, reset, update, new, candidate, hidden, mid, messages = buffers.levels[level]
            received, inner = parts[level - first], tables.inner[level]
            if inner is not None:
                received.addmm_(inner, rows)
            gates.addmm_(received, w_ih)
            reset_update.sigmoid_()
            new.addcmul_(reset, candidate).tanh_()
            hidden.lerp_(new, update)
            mid.addmm_(hidden, w1).clamp_min_(0)
            messages.addmm_(mid, w2).clamp_min_(0)
    return summed


def _outer(rows: Tensor, tables: SweepTables, number: int) -> Tensor:
    """Sums over the sources outside of a block, one row per bag."""
    indices, offsets, weights = tables.indices[number], tables.offsets[number], tables.weights[number]
    if not len(indices):
        return rows.new_zeros(len(offsets) - 1, rows.size(1))
    found: Tensor = torch.embedding_bag(rows, indices, offsets, False, 0, False, weights, True)[0]
    return found
