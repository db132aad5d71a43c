"""The command ``ppuda-like blocks``: parse, call, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ppuda_like._cli_blocks_train import Eval, Search, Train
from ppuda_like._cli_cutting import Cutting, Model, blocks_table, decoded_table, shape_text, text_table, traced
from ppuda_like._files import replacing
from ppuda_like.graph import Partition, all_cuts, draw, units

__all__ = ["Blocks"]


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Show the units of a network, where it may be cut, and what blocks of it cost."""

    model: Model
    """A torchvision name, package.module:factory, file.py:factory, or sedona:NAME for a network of SEDONA."""
    cutting: Annotated[Cutting, tyro.conf.arg(name="")]
    input_shape: tuple[int, ...] | None = None
    """Shape of the input, batch included; by default what the model says about itself, else 1 3 224 224."""
    num_classes: int = 1000
    """Classes that auxiliary networks tell apart; 10 for networks of SEDONA with feat_mult 1."""
    out: Path | None = None
    """Draw the blocks, a colour each, to a .png, .pdf, .svg or .dot file; a .json file stores where the cuts are."""

    def run(self) -> None:
        graph, num_classes = traced(self.model, self.cutting, self.input_shape, self.num_classes)
        among = units(graph, tied=self.cutting.tied)
        cuts = all_cuts(graph, self.cutting.max_width, tied=self.cutting.tied)
        rules: dict[str, int] = {}
        for cut in cuts:
            if cut.problem is not None:
                rules[cut.problem.rule] = rules.get(cut.problem.rule, 0) + 1
        legal = ", ".join(
            [f"{len(cuts) - sum(rules.values())} of them may be cut"]
            + [f"{count} not ({rule})" for rule, count in rules.items()]
        )
        crossing = "one value crosses" if self.cutting.max_width == 1 else f"{self.cutting.max_width} values cross"
        print(f"{graph!r}: {len(cuts)} places where at most {crossing}, {legal}; {len(among)} units")
        partition, names = self.cutting.partition(graph, num_classes)
        each = Partition.at_units(graph, range(len(among) - 1), among=among, tied=self.cutting.tied).costs(1)
        rows = [("unit", "block", "name", "hands on", "parameters", "MACs")]
        for i, (unit, costs) in enumerate(zip(among, each, strict=True)):
            numbers = f"{costs.parameters:,}", f"{costs.macs:,}"
            rows.append((str(i), str(partition.block_of[unit.node]), unit.name, shape_text(unit.shape), *numbers))
        print(text_table(rows))
        print()
        print(blocks_table(partition, names, num_classes, self.cutting.options(names)))
        if self.out is not None:
            if self.out.suffix == ".json":
                with replacing(self.out) as path:
                    path.write_text(partition.to_json() + "\n")
            else:
                draw(graph, self.out, partition=partition)
            print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Show the blocks that searched logits stand for, and how sure they are."""

    model: Model
    """The network that was searched, or one of as many units: a torchvision name, package.module:factory,
    file.py:factory, or sedona:NAME for a network of SEDONA."""
    search: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SEARCH")]
    """An .npz file that 'search' wrote, or one with the arrays alpha and beta of SEDONA."""
    blocks: tuple[int, ...] | None = None
    """Numbers of blocks, 0 for all cuts that are more likely than not; by default 2 3 4 8 0, as there are units."""
    balance: float = 0.0
    """The score that all the network's multiply-accumulates in the heaviest block are worth; may be inf."""
    feat_mult: int = 1
    """Width of a network of SEDONA: 1 as for CIFAR-10, 4 as for ImageNet."""
    input_shape: tuple[int, ...] | None = None
    """Shape of the input, batch included; by default what the model says about itself, else 1 3 224 224."""
    num_classes: int = 1000
    """Classes that auxiliary networks tell apart; 10 for networks of SEDONA with feat_mult 1."""

    def run(self) -> None:
        cutting = Cutting(balance=self.balance, feat_mult=self.feat_mult)
        graph, num_classes = traced(self.model, cutting, self.input_shape, self.num_classes)
        print(decoded_table(graph, self.search, self.blocks, cutting, num_classes))


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Cut networks into blocks, and train each by a loss of its own. Networks of SEDONA are named sedona:vgg11 ..."""

    command: Annotated[
        Annotated[Cuts, tyro.conf.subcommand("cuts")]
        | Annotated[Decode, tyro.conf.subcommand("decode")]
        | Annotated[Search, tyro.conf.subcommand("search")]
        | Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Eval, tyro.conf.subcommand("eval")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        self.command.run()
