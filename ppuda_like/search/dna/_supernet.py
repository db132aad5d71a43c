"""Supernets: every operation at every layer of every cell, of which a path is run at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import CodeError
from ppuda_like.search.dna._network import init_weights
from ppuda_like.search.dna._space import Architecture, Space

__all__ = ["Boundary", "CellNet", "Supernet", "recalibrating"]

Boundary = Literal["wide", "adapters"]


class CellNet(nn.Module):
    """All operations of one cell, between the features of a teacher: the unit that is trained and rated.

    A path of it maps the teacher's features in front of the stage, or images in front of the first one, to features of
    the teacher's shape behind it.  Training leaves the running statistics of its batch norms as they are, since every
    path has its own; rating sets them.

    Args:
        space: the cell belongs to.
        stage: number of the stage.
        cell: number of the cell in it.
        width_in: channels of the teacher's features in front of the stage; without meaning for the first stage, which
            has a stem of its own.
        width_out: channels of those behind it.
        boundary: how layers meet widths that are not the space's: ``"wide"``, the first and the last layer have the
            teacher's widths as in the published supernet, or ``"adapters"``, 1x1 convolutions lead from one to the
            other where they differ.
        seed: of the weights.

    Attributes:
        first: stem and layers that are not chosen, in front of the first stage.
        adapt_in: the first adapter, or nothing.
        layers: for each layer its operations.
        adapt_out: the last adapter, or nothing.

    Raises:
        CodeError: if the boundary is of no such kind.
    """

    def __init__(
        self,
        space: Space,
        stage: int,
        cell: int,
        *,
        width_in: int,
        width_out: int,
        boundary: Boundary = "wide",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if boundary not in ("wide", "adapters"):
            raise CodeError(f"'boundary' must be 'wide' or 'adapters' (got {boundary!r})")
        self.stage, self.cell = stage, cell
        width = space.stages[stage].cells[cell].width
        plain = space.widths_in(stage)[-1]  # the widest that a network may have here
        if stage == 0:
            width_in = plain
        narrow = boundary == "adapters"
        parts = space.layer_parts(stage, cell, plain if narrow else width_in, width if narrow else width_out)
        cell_seed = derived_seed(seed, "weights", stage, cell)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cell_seed)  # of operations that init_weights does not know
            self.first = nn.Sequential(*(part.build() for part in (space.first_parts() if stage == 0 else [])))
            self.adapt_in = _adapter(width_in, plain) if narrow else nn.Identity()
            self.layers = nn.ModuleList(nn.ModuleList(part.build() for part in layer) for layer in parts)
            self.adapt_out = _adapter(width, width_out) if narrow else nn.Identity()
        if not any(parameter.is_meta for parameter in self.parameters()):
            init_weights(self, torch.Generator().manual_seed(cell_seed))
        for module in batch_norms(self):
            module.track_running_stats = False

    def forward(self, x: Tensor, path: Sequence[int]) -> Tensor:
        """Features behind the stage by one path, an operation for each layer.

        Raises:
            CodeError: if the path has another length, or an operation no such number.
        """
        if len(path) != len(self.layers):
            raise CodeError(f"a path of this cell has {len(self.layers)} operations (got {list(path)})")
        x = self.adapt_in(self.first(x))
        for number, op in enumerate(path):
            x = self.layer(number, op)(x)
        out: Tensor = self.adapt_out(x)
        return out

    def layer(self, number: int, op: int) -> nn.Module:
        """An operation of a layer."""
        operations = self.layers[number]
        assert isinstance(operations, nn.ModuleList)
        if not 0 <= op < len(operations):
            raise CodeError(f"operations of layer {number} are 0..{len(operations) - 1} (got {op})")
        return operations[op]


class Supernet(nn.Module):
    """The cells of a space between the features of a teacher, and a head that label losses may use.

    With wide boundaries the stages fit each other, so that a path through all of them is a network.

    Args:
        space: of the cells.
        widths: channels of the teacher's features behind each stage, as :meth:`Teacher.widths` tells them.
        boundary: see :class:`CellNet`.
        head: whether to have the space's head.
        seed: of the weights.

    Attributes:
        cells: for each stage its cells.
        head: the head, or None.

    Raises:
        CodeError: if there is not one width for each stage.

    Example:
        >>> from ppuda_like.search.dna import imagenet_space
        >>> with torch.device("meta"):
        ...     supernet = Supernet(imagenet_space(), (48, 80, 160, 224, 384, 640), head=True)
        >>> sum(parameter.numel() for parameter in supernet.parameters())
        35238816
    """

    def __init__(
        self,
        space: Space,
        widths: Sequence[int],
        *,
        boundary: Boundary = "wide",
        head: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(widths) != len(space.stages):
            raise CodeError(f"'widths' must be one for each of {len(space.stages)} stages (got {list(widths)})")
        self.space, self.widths, self.boundary = space, tuple(widths), boundary
        self.cells = nn.ModuleList(
            nn.ModuleList(
                CellNet(
                    space,
                    number,
                    cell,
                    width_in=widths[max(number - 1, 0)],
                    width_out=widths[number],
                    boundary=boundary,
                    seed=seed,
                )
                for cell in range(len(stage.cells))
            )
            for number, stage in enumerate(space.stages)
        )
        self.head: nn.Module | None = None
        if head:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed(seed, "weights", "head"))
                self.head = space.head.part(widths[-1], space.size_in(len(space.stages))).build()

    def cell(self, stage: int, cell: int = 0) -> CellNet:
        """One cell of a stage."""
        cells = self.cells[stage]
        assert isinstance(cells, nn.ModuleList)
        found = cells[cell]
        assert isinstance(found, CellNet)
        return found

    def __iter__(self) -> Iterator[CellNet]:
        """The cells, stage by stage."""
        for number, stage in enumerate(self.space.stages):
            for cell in range(len(stage.cells)):
                yield self.cell(number, cell)

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        """Features behind the last stage by the paths of an architecture, or logits where there is a head.

        Raises:
            CodeError: if the space has no such architecture.
        """
        self.space.check(architecture)
        x = images
        for stage, (cell, path) in enumerate(zip(architecture.cells, architecture.paths, strict=True)):
            x = self.cell(stage, cell)(x, path)
        return x if self.head is None else self.head(x)

    def path_parameters(self, architecture: Architecture) -> list[nn.Parameter]:
        """The parameters that a path through all stages, and the head if there is one, uses.

        Raises:
            CodeError: if the space has no such architecture.
        """
        self.space.check(architecture)
        found = []
        for stage, (number, path) in enumerate(zip(architecture.cells, architecture.paths, strict=True)):
            cell = self.cell(stage, number)
            used = [cell.first, cell.adapt_in, *(cell.layer(i, op) for i, op in enumerate(path)), cell.adapt_out]
            found += [parameter for module in used for parameter in module.parameters()]
        return found + ([] if self.head is None else list(self.head.parameters()))


@contextmanager
def recalibrating(module: nn.Module) -> Iterator[None]:
    """Batch norms inside normalise by the batch, which becomes their running statistics; afterwards all evaluate."""
    norms = batch_norms(module)
    before = [(norm.momentum, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.track_running_stats = 1.0, True
    module.train()
    try:
        yield
    finally:
        module.eval()
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.track_running_stats = momentum, tracked


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms inside a module that keep running statistics."""
    return [found for found in module.modules() if isinstance(found, nn.BatchNorm2d) and found.running_mean is not None]


def _adapter(width_in: int, width_out: int) -> nn.Module:
    return nn.Identity() if width_in == width_out else nn.Conv2d(width_in, width_out, 1)
