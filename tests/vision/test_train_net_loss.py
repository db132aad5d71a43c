from collections import namedtuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.googlenet import GoogLeNetOutputs
from torchvision.models.inception import InceptionOutputs

from ppuda_like.errors import DataError
from ppuda_like.vision._train_loss import auxiliary_outputs, training_loss

LABELS = torch.tensor([0, 2, 1, 2])


def logits(seed: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


MAIN, FIRST, SECOND = map(logits, range(3))


@pytest.mark.parametrize(
    ("output", "others"),
    [
        (MAIN, []),
        ((MAIN, FIRST), [FIRST]),
        ([MAIN, FIRST, SECOND], [FIRST, SECOND]),
        (GoogLeNetOutputs(MAIN, FIRST, SECOND), [FIRST, SECOND]),
        (GoogLeNetOutputs(MAIN, None, None), []),
        (InceptionOutputs(MAIN, FIRST), [FIRST]),
        ({"out": MAIN, "aux": FIRST, "features": SECOND}, [FIRST]),
        (namedtuple("Pair", "logits hidden")(MAIN, "no tensor"), []),
    ],
)
def test_each_classifier_counts_once(output: object, others: list[Tensor]) -> None:
    assert [id(found) for found in auxiliary_outputs(output)] == [id(other) for other in others]
    expected = F.cross_entropy(MAIN, LABELS, label_smoothing=0.2)
    loss, main = training_loss(output, LABELS, 3, label_smoothing=0.2)
    assert main is MAIN
    torch.testing.assert_close(loss, expected)
    if not others:
        with pytest.raises(DataError, match=r"a weight \(0.4\), but the network returns none in training"):
            training_loss(output, LABELS, 3, auxiliary=0.4)
        return
    expected += sum(0.4 * F.cross_entropy(other, LABELS, label_smoothing=0.2) for other in others)
    torch.testing.assert_close(training_loss(output, LABELS, 3, label_smoothing=0.2, auxiliary=0.4)[0], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_losses_are_in_single_precision_or_better(dtype: torch.dtype) -> None:
    loss, found = training_loss((MAIN.to(dtype), FIRST.to(dtype)), LABELS, 3, auxiliary=1.0)
    assert loss.dtype == found.dtype == torch.promote_types(dtype, torch.float32)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"must return logits of shape \(4, 10\).*got \(4, 3\)\); build it with num_classes=10"
    ):
        training_loss(MAIN, LABELS, 10)
    with pytest.raises(DataError, match=r"must return auxiliary logits of shape \(4, 3\)"):
        training_loss((MAIN, torch.zeros(4, 7)), LABELS, 3, auxiliary=0.4)
