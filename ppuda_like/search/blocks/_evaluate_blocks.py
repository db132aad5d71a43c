"""Accuracy of every block's classifier, and of their ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.errors import DataError
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.vision import ImageSource, main_output

__all__ = ["BlockEvaluation", "ensembles", "evaluate_blocks"]


@dataclass(frozen=True, kw_only=True)
class BlockEvaluation:
    """What :func:`evaluate_blocks` measured; shares are 0..1.

    Attributes:
        top1: of each block's classifier, the last being the network's own head.
        loss: mean cross entropy of each.
        last: top-1 of the ensemble of the last 1, 2, ... blocks.
        weighted: top-1 of the ensemble of all blocks up to each one, weighted by powers of two.
        num_images: number of images.
    """

    top1: tuple[float, ...]
    loss: tuple[float, ...]
    last: tuple[float, ...]
    weighted: tuple[float, ...]
    num_images: int


def ensembles(logits: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Scores of ensembles of blocks.

    Args:
        logits: (n, classes) of each of K blocks, in order.

    Returns:
        The sum of log-probabilities of the last 1, 2, ..., K blocks, as in SEDONA (ICLR 2021); and the mean of
        probabilities of blocks 0..k with weights 2^i / sum_j 2^j, for each k, as in DGL (arXiv:1901.08164).

    Example:
        >>> import torch
        >>> last, weighted = ensembles([torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
        >>> [int(scores.argmax()) for scores in last], [int(scores.argmax()) for scores in weighted]
        ([1, 0], [0, 1])
    """
    log_p = [F.log_softmax(one, dim=1) for one in logits]
    last = [log_p[-1]]
    for one in reversed(log_p[:-1]):
        last.append(last[-1] + one)
    total = log_p[0].exp()
    weighted = [total]
    for index, one in enumerate(log_p[1:], 1):
        total = total + 2**index * one.exp()
        weighted.append(total / (2 ** (index + 1) - 1))
    return last, weighted


def evaluate_blocks(
    model: BlockwiseModel, auxiliaries: Sequence[nn.Module], data: ImageSource, *, batch_size: int = 64
) -> BlockEvaluation:
    """Accuracy of the classifier of every block, and of ensembles of them, in one pass; modules leave as they came.

    Args:
        model: the blocks.
        auxiliaries: the auxiliary network of each block but the last one.
        data: labelled images.
        batch_size: images at a time.

    Raises:
        DataError: if there is not one auxiliary network for each boundary.
    """
    if len(auxiliaries) != model.num_blocks - 1:
        raise DataError(
            f"{model.num_blocks} blocks need {model.num_blocks - 1} auxiliary networks (got {len(auxiliaries)})"
        )
    modes = [(m, m.training) for one in (model, *auxiliaries) for m in one.modules()]
    first = next(model.parameters())
    k = model.num_blocks
    hits = torch.zeros(3, k, dtype=torch.long)
    loss = torch.zeros(k, dtype=torch.double)
    try:
        for one in (model, *auxiliaries):
            one.eval()
        with torch.no_grad():
            for index in torch.split(torch.arange(len(data)), batch_size):
                images, labels = data.batch(index)
                images, labels = images.to(first.device, first.dtype), labels.to(first.device)
                logits = _logits(model, auxiliaries, model.start(images))
                last, weighted = ensembles(logits)
                for row, scores in enumerate((logits, last, weighted)):
                    found = torch.stack([(one.argmax(1) == labels).sum() for one in scores])
                    hits[row] += found.cpu()
                loss += torch.stack([F.cross_entropy(one, labels, reduction="sum") for one in logits]).double().cpu()
    finally:
        for module, training in modes:
            module.training = training
    n = len(data)
    top1, of_last, of_weighted = [tuple(row) for row in (hits.double() / n).tolist()]
    return BlockEvaluation(top1=top1, loss=tuple((loss / n).tolist()), last=of_last, weighted=of_weighted, num_images=n)


def _logits(model: BlockwiseModel, auxiliaries: Sequence[nn.Module], frontier: Frontier) -> list[Tensor]:
    found = []
    *inner, last = model.blocks
    for block, auxiliary in zip(inner, auxiliaries, strict=True):
        frontier = block(frontier)
        found.append(auxiliary(frontier.newest))
    found.append(main_output(last(frontier)))
    return found
