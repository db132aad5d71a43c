"""One process per block."""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import multiprocessing

from ppuda_like._memory import keep_freed_memory
from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._channel import Channel
from ppuda_like.search.blocks._driver import Driver, Metrics
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.vision import ImageStream

__all__ = ["Parallel", "Workers"]

_PATIENCE = 0.5  # seconds between looks at whether all processes live
_LEAVE = 5.0  # seconds that a process has to end when asked to


class Parallel(Driver):
    """As in sync, with a process for each block."""

    _workers: Workers | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The processes live as long as this."""
        with Workers(self.learners, self.job.stream, self.job.config) as self._workers:
            yield
        self._workers = None

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps."""
        assert self._workers is not None
        self.job.model.train()
        self.job.model.start()  # for the check of the mode
        yield len(steps), list(self._workers.run(steps))


class Workers:
    """Processes that train one block each; what a block computes goes through a bounded queue to the next.

    A block's t-th input was computed by the block before ahead of its own t-th update, and each step draws from a
    random stream of its own: the weights do not depend on which process is ahead.

    Args:
        learners: of the blocks; :meth:`run` brings them to the state of their processes.
        stream: the images.
        config: the run.
    """

    def __init__(self, learners: Sequence[Learner], stream: ImageStream, config: BlockTrainConfig) -> None:
        context = _context()
        self._learners = learners
        self._results: Any = context.Queue()
        self._orders: list[Any] = [context.SimpleQueue() for _ in learners]
        # Kept here: what a channel is made of is gone with its last owner, before the processes take it up.
        self._between = [Channel(context, config.queue) for _ in learners[1:]]
        between = self._between
        threads = max(1, torch.get_num_threads() // len(learners))
        self._processes = [
            context.Process(
                target=_work,
                args=(
                    _pack(learner, stream if index == 0 else None),
                    self._orders[index],
                    between[index - 1] if index else None,
                    between[index] if index < len(between) else None,
                    self._results,
                    threads,
                ),
                daemon=True,
                name=f"block {index}",
            )
            for index, learner in enumerate(learners)
        ]

    def __enter__(self) -> Workers:
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for orders in self._orders:
                orders.put(None)
            for process in self._processes:
                process.join(_LEAVE)
        for process in self._processes:
            if process.is_alive():
                process.terminate()
            process.join()
        self._results.close()
        self._results.cancel_join_thread()

    def run(self, steps: range) -> Iterator[dict[str, float]]:
        """Train for some steps: the metrics of each.

        Raises:
            PpudaLikeError: with the error of a process that failed, or ended.
        """
        for orders in self._orders:
            orders.put((steps.start, steps.stop))
        found: dict[int, list[dict[str, float]]] = {}
        while len(found) < len(self._processes):
            try:
                index, error, result = self._results.get(timeout=_PATIENCE)
            except queue.Empty:
                self._check(found)
                continue
            if error is not None:
                raise PpudaLikeError(
                    f"the process of block {index} failed in the steps from {steps.start}: {error}; the last "
                    "checkpoint is untouched, the same call resumes from it"
                )
            state, found[index] = result
            self._learners[index].load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        for number in range(len(steps)):
            yield {f"{key}_{index}": value for index in sorted(found) for key, value in found[index][number].items()}

    def _check(self, found: dict[int, list[dict[str, float]]]) -> None:
        """See that every process from which something is to come still lives."""
        for index, process in enumerate(self._processes):
            if index not in found and not process.is_alive() and self._results.empty():
                code = process.exitcode or 0
                how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                raise PpudaLikeError(
                    f"the process of block {index} ended {how}; the last checkpoint is untouched, the same call "
                    "resumes from it (where memory ran out, lower 'batch_size' or 'queue')"
                )


def _context() -> Any:
    """How processes start: forked off a server that has imported the package once, or anew where there is none."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _pack(learner: Learner, stream: ImageStream | None) -> tuple[Any, ...]:
    """What a process needs to make its learner anew; copies, as processes would share the memory of the parameters."""
    buffer = io.BytesIO()
    torch.save(learner.state_dict(), buffer)
    modules = pickle.dumps((learner.block, learner.net))
    return learner.index, modules, learner.config, learner.per_epoch, learner.num_classes, buffer.getvalue(), stream


def _work(
    packed: tuple[Any, ...], orders: Any, before: Channel | None, behind: Channel | None, results: Any, threads: int
) -> None:
    """The life of a process."""
    # Ctrl-C is for the run to answer, which still needs the steps under way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed_memory()
    index, modules, config, per_epoch, num_classes, state, stream = packed
    try:
        block, auxiliary = pickle.loads(modules)
        learner = Learner(index, block, auxiliary, config, per_epoch, num_classes)
        learner.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        kind = next(block.parameters()).dtype
        while (order := orders.get()) is not None:
            found = []
            numbers = range(*order)
            if stream is not None:
                batches = stream.batches(numbers, config.training.workers)
            for number in numbers:
                if stream is not None:
                    images, labels = next(batches)
                    frontier = Frontier((), (images.to(kind),))
                else:
                    assert before is not None
                    frontier, labels = before.get()
                frontier, metrics = learner.step(frontier, labels, number)
                found.append(metrics)
                if behind is not None:
                    behind.put(frontier, labels)
                if before is not None:
                    before.done()
            buffer = io.BytesIO()
            torch.save(learner.state_dict(), buffer)
            results.put((index, None, (buffer.getvalue(), found)))
    except Exception as error:  # of whatever kind, the run has to hear of it
        results.put((index, f"{type(error).__name__}: {error}", None))
        results.close()
        results.join_thread()
        os._exit(1)  # without what a neighbour might wait for
