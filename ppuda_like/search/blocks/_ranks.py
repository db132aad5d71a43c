"""Blocks on the processes of torch's process group, which may be on several machines."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ppuda_like._ranks import Ranks, ranks
from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._channel import Form, joined, taken_apart
from ppuda_like.search.blocks._driver import Driver, Job, Metrics
from ppuda_like.search.blocks._frontier import Frontier

__all__ = ["OnRanks", "shared"]


class OnRanks(Driver):
    """As in sync, with the blocks shared out to the processes of a group, a run of them for each.

    What a block computes goes to the next process; no more batches are on their way than the run's ``queue``.  After
    each part of the run all processes get the weights of all.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._group = ranks()
        count, world = len(self.learners), self._group.world
        if world == 1:
            raise PpudaLikeError(
                "'ranks' shares blocks out to the processes of a process group, and here is none; start the program "
                "with torchrun, or take 'parallel', which starts processes of its own"
            )
        if world > count:
            raise PpudaLikeError(
                f"{world} processes cannot share {count} blocks; start {count} at most, or cut into more"
            )
        first, last = (rank * count // world for rank in (self._group.rank, self._group.rank + 1))
        self._own = self.learners[first:last]
        rank = self._group.rank
        device = next(job.model.parameters()).device
        self._before = _Source(rank - 1, device) if rank else None
        self._behind = _Sink(rank + 1, device, job.config.queue) if rank + 1 < world else None

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps; all processes call this alike, and get the metrics of all."""
        found: list[Metrics] = []
        for step, frontier, labels in self._inputs(steps):
            metrics: Metrics = {}
            for learner in self._own:
                frontier, one = learner.step(frontier, labels, step)
                metrics |= learner.named(one)
            found.append(metrics)
            if self._behind is not None:
                self._behind.put(frontier, labels)
        if self._behind is not None:
            self._behind.wait()
        states = {}
        for learner in self._own:
            buffer = io.BytesIO()
            torch.save(learner.state_dict(), buffer)
            states[learner.index] = buffer.getvalue()
        with _of("another rank"):
            gathered = self._group.gather((states, found))
        for rank, (theirs, _) in enumerate(gathered):
            for index, state in theirs.items():
                if rank != self._group.rank:
                    self.learners[index].load_state_dict(torch.load(io.BytesIO(state), "cpu", weights_only=True))
        parts = zip(*(metrics for _, metrics in gathered), strict=True)
        yield len(steps), [{key: value for one in part for key, value in one.items()} for part in parts]

    def _inputs(self, steps: range) -> Iterator[tuple[int, Frontier, Tensor]]:
        if self._before is None:
            yield from self._batches(steps)
            return
        self.job.model.train()
        self.job.model.start()  # for the check of the mode
        for step in steps:
            yield step, *self._before.get()


class _Sink:
    """Where batches go to: another rank."""

    def __init__(self, rank: int, device: torch.device, queue: int) -> None:
        self._rank, self._device, self._queue = rank, device, queue
        self._form: Form | None = None
        self._under_way: deque[tuple[list[Any], list[Tensor]]] = deque()

    def put(self, frontier: Frontier, labels: Tensor) -> None:
        """Send a batch, after the first of those on their way has arrived if there are too many."""
        tensors, form = taken_apart(frontier, labels)
        tensors = [tensor.contiguous() for tensor in tensors]
        # How to put a batch together goes ahead of it where that is another than before.
        told = b"" if form == self._form else pickle.dumps(form)
        self._form = form
        header = torch.tensor([len(told)], device=self._device)
        with _of(f"rank {self._rank}"):
            if len(self._under_way) == self._queue:
                self._arrived()
            if told:
                text = torch.frombuffer(bytearray(told), dtype=torch.uint8).to(self._device)
                tensors = [text, *tensors]
            tensors = [header, *tensors]
            self._under_way.append(([dist.isend(tensor, self._rank) for tensor in tensors], tensors))

    def wait(self) -> None:
        """Return when all have arrived."""
        with _of(f"rank {self._rank}"):
            while self._under_way:
                self._arrived()

    def _arrived(self) -> None:
        works, _ = self._under_way.popleft()
        for work in works:
            work.wait()


class _Source:
    """Where batches come from: another rank."""

    def __init__(self, rank: int, device: torch.device) -> None:
        self._rank, self._device = rank, device
        self._form: Form | None = None

    def get(self) -> tuple[Frontier, Tensor]:
        """The next batch."""
        with _of(f"rank {self._rank}"):
            length = int(self._received((1,), torch.int64))
            if length:
                # Of a process of the same run, which runs the same code as this one.
                self._form = pickle.loads(bytes(self._received((length,), torch.uint8).tolist()))
            assert self._form is not None
            return joined([self._received(shape, kind) for shape, kind in self._form[2]], self._form)

    def _received(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        tensor = torch.empty(shape, dtype=kind, device=self._device)
        dist.recv(tensor, self._rank)
        return tensor


@contextmanager
def _of(who: str) -> Iterator[None]:
    """Name the process on the other side in an error of torch, which raises nothing narrower."""
    try:
        yield
    except RuntimeError as error:
        raise PpudaLikeError(
            f"the process of {who} ended, or cannot be reached ({error}); what it printed tells why; the last "
            "checkpoint is untouched, the same command resumes from it"
        ) from error


def shared(group: Ranks, value: Any) -> Any:
    """What the first process passed."""
    with _of("rank 0"):
        return group.gather(value if group.first else None)[0]
