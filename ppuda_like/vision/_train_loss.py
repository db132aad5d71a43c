"""The loss of one network, auxiliary classifiers included."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from ppuda_like.errors import DataError
from ppuda_like.vision._evaluate import main_output

__all__ = ["auxiliary_outputs", "training_loss"]


def training_loss(
    output: object, labels: Tensor, num_classes: int, *, label_smoothing: float = 0.0, auxiliary: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross entropy of what a network returned in training, plus ``auxiliary`` times that of each auxiliary classifier.

    Args:
        output: logits (n, classes), or several outputs, as networks with auxiliary classifiers return.
        labels: shape (n,).
        num_classes: classes of the data.
        label_smoothing: of all cross entropies.
        auxiliary: weight of the auxiliary ones (GoogLeNet, arXiv:1409.4842, section 5); with 0 they are left aside.

    Returns:
        The loss, a scalar, and the logits (n, classes) of the main classifier, both in single precision or better.

    Raises:
        DataError: if logits have another shape, or there are no auxiliary ones though they have a weight.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> main, _ = training_loss(logits, labels, 2)
        >>> both, _ = training_loss((logits, logits), labels, 2, auxiliary=0.5)
        >>> round(float(both / main), 6)
        1.5
    """
    logits = _checked(main_output(output), len(labels), num_classes, "logits")
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if not auxiliary:
        return loss, logits
    found = auxiliary_outputs(output)
    if not found:
        raise DataError(
            f"'auxiliary' gives auxiliary classifiers a weight ({auxiliary}), but the network returns none in "
            "training; build it with them (auxiliary=True, aux_logits=True), or set auxiliary=0"
        )
    for each in found:
        other = _checked(each, len(labels), num_classes, "auxiliary logits")
        loss = loss + auxiliary * F.cross_entropy(other, labels, label_smoothing=label_smoothing)
    return loss, logits


def auxiliary_outputs(output: object) -> list[Tensor]:
    """The tensors after the first of a tuple, or those of a mapping under names that begin with ``aux``."""
    others: list[object] = []
    if isinstance(output, Mapping):
        others = [value for key, value in output.items() if str(key).startswith("aux")]
    elif isinstance(output, tuple | list):
        others = list(output[1:])
    return [value for value in others if isinstance(value, Tensor)]


def _checked(logits: Tensor, n: int, num_classes: int, name: str) -> Tensor:
    if tuple(logits.shape) != (n, num_classes):
        raise DataError(
            f"the network must return {name} of shape ({n}, {num_classes}), one per class of the data "
            f"(got {tuple(logits.shape)}); build it with num_classes={num_classes}"
        )
    return logits if logits.dtype.itemsize >= 4 else logits.float()
