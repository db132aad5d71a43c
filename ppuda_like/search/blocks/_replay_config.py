"""How blocks that train at paces of their own hand their outputs on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ppuda_like.errors import PpudaLikeError

__all__ = ["ReplayConfig", "ReplayPolicy"]

ReplayPolicy = Literal["least-used-newest", "fifo", "lifo", "uniform", "reference"]


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """The buffers between blocks, and the paces, of asynchronous training (DGL, arXiv:1901.08164, algorithm 2).

    One process plays the workers, one for each block: turn after turn one of them is drawn, in proportion to its rate.
    It reads a batch from the buffer in front of it, learns from it, and writes its own output to the buffer behind it.

    Attributes:
        size: batches that a buffer holds; the next one written takes the place of the oldest.  They lie in the memory
            of the CPU, and each checkpoint has them too.
        policy: which batch is read: of those read least often the newest (``"least-used-newest"``, as the paper has
            it) or the oldest (``"fifo"``); the newest, however often it was read (``"lifo"``); any, at random
            (``"uniform"``); or as the released code does (``"reference"``): the newest of the least used, but the
            oldest of the buffer if that is among them, and of a buffer of one batch always that one.
        max_reuse: uses of a batch at most, where writing it counts as the first: it is read ``max_reuse - 1`` times at
            most.  A worker that finds nothing to read waits for its next turn.  None for no bound.
        order: ``"random"`` draws each turn's worker; ``"round-robin"`` takes them in order.
        rates: pace of each worker against the others; empty for equal ones.
        slow_block: number of a block whose worker is slowed down.
        slow_noise: share of its turns that this worker loses: its slow-down is 1 / (1 - ``slow_noise``).
        warmup: turns that each worker takes at the start, the first block's before the second's and so on.

    Raises:
        PpudaLikeError: if a value is out of range.

    Example:
        >>> ReplayConfig(slow_block=1, slow_noise=0.5).paces(3)
        (1.0, 0.5, 1.0)
    """

    size: int = 50
    policy: ReplayPolicy = "least-used-newest"
    max_reuse: int | None = None
    order: Literal["random", "round-robin"] = "random"
    rates: tuple[float, ...] = ()
    slow_block: int | None = None
    slow_noise: float = 0.0
    warmup: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))
        policies = get_args(ReplayPolicy)
        for key, met, wanted in (
            ("size", self.size >= 1, "at least 1"),
            ("policy", self.policy in policies, f"one of {', '.join(policies)}"),
            ("max_reuse", self.max_reuse is None or self.max_reuse >= 2, "at least 2, as writing counts, or None"),
            ("order", self.order in ("random", "round-robin"), "one of random, round-robin"),
            ("rates", all(0 < rate < math.inf for rate in self.rates), "positive numbers"),
            ("slow_block", self.slow_block is None or self.slow_block >= 0, "the number of a block, from 0, or None"),
            ("slow_noise", 0 <= self.slow_noise < 1, "at least 0 and below 1"),
            ("slow_noise", not self.slow_noise or self.slow_block is not None, "0 without a 'slow_block'"),
            ("warmup", self.warmup >= 0, "0 or more"),
        ):
            if not met:
                raise PpudaLikeError(f"'{key}' of the replay must be {wanted} (got {getattr(self, key)!r})")

    def paces(self, num_blocks: int) -> tuple[float, ...]:
        """Rate of each of so many workers.

        Raises:
            PpudaLikeError: if rates or the slow block are not those of so many blocks.
        """
        if self.rates and len(self.rates) != num_blocks:
            raise PpudaLikeError(f"{num_blocks} blocks need as many 'rates' of the replay (got {len(self.rates)})")
        if self.slow_block is not None and self.slow_block >= num_blocks:
            raise PpudaLikeError(f"'slow_block' must be below the {num_blocks} blocks (got {self.slow_block})")
        rates = list(self.rates) if self.rates else [1.0] * num_blocks
        if self.slow_block is not None:
            rates[self.slow_block] *= 1 - self.slow_noise
        return tuple(rates)

    def to_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        return {**asdict(self), "rates": list(self.rates)}
