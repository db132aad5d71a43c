"""A ring of batches that are written by one block and read, perhaps several times, by the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._replay_config import ReplayConfig

__all__ = ["ReplayRing", "ReplayStatistics"]


@dataclass(frozen=True, kw_only=True)
class ReplayStatistics:
    """What happened in the buffer between two blocks.

    Attributes:
        written: batches that the block before wrote.
        read: batches that the block behind read.
        reread: how many of these it had read before.
        lost: batches overwritten before they were read.
        waits: turns of the block behind that found nothing to read.
        mean_age: mean over the reads of the number of batches written since the one read: 0 for always the newest.
        max_age: the largest such number.
    """

    written: int = 0
    read: int = 0
    reread: int = 0
    lost: int = 0
    waits: int = 0
    mean_age: float = 0.0
    max_age: int = 0


@dataclass
class _Slot:
    number: int  # of the batch, by order of writing
    reads: int
    batch: tuple[Frontier, Tensor]


class ReplayRing:
    """The buffer between two blocks; its batches lie in the memory of the CPU.

    Args:
        config: size, policy and reuse.

    Example:
        >>> ring = ReplayRing(ReplayConfig(size=3))
        >>> for value in range(4):
        ...     ring.add(Frontier((torch.tensor([value]),)), torch.tensor([0]))
        >>> generator = torch.Generator()
        >>> [int(ring.get(generator)[0].newest) for _ in range(4)]
        [3, 2, 1, 3]
        >>> ring.statistics.lost, ring.statistics.reread, ring.statistics.max_age
        (1, 1, 2)
    """

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        self._slots: list[_Slot] = []
        self._counts = {"written": 0, "read": 0, "reread": 0, "lost": 0, "waits": 0, "ages": 0, "max_age": 0}

    @property
    def statistics(self) -> ReplayStatistics:
        """What happened so far."""
        counts = dict(self._counts)
        mean = counts.pop("ages") / max(1, counts["read"])
        return ReplayStatistics(**counts, mean_age=mean)

    def add(self, frontier: Frontier, labels: Tensor) -> None:
        """Write a batch, in place of the oldest if there is no more room."""
        counts = self._counts
        slot = _Slot(counts["written"], 0, (frontier.to("cpu"), labels.cpu()))
        where = counts["written"] % self.config.size
        if where < len(self._slots):
            counts["lost"] += not self._slots[where].reads
            self._slots[where] = slot
        else:
            self._slots.append(slot)
        counts["written"] += 1

    def get(self, generator: torch.Generator) -> tuple[Frontier, Tensor] | None:
        """Read a batch by the policy; None if there is none that may be read, which counts as a wait.

        Args:
            generator: of the draws of the policy ``"uniform"``, on the CPU.
        """
        slot = self._chosen(generator)
        counts = self._counts
        if slot is None:
            counts["waits"] += 1
            return None
        age = counts["written"] - 1 - slot.number
        counts["read"] += 1
        counts["reread"] += slot.reads > 0
        counts["ages"] += age
        counts["max_age"] = max(counts["max_age"], age)
        slot.reads += 1
        return slot.batch

    def state_dict(self) -> dict[str, Any]:
        """All that changes, in plain containers."""
        slots = [(slot.number, slot.reads, tuple(slot.batch[0]), slot.batch[1]) for slot in self._slots]
        return {"slots": slots, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._slots = [
            _Slot(number, reads, (Frontier(*frontier), labels)) for number, reads, frontier, labels in state["slots"]
        ]
        self._counts = dict(state["counts"])

    def _chosen(self, generator: torch.Generator) -> _Slot | None:
        config = self.config
        reference = config.policy == "reference"
        if reference and config.size == 1:  # of a single batch the released code counts no uses
            return self._slots[0] if self._slots else None
        most = config.max_reuse
        usable = sorted((s for s in self._slots if most is None or s.reads + 1 < most), key=lambda slot: slot.number)
        if not usable:
            return None
        if config.policy == "uniform":
            return usable[int(torch.randint(len(usable), (), generator=generator))]
        if config.policy == "lifo":
            return usable[-1]
        fewest = min(slot.reads for slot in usable)
        least = [slot for slot in usable if slot.reads == fewest]
        if config.policy == "fifo":
            return least[0]
        if reference and len(self._slots) == config.size and least[0].number == self._counts["written"] - config.size:
            return least[0]  # the slot that is written next passes for the newest in the released code
        return least[-1]
