"""The processes of a run on several devices or machines, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["ALONE", "Ranks", "process_group", "ranks"]

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: its number.
        world: how many there are; with one, nothing is communicated.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what the run leaves."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place; the same in each of them, bit for bit."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """What each process passed, by rank."""
        if self.world == 1:
            return [value]
        found: list[T | None] = [None] * self.world
        dist.all_gather_object(found, value)
        return cast(list[T], found)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; each of them learns the same."""
        return any(self.gather(flag)) if self.world > 1 else flag

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over all processes, in place; a gradient that no process has stays None.

        In one message, and without hooks in the backward pass: a process that has no gradient at all takes part too.
        """
        if self.world == 1:
            return
        device = parameters[0].device
        used = self.sum(torch.tensor([float(p.grad is not None) for p in parameters], device=device))
        chosen = [p for p, count in zip(parameters, used.tolist(), strict=True) if count]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in chosen]
        together = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for parameter, part in zip(chosen, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.world > 1:
            dist.barrier()


ALONE = Ranks()


def ranks() -> Ranks:
    """This process in torch's process group; alone if there is none."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return ALONE


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """The process group that the variables of ``torchrun`` describe; none where there are none.

    Args:
        device: where the run computes; of ``"cuda"``, each process of a machine gets its own.

    Yields:
        The device of this process.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield device
        return
    kind = torch.device(device).type
    if kind == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()
