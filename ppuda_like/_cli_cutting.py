"""What the commands of blocks share: networks by name, where they are cut, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import nn

from ppuda_like._factories import build_for_images, build_model
from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import ComputationalGraph, Partition, Unit, trace, units
from ppuda_like.search.blocks import AUXILIARIES, BlockSearchResult, Decoded, ending_costs, pipeline, sedona_net

__all__ = ["Cutting", "Model", "blocks_table", "decoded_table", "network", "shape_text", "text_table", "traced"]

_SEDONA = "sedona:"
_FEATURES = 512  # of the light auxiliary networks, times feat_mult
_AUXILIARY = "mlp-sr"  # where none is named
_USUAL = (2, 3, 4, 8, 0)
_WITH_FEATURES = ("light", "predsim")

Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """Where the network is cut, and what gives the blocks their losses."""

    num_blocks: int = 2
    """Number of blocks; with the file of a search, 0 for all cuts that are more likely than not."""
    cut: str = "balanced"
    """balanced: the heaviest block as light as can be; uniform: equal counts of units; or the .npz file of a search."""
    at: tuple[str, ...] = ()
    """In the place of both, the modules that the blocks but the last one end with."""
    cost: Literal["macs", "parameters", "activation_bytes"] = "macs"
    """What is balanced."""
    balance: float = 0.0
    """With the file of a search, the score that all the network's cost in the heaviest block is worth; may be inf."""
    max_width: int = 1
    """Values that may cross a cut at most; auxiliary networks read the newest of them."""
    tied: Literal["refuse", "copy"] = "refuse"
    """Whether blocks that share parameters get a copy each."""
    auxiliary: tuple[str, ...] = ()
    """One auxiliary network for all cuts, or one for each; by default those of the search, else mlp-sr."""
    feat_mult: int = 1
    """Width of a network of SEDONA: 1 as for CIFAR-10, 4 as for ImageNet."""

    def partition(self, graph: ComputationalGraph, num_classes: int) -> tuple[Partition, tuple[str, ...]]:
        """The blocks of a graph, and the name of the auxiliary network at each boundary."""
        options: dict[str, Any] = {"max_width": self.max_width, "tied": self.tied, "reads": "newest"}
        searched: tuple[str, ...] = ()
        if self.at:
            found = Partition.at(graph, self.at, **options)
        elif self.cut == "uniform":
            found = Partition.uniform(graph, self.num_blocks, **options)
        elif self.cut == "balanced":
            among = units(graph, tied=self.tied)
            ending: list[int] | None = None
            if len(self.auxiliary) <= 1:  # else what stands where depends on the cuts
                [name] = self.auxiliary or (_AUXILIARY,)
                ending = ending_costs(among, name, num_classes, self.options([name]), self.cost)
            found = Partition.balanced(graph, self.num_blocks, self.cost, ending=ending, among=among, **options)
        elif Path(self.cut).suffix == ".npz":
            among = units(graph, tied=self.tied)
            decoded = self.decoded(Path(self.cut), graph, among, self.num_blocks)
            found = Partition.at_units(graph, decoded.boundaries, among=among, **options)
            searched = decoded.auxiliaries
        else:
            raise PpudaLikeError(f"'--cut' must be balanced, uniform, or an .npz file of a search (got '{self.cut}')")
        return found, self.names(found.num_blocks - 1, searched)

    def decoded(self, path: Path, graph: ComputationalGraph, among: Sequence[Unit], num_blocks: int) -> Decoded:
        """The blocks that a search of this network stands for."""
        found = BlockSearchResult.load(path)
        if len(found.alpha) + 1 != len(among):
            raise PpudaLikeError(
                f"'{path}' is a search of a network of {len(found.alpha) + 1} units, but this one has {len(among)}; "
                "see them: ppuda-like blocks cuts MODEL"
            )
        costs: list[float] | None = None
        if self.balance:
            each = Partition.at_units(graph, range(len(among) - 1), among=among, tied=self.tied)
            absolute = [getattr(one, self.cost) for one in each.costs()]
            costs = [one / sum(absolute) for one in absolute]
        return found.decode(num_blocks, costs=costs, weight=self.balance)

    def names(self, boundaries: int, searched: tuple[str, ...]) -> tuple[str, ...]:
        """Of the auxiliary networks at that many boundaries."""
        names = self.auxiliary or searched or (_AUXILIARY,)
        if not boundaries or (len(names) == 1 and not (searched and not self.auxiliary)):
            return names[:1] * boundaries
        if len(names) != boundaries:
            raise PpudaLikeError(
                f"'--auxiliary' takes one name, or one for each of {boundaries} cuts (got {len(names)}); choose from "
                f"{', '.join(AUXILIARIES)}"
            )
        return names

    def options(self, names: Sequence[str]) -> dict[str, Any]:
        """Of auxiliary networks: theirs grow with the network of SEDONA."""
        wide = self.feat_mult > 1 and bool(names) and all(name.startswith(_WITH_FEATURES) for name in names)
        return {"features": _FEATURES * self.feat_mult} if wide else {}


def network(spec: str, num_classes: int, image_size: int, feat_mult: int, seed: int) -> nn.Module:
    """A network to be trained on images of a size."""
    if spec.startswith(_SEDONA):
        name = spec.removeprefix(_SEDONA)
        return sedona_net(name, num_classes, image_size=image_size, feat_mult=feat_mult, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_for_images(spec, num_classes, image_size)


def traced(
    spec: str, cutting: Cutting, input_shape: tuple[int, ...] | None, num_classes: int
) -> tuple[ComputationalGraph, int]:
    """The graph of a network as it is, and the number of classes its auxiliary networks tell apart."""
    if spec.startswith(_SEDONA):
        narrow = cutting.feat_mult == 1
        shape = input_shape or ((1, 3, 32, 32) if narrow else (1, 3, 224, 224))
        num_classes = 10 if narrow else num_classes
        with torch.device("meta"):
            model: nn.Module = network(spec, num_classes, shape[-1], cutting.feat_mult, 0)
        return trace(model.eval(), shape), num_classes
    return trace(build_model(spec).eval(), input_shape), num_classes


def blocks_table(partition: Partition, names: Sequence[str], num_classes: int, options: dict[str, Any]) -> str:
    """What each block costs with its auxiliary network."""
    graph = partition.graph
    costs = pipeline(partition, names, num_classes, options)
    rows = [("block", "ends with", "auxiliary network", "hands on", "parameters", "MACs", "of the network")]
    for i, (block, share) in enumerate(zip(costs.blocks, costs.shares(), strict=True)):
        frontier = partition.frontiers[i] if i < len(names) else ()
        last = graph.names[frontier[-1]] if frontier else "the output"
        handed = " + ".join(shape_text(graph.out_shapes[value]) for value in frontier)
        name = names[i] if frontier else "its own head"
        row = (str(i), last, name, handed, f"{block.parameters:,}", f"{block.macs:,}", f"{100 * share:.1f} %")
        rows.append(row)
    batch = graph.out_shapes[graph.inputs[0]][0]
    return (
        f"{text_table(rows)}\nideal speed-up of a pipeline {costs.ideal_speedup():.2f}; auxiliary networks add "
        f"{100 * costs.overhead():.1f} % of multiply-accumulates (for a batch of {batch})"
    )


def decoded_table(
    graph: ComputationalGraph, search: Path, numbers: Sequence[int] | None, cutting: Cutting, num_classes: int
) -> str:
    """The blocks that a search stands for, for each number of blocks; by default the usual ones."""
    among = units(graph)
    numbers = [number for number in _USUAL if number <= len(among)] if numbers is None else numbers
    rows = [("blocks", "end after units", "auxiliary networks", "margin", "ties", "ideal speed-up", "heaviest")]
    for num_blocks in numbers:
        found = cutting.decoded(search, graph, among, num_blocks)
        names = cutting.names(found.num_blocks - 1, found.auxiliaries)
        partition = Partition.at_units(graph, found.boundaries, among=among)
        costs = pipeline(partition, names, num_classes, cutting.options(names))
        shares = costs.shares()
        rows.append(
            (
                f"{found.num_blocks}" + ("" if num_blocks else " (free)"),
                " ".join(map(str, found.boundaries)),
                " ".join(names),
                f"{found.margin:.2g}",
                " ".join(map(str, found.ties)),
                f"{costs.ideal_speedup():.2f}",
                f"{shares.index(max(shares))}, {100 * max(shares):.1f} %",
            )
        )
    return text_table(rows)


def shape_text(shape: Sequence[int]) -> str:
    """A shape, the batch left out."""
    return " x ".join(map(str, shape[1:]))


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
