"""A bounded queue of batches between two processes, through memory that both see."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ppuda_like.search.blocks._frontier import Frontier

__all__ = ["Channel", "joined", "taken_apart"]

Form = tuple[int, tuple[Any, ...], tuple[tuple[tuple[int, ...], torch.dtype], ...]]


def taken_apart(frontier: Frontier, labels: Tensor) -> tuple[list[Tensor], Form]:
    """The tensors of a batch, and what else is needed to put it together: the rest, shapes and types."""
    passed = [one for one in frontier.passed if isinstance(one, Tensor)]
    tensors = [*frontier.values, *passed, labels]
    rest = tuple([None if isinstance(one, Tensor) else (one,) for one in frontier.passed])
    return tensors, (len(frontier.values), rest, tuple([(tuple(one.shape), one.dtype) for one in tensors]))


def joined(tensors: list[Tensor], form: Form) -> tuple[Frontier, Tensor]:
    """The batch that :func:`taken_apart` took."""
    width, rest, _ = form
    inner = iter(tensors[width:-1])
    return Frontier(tuple(tensors[:width]), tuple([next(inner) if one is None else one[0] for one in rest])), tensors[
        -1
    ]


class Channel:
    """A queue of so many places in shared memory, which are written and read where they are.

    A queue of torch's makes new shared memory for each tensor, and its reader connects to the writer for each; here
    that is so only where a place is used for the first time, or for another shape.  One process writes, one reads, both
    in order.

    Args:
        context: of the processes.
        size: number of places.
    """

    def __init__(self, context: Any, size: int) -> None:
        self._free = context.Semaphore(size)
        self._full = context.Semaphore(0)
        self._new = context.SimpleQueue()  # places that were made anew, in the order of their use
        self._versions = torch.zeros(size, dtype=torch.int64)  # how often each place was made
        self._versions.share_memory_()  # type: ignore[no-untyped-call]
        # Of this process alone:
        self._places: list[tuple[list[Tensor], Form] | None] = [None] * size
        self._known = [0] * size
        self._count = 0

    def put(self, frontier: Frontier, labels: Tensor) -> None:
        """Write a batch, when there is room."""
        tensors, form = taken_apart(frontier, labels)
        self._free.acquire()
        index = self._count % len(self._places)
        place = self._places[index]
        if place is None or place[1] != form:
            place = self._places[index] = [torch.empty_like(one) for one in tensors], form
            for one in place[0]:
                one.share_memory_()  # type: ignore[no-untyped-call]
            self._versions[index] += 1
            self._new.put(place)
        for target, tensor in zip(place[0], tensors, strict=True):
            target.copy_(tensor)
        self._count += 1
        self._full.release()

    def get(self) -> tuple[Frontier, Tensor]:
        """The next batch, when there is one; it stays as it is until :meth:`done`."""
        self._full.acquire()
        index = self._count % len(self._places)
        if int(self._versions[index]) != self._known[index]:
            self._places[index] = self._new.get()
            self._known[index] = int(self._versions[index])
        place = self._places[index]
        assert place is not None
        return joined(*place)

    def done(self) -> None:
        """Let the batch that was read last be overwritten."""
        self._count += 1
        self._free.release()
