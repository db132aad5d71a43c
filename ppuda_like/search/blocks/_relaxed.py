"""A network that is cut everywhere to a degree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.errors import DataError
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, smoothed_cross_entropy
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.vision import main_output

__all__ = ["Losses", "Relaxation", "RelaxedNet"]

_EPS = 1e-5  # what the published code adds to a probability that it divides by


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxation:
    """To what degree a network is cut at each of its B - 1 boundaries, and which auxiliary networks are mixed there.

    Attributes:
        cut: probability of each boundary, shape (B - 1,).
        mix: weights of the candidates for its auxiliary network, shape (B - 1, candidates); None for equal ones.
        drawn: the candidates to evaluate at each boundary that has some evaluated; None for all.
        share: of the boundaries that are evaluated, to make up for the others.
        gated: whether a unit's gradient is that of its own part of the loss; see :class:`RelaxedNet`.
        reference: whether local losses are weighted and scaled as in the published code.
    """

    cut: Tensor
    mix: Tensor | None = None
    drawn: Mapping[int, tuple[int, ...]] | None = None
    share: float = 1.0
    gated: bool = True
    reference: bool = False

    def candidates(self, boundary: int, count: int) -> tuple[int, ...]:
        """The candidates to evaluate at a boundary, out of so many."""
        return tuple(range(count)) if self.drawn is None else self.drawn.get(boundary, ())

    def weights(self, boundary: int, chosen: tuple[int, ...]) -> Tensor:
        """Weights of these candidates, which add up to 1."""
        if self.mix is None:
            return self.cut.new_full((len(chosen),), 1 / len(chosen))
        found = self.mix[boundary]
        if len(chosen) < len(found):
            found = found[list(chosen)]
            found = found / found.sum()
        return found


class Gates:
    """Factors that gradients are multiplied by on their way back through one pass.

    The first gradient of the pass is to be multiplied, but not the derivative of that gradient by activations, which
    goes the same way back: what a gate does to values is nothing.

    Attributes:
        active: whether they multiply.
    """

    def __init__(self) -> None:
        self.active = True

    def __call__(self, x: Tensor, factor: Tensor) -> Tensor:
        """The same values, whose gradient is multiplied by a factor, as a function of it."""
        if not x.requires_grad:
            return x
        gate = x.view_as(x)
        gate.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient * factor if self.active else gradient
        )
        return gate


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """What one pass through a relaxed network found.

    Attributes:
        local: loss of the auxiliary networks at each boundary; None where none was evaluated.
        logits: of the network itself, shape (n, classes).
        head: its loss.
        gates: of the pass.
    """

    local: tuple[Tensor | None, ...]
    logits: Tensor
    head: Tensor
    gates: Gates

    def to_descend(self, relaxation: Relaxation) -> Tensor:
        """The scalar whose gradient the weights descend, if the pass was gated: its value means nothing."""
        found = [self.head]
        for i, loss in enumerate(self.local):
            if loss is not None:
                found.append(relaxation.cut[i] / relaxation.share * loss if relaxation.reference else loss)
        return torch.stack(found).sum()

    def relaxed(self, relaxation: Relaxation) -> Tensor:
        """l_0 of the recursion l_i = a_i L_i + (1 - a_i) l_{i+1}, from the head's loss l_{B-1}."""
        found = self.head
        for i in reversed(range(len(self.local))):
            cut, loss = relaxation.cut[i], self.local[i]
            found = (1 - cut) * found
            if loss is not None:
                found = found + cut / relaxation.share * loss
        return found


class RelaxedNet(nn.Module):
    """A network of B units with all candidates for the auxiliary network at each of its B - 1 boundaries.

    With probability a_i of a cut behind unit i, unit j is to descend l_j of the recursion

        l_{B-1} = L_{B-1},  l_i = a_i L_i + (1 - a_i) l_{i+1}

    over local losses L_i (SEDONA, ICLR 2021, section 3): its own loss with weight a_j, the next unit's with weight
    (1 - a_j) a_{j+1}, and so on.  The published code takes the gradient of l_0 and divides unit j's by the product of
    (1 - a_i) over i < j, which vanishes where a boundary is certain.  Here the gradient is multiplied on its way back
    instead: by 1 - a_i where it crosses boundary i, by a_i where it leaves the auxiliary networks there.  That is the
    same, needs no division, and holds for a_i of 0 and 1.  Auxiliary networks descend their own loss, not a_i times it;
    only with ``Relaxation.reference`` the latter.

    Args:
        model: the network, each unit a block.
        auxiliaries: the candidates at each boundary.
        num_classes: number of classes.
    """

    def __init__(self, model: BlockwiseModel, auxiliaries: Sequence[Sequence[AuxiliaryNet]], num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.model = model
        self.auxiliaries = nn.ModuleList([nn.ModuleList(nets) for nets in auxiliaries])

    @property
    def num_boundaries(self) -> int:
        """B - 1."""
        return len(self.auxiliaries)

    def forward(self, images: Tensor, labels: Tensor, relaxation: Relaxation | None, smoothing: float = 0.0) -> Losses:
        """Losses of a batch.

        Args:
            images: shape (n, ...).
            labels: shape (n,).
            relaxation: of the network; None for its head alone.
            smoothing: of the cross entropies; see :func:`smoothed_cross_entropy`.

        Raises:
            DataError: if the network does not return logits of each class.
        """
        frontier = self.model.start(images)
        *inner, last = self.model.blocks
        gates = Gates()
        local: list[Tensor | None] = []
        for i, unit in enumerate(inner):
            frontier = unit(frontier)
            if relaxation is not None:
                local.append(self._local(i, frontier.newest, labels, relaxation, smoothing, gates))
                frontier = _passed(frontier, relaxation, i, gates)
        logits = main_output(last(frontier))
        if tuple(logits.shape) != (len(labels), self.num_classes):
            raise DataError(
                f"the network must return logits of shape ({len(labels)}, {self.num_classes}), one per class of the "
                f"data (got {tuple(logits.shape)}); build it with num_classes={self.num_classes}"
            )
        return Losses(
            local=tuple(local), logits=logits, head=smoothed_cross_entropy(logits, labels, smoothing), gates=gates
        )

    def _local(
        self, i: int, x: Tensor, labels: Tensor, relaxation: Relaxation, smoothing: float, gates: Gates
    ) -> Tensor | None:
        nets: Any = self.auxiliaries[i]
        chosen = relaxation.candidates(i, len(nets))
        if not chosen:
            return None
        scale: Tensor | None = None
        if relaxation.reference:
            scale = 1 / (relaxation.cut[i].detach() + _EPS)
            x = x / scale
        elif relaxation.gated:
            x = gates(x, relaxation.cut[i] / relaxation.share)
        if len(nets) == 1 and scale is None:  # which may have a loss of its own kind
            loss: Tensor = nets[0].loss(x, labels, smoothing)[0]
            return loss
        weights = relaxation.weights(i, chosen)
        logits = torch.stack([weight * nets[k](x) for k, weight in zip(chosen, weights, strict=True)]).sum(0)
        return smoothed_cross_entropy(logits if scale is None else scale * logits, labels, smoothing)


def _passed(frontier: Frontier, relaxation: Relaxation, boundary: int, gates: Gates) -> Frontier:
    if not relaxation.gated:
        return frontier
    through = 1 - relaxation.cut[boundary]
    return Frontier(tuple([gates(value, through) for value in frontier.values]), frontier.passed)
