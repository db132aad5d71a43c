from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ppuda_like.errors import DataError
from ppuda_like.vision import ImageData, digits, evaluate, main_output


class Oracle(nn.Module):
    """Puts the label, which the first pixel holds, at a given rank among the logits."""

    def __init__(self, rank: int, classes: int = 10) -> None:
        super().__init__()
        self.rank = rank
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        label = x[:, 0, 0, 0].long()
        columns = (label[:, None] + self.rank + torch.arange(self.classes)) % self.classes
        values = torch.arange(self.classes, 0, -1).float().expand(len(x), -1)
        logits = torch.empty(len(x), self.classes).scatter_(1, columns, values)
        return logits.roll(0)


def labelled(count: int, classes: int = 10) -> ImageData:
    labels = torch.arange(count) % classes
    images = labels.float()[:, None, None, None].expand(-1, 3, 4, 4)
    return ImageData(images=images, labels=labels, class_names=tuple(map(str, range(classes))))


@pytest.mark.parametrize(("rank", "top1", "top5"), [(0, 1.0, 1.0), (-1, 0.0, 1.0), (-4, 0.0, 1.0), (-5, 0.0, 0.0)])
def test_accuracies(rank: int, top1: float, top5: float) -> None:
    found = evaluate(Oracle(rank), labelled(37), batch_size=8)
    assert (found.top1, found.top5, found.num_images) == (top1, top5, 37)


def test_loss_is_the_mean_cross_entropy() -> None:
    data = labelled(50)
    logits = Oracle(2)(data.images)
    expected = nn.functional.cross_entropy(logits, data.labels)
    assert evaluate(Oracle(2), data, batch_size=7).loss == pytest.approx(float(expected), rel=1e-5)


def test_few_classes() -> None:
    assert evaluate(Oracle(-2, 3), labelled(9, 3)).top5 == 1.0


def batch_normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )


def norm_of(model: nn.Module) -> nn.BatchNorm2d:
    return next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def running_mean(model: nn.Module) -> Tensor:
    mean = norm_of(model).running_mean
    assert mean is not None
    return mean


@pytest.mark.parametrize("training", [True, False])
def test_model_is_unchanged(training: bool) -> None:
    model = batch_normalised().train(training)
    model[3].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    evaluate(model, digits("val"))
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_model_is_restored_after_a_failure() -> None:
    model = nn.Sequential(batch_normalised(), nn.Linear(3, 10)).train()
    mean = running_mean(model).clone()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate(model, digits("val"))
    assert torch.equal(running_mean(model), mean)
    assert all(module.training for module in model.modules())


def test_batch_normalisation_follows_its_own_mode() -> None:
    model = batch_normalised().eval()
    with_running = evaluate(model, digits("val")).loss
    running_mean(model).fill_(100.0)
    assert evaluate(model, digits("val")).loss != pytest.approx(with_running)
    norm_of(model).train()
    with_batch = evaluate(model, digits("val")).loss
    running_mean(model).zero_()
    assert evaluate(model, digits("val")).loss == with_batch


class Recorder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x[:, 0, 0, 0])
        return torch.zeros(len(x), 10)


def test_sorted_data_is_visited_in_a_fixed_mixed_order_and_even_batches() -> None:
    data = labelled(250)
    order = data.labels.argsort(stable=True)
    data = ImageData(images=data.images[order], labels=data.labels[order], class_names=data.class_names)
    first, second = Recorder(), Recorder()
    evaluate(first, data)
    evaluate(second, data)
    assert [len(batch) for batch in first.seen] == [63, 63, 62, 62]
    assert all(len(set(batch.tolist())) == 10 for batch in first.seen)
    assert torch.equal(torch.cat(first.seen), torch.cat(second.seen))


def test_logits_that_are_not_finite_count_as_wrong() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 10), float("nan"))

    found = evaluate(Broken(), labelled(20))
    assert (found.top1, found.top5) == (0.0, 0.0)
    assert found.loss != found.loss


def test_other_class_count_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(20, 10\).*got \(20, 7\)\); build it with num_classes=10"):
        evaluate(Oracle(0, 7), labelled(20))


def test_model_on_meta_is_refused() -> None:
    with torch.device("meta"):
        model = batch_normalised()
    with pytest.raises(DataError, match="meta device"):
        evaluate(model, digits("val"))


def test_main_output() -> None:
    @dataclass
    class Structured:
        hidden: Tensor
        logits: Tensor

    pair = namedtuple("pair", "first aux")
    x, y = torch.zeros(1), torch.ones(1)
    for output in (
        x,
        (x, y),
        [x, y],
        pair(x, y),
        {"aux": y, "out": x},
        {"a": x, "b": y},
        Structured(hidden=y, logits=x),
    ):
        assert main_output(output) is x
    with pytest.raises(DataError, match=r"must return logits.*got NoneType"):
        main_output(None)


def test_auxiliary_outputs_are_left_aside() -> None:
    class WithAux(Oracle):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x), torch.zeros(len(x), 10)  # type: ignore[return-value]

    assert evaluate(WithAux(0), labelled(20)).top1 == 1.0
