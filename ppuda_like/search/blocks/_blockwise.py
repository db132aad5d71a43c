"""A network as a chain of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import Partition, Shape
from ppuda_like.search.blocks._frontier import Frontier

__all__ = ["Block", "BlockwiseModel"]


class Block(nn.Module):
    """One block of a network.

    Args:
        body: takes the values, and then what is passed, that cross into the block, as positional arguments; returns
            those that cross out of it likewise, as a tuple, or the network's output if ``width`` is None.
        width: number of values that cross out of the block; None for the last one.
    """

    def __init__(self, body: nn.Module, width: int | None) -> None:
        super().__init__()
        self.body = body
        self.width = width

    def forward(self, frontier: Frontier) -> Any:
        """The frontier behind the block, or what the network returns if it is the last one."""
        found = self.body(*frontier.values, *frontier.passed)
        return found if self.width is None else Frontier(found[: self.width], found[self.width :])


class BlockwiseModel(nn.Module):
    """A network cut into blocks, which shares its parameters and buffers; :func:`split` makes it.

    Attributes:
        blocks: the blocks, in order.
        partition: what the network was cut by.
        only_mode: whether the network trained (True) or evaluated (False) when it was cut, if it computes something
            else in the other mode; None where the blocks do for both.
    """

    blocks: nn.ModuleList

    def __init__(self, blocks: list[Block], partition: Partition, only_mode: bool | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.partition = partition
        self.only_mode = only_mode

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def shapes(self) -> tuple[tuple[Shape, ...], ...]:
        """Shapes of the values of each frontier, the batch left out."""
        graph = self.partition.graph
        return tuple(tuple([graph.out_shapes[i][1:] for i in frontier]) for frontier in self.partition.frontiers)

    def forward(self, *inputs: Any, detach: bool = False) -> Any:
        """What the network returns.

        Args:
            inputs: those of the network.
            detach: whether gradients end at the boundaries between blocks.
        """
        frontier = self.start(*inputs)
        *inner, last = self.blocks
        for block in inner:
            frontier = block(frontier)
            if detach:
                frontier = frontier.detached()
        return last(frontier)

    def start(self, *inputs: Any) -> Frontier:
        """What the first block takes.

        Raises:
            GraphError: if the network is in a mode that the blocks do not do for.
        """
        if self.only_mode is not None and self.training != self.only_mode:
            was, now = ("training", "evaluation") if self.only_mode else ("evaluation", "training")
            raise GraphError(
                f"the network computes something else in {now} mode, but it was split in {was} mode; call "
                f".{'eval' if self.only_mode else 'train'}() first, then trace and split it anew for that mode"
            )
        return Frontier((), inputs)

    def frontiers(self, *inputs: Any) -> Iterator[Frontier]:
        """The frontier behind each block but the last one, each detached before the next block runs."""
        frontier = self.start(*inputs)
        for block in self.blocks[:-1]:
            frontier = block(frontier).detached()
            yield frontier
