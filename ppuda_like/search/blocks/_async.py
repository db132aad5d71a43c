"""Blocks that train at paces of their own, with buffers in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from ppuda_like._seeds import derived_seed
from ppuda_like.search.blocks._driver import Driver, Job, Metrics
from ppuda_like.search.blocks._replay import ReplayRing, ReplayStatistics
from ppuda_like.search.blocks._replay_config import ReplayConfig

__all__ = ["Async", "worker_of_turn"]


def worker_of_turn(turn: int, config: ReplayConfig, num_blocks: int, seed: int) -> int:
    """Which worker has a turn, from 0: a function of these alone.

    Example:
        >>> [worker_of_turn(turn, ReplayConfig(), 4, seed=0) for turn in range(8)]
        [0, 0, 1, 1, 2, 2, 3, 3]
    """
    if turn < config.warmup * num_blocks:
        return turn // config.warmup
    if config.order == "round-robin":
        return (turn - config.warmup * num_blocks) % num_blocks
    generator = torch.Generator().manual_seed(derived_seed(seed, "turn", turn))
    return int(torch.multinomial(torch.tensor(config.paces(num_blocks)).double(), 1, generator=generator))


class Async(Driver):
    """One process that plays a worker for each block (arXiv:1901.08164, algorithm 2).

    A step of the run is done when every block has made it.  A block that has made all its steps runs on in evaluation,
    for those behind that have not.
    """

    evaluates = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        config = job.config
        self._config = config.replay
        self._config.paces(len(self.learners))  # for its checks
        self._rings = [ReplayRing(self._config) for _ in self.learners[1:]]
        self._turn = 0
        self._done = [0] * len(self.learners)  # steps of each block
        self._fed = 0  # batches that the first block has read
        self._total = config.training.epochs * job.stream.per_epoch

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Take turns until each block has done some more steps."""
        job = self.job
        job.model.train()
        job.model.start()  # for the check of the mode
        batches = job.stream.batches(count(self._fed), job.config.training.workers)
        done = min(self._done)
        while done < steps.stop:
            metrics = self._take_turn(batches)
            before, done = done, min(self._done)
            yield done - before, [metrics] if metrics else []

    def _take_turn(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Metrics:
        job, seed = self.job, self.job.config.training.seed
        index = worker_of_turn(self._turn, self._config, len(self.learners), seed)
        generator = torch.Generator().manual_seed(derived_seed(seed, "replay", self._turn))
        self._turn += 1
        behind = self._rings[index] if index < len(self._rings) else None
        learns = self._done[index] < self._total
        if not learns and behind is None:
            return {}
        if index == 0:
            frontier, labels = job.batch(*next(batches))
            self._fed += 1
        else:
            read = self._rings[index - 1].get(generator)
            if read is None:
                return {}
            device = next(job.model.parameters()).device
            frontier, labels = read[0].to(device), read[1].to(device)
        learner = self.learners[index]
        metrics: Metrics = {}
        if learns:
            after, metrics = learner.step(frontier, labels, self._done[index])
            self._done[index] += 1
        else:
            after = learner.frozen(frontier)
        if behind is not None:
            behind.add(after, labels)
        return learner.named(metrics)

    @property
    def replay(self) -> tuple[ReplayStatistics, ...]:
        """What happened in the buffer behind each block but the last."""
        return tuple([ring.statistics for ring in self._rings])

    def state_dict(self) -> dict[str, Any]:
        """Turns, steps, and all that the buffers hold."""
        rings = [ring.state_dict() for ring in self._rings]
        return {"turn": self._turn, "done": list(self._done), "fed": self._fed, "rings": rings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._turn, self._done, self._fed = state["turn"], list(state["done"]), state["fed"]
        for ring, found in zip(self._rings, state["rings"], strict=True):
            ring.load_state_dict(found)
