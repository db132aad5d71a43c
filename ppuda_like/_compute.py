"""Where runs compute, in which arithmetic, and from which random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from ppuda_like.errors import PpudaLikeError

__all__ = ["Amp", "autocast", "available_device", "one_thread", "random_state"]

Amp = Literal["none", "bf16", "fp16"]
"""Arithmetic of forward passes: single precision, or mixed with bfloat16 or float16."""

_HALF: dict[Amp, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def available_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        PpudaLikeError: if it is a CUDA device and there is none.
    """
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PpudaLikeError(f"torch finds no CUDA device for device {name!r}; take 'cpu'")
    return device


def autocast(device: torch.device, amp: Amp) -> torch.autocast:
    """The context of a forward pass."""
    return torch.autocast(device.type, dtype=_HALF.get(amp), enabled=amp != "none")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let each operation of torch, in all threads of this process, run on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random streams of torch on the CPU and the device; afterwards they are as before."""
    on_cuda: list[int] = []
    if device.type == "cuda":
        on_cuda.append(torch.cuda.current_device() if device.index is None else device.index)
    with torch.random.fork_rng(devices=on_cuda):
        torch.default_generator.manual_seed(seed)
        for index in on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
