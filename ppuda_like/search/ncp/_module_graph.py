"""Compact graphs of multi-resolution networks."""

from __future__ import annotations

from collections.abc import Sequence

from ppuda_like.graph import ComputationalGraph, GraphBuilder, Shape
from ppuda_like.search.ncp._multi_resolution import MultiResolutionCode
from ppuda_like.search.ncp._multi_resolution_costs import IMAGE_SIZE, NUM_CLASSES

__all__ = ["module_graph"]


def module_graph(code: MultiResolutionCode | Sequence[int]) -> ComputationalGraph:
    """A compact graph of a code's classification network, for predictors that read graphs: 25 to 85 nodes.

    Nodes are the input, both convolutions of the stem, and for each branch of each module what fuses other branches
    to it (``fusion``, or ``transition`` where the branch is new) and its residual blocks (``branch``); then the
    projection and the classifier.  A node holds the weights of all of its convolutions, without batch norms, and their
    FLOPs for 128 x 128 pixels, a multiply-accumulate counting as two: the totals are those of the traced network.

    Args:
        code: a code, or its 27 numbers.

    Raises:
        CodeError: if it is no code.

    Example:
        >>> from ppuda_like.search.ncp import MULTI_RESOLUTION
        >>> graph = module_graph([int(low) for low in MULTI_RESOLUTION.low])
        >>> graph.num_nodes, graph.ops[:7]
        (25, ('input', 'stem', 'stem', 'fusion', 'branch', 'fusion', 'transition'))
    """
    found = code if isinstance(code, MultiResolutionCode) else MultiResolutionCode(tuple(code))
    return _Writer().write(found)


class _Writer:
    def __init__(self) -> None:
        self.nodes = GraphBuilder()

    def add(
        self, op: str, sources: Sequence[int], co: int, side: int, convolutions: Sequence[tuple[int, int, int]]
    ) -> int:
        """A node with convolutions (input channels, kernel size, side of the output) to ``co`` channels."""
        name = f"{op}.{len(self.nodes.ops)}"
        parameters: list[tuple[str, Shape]] = []
        macs = 0
        for number, (ci, kernel, out) in enumerate(convolutions):
            parameters.append((f"{name}.{number}.weight", (co, ci, kernel, kernel)))
            macs += co * ci * (kernel * out) ** 2
        shape = (1, co, side, side)
        return self.nodes.add(op, name, shape, sources=sources, parameters=parameters, flops=2 * macs)

    def write(self, code: MultiResolutionCode) -> ComputationalGraph:
        half, side = IMAGE_SIZE // 2, IMAGE_SIZE // 4
        first, second = code.stem
        image = self.add("input", (), 3, IMAGE_SIZE, ())
        stem = self.add("stem", (image,), first, half, ((3, 3, half),))
        branches = [self.add("stem", (stem,), second, side, ((first, 3, side),))]
        channels: tuple[int, ...] = (second,)
        for _, blocks, now in code.settings:
            branches = self._module(branches, channels, blocks, now)
            channels = now
        low, last = side >> (len(branches) - 1), code.last_channel
        project = self.add("project", branches, last, low, ((sum(channels), 1, low),))
        name = f"classifier.{len(self.nodes.ops)}"
        weight = (NUM_CLASSES, last)
        classifier = self.nodes.add(
            "classifier",
            name,
            (1, NUM_CLASSES),
            sources=(project,),
            parameters=[(f"{name}.weight", weight), (f"{name}.bias", weight[:1])],
            flops=2 * NUM_CLASSES * last,
        )
        return self.nodes.build((classifier,), name="multi-resolution network")

    def _module(
        self, maps: list[int], before: tuple[int, ...], blocks: tuple[int, ...], now: tuple[int, ...]
    ) -> list[int]:
        fused: list[int] = []
        for i, co in enumerate(now):
            side = IMAGE_SIZE // 4 >> i
            if i >= len(before):
                fused.append(self.add("transition", fused[-1:], co, side, ((now[i - 1], 3, side),)))
                continue
            near = [j for j in (i - 1, i, i + 1) if 0 <= j < len(before)]
            # what comes from a lower resolution is convolved there, and then enlarged
            convolutions = [(before[j], 1, side // 2) if j > i else (before[j], 3, side) for j in near]
            fused.append(self.add("fusion", [maps[j] for j in near], co, side, convolutions))
        return [
            self.add("branch", (node,), co, IMAGE_SIZE // 4 >> i, 2 * n * ((co, 3, IMAGE_SIZE // 4 >> i),))
            for i, (node, n, co) in enumerate(zip(fused, blocks, now, strict=True))
        ]
