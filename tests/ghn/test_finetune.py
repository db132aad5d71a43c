import math

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from ppuda_like import GHN
from ppuda_like.deepnets import sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.ghn import kaiming_init, predicted_init
from ppuda_like.vision import adapt_small_input


def small_resnet(num_classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return adapt_small_input(resnet18(num_classes=num_classes))


def test_predicted_weights_are_those_of_fill_and_norms_stay_as_they_train(ghn: GHN) -> None:
    model = small_resnet(10)
    report = predicted_init(model.eval(), ghn, input_shape=(1, 3, 32, 32))
    assert not report.kept
    assert not any(module.training for module in model.modules())
    other = small_resnet(10)
    ghn.fill(other, input_shape=(1, 3, 32, 32))
    torch.testing.assert_close(dict(model.named_parameters()), dict(other.named_parameters()), rtol=0, atol=0)


def test_class_layer_of_another_number_of_classes_stays(ghn: GHN) -> None:
    model, before = small_resnet(37), small_resnet(37)
    report = predicted_init(model, ghn, input_shape=(1, 3, 32, 32))
    assert {tensor.name for tensor in report.kept} == {"fc.weight", "fc.bias"}
    assert torch.equal(model.fc.weight, before.fc.weight)
    assert not torch.equal(model.conv1.weight, before.conv1.weight)


def test_post_processing(ghn: GHN) -> None:
    model = small_resnet(10)
    predicted_init(model, ghn, input_shape=(1, 3, 32, 32), orth=True, noise=1e-3, generator=torch.Generator())
    weight = model.layer4[0].conv1.weight.detach().flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(512), atol=1e-4, rtol=0)
    with pytest.raises(PredictionError, match="'noise' needs"):
        predicted_init(model, ghn, input_shape=(1, 3, 32, 32), noise=1e-3)


def test_random_weights_have_the_variance_of_their_fan_in() -> None:
    model = sample_network("test", 0).build("cpu")
    kaiming_init(model, torch.Generator().manual_seed(0))
    matrices = [(name, p) for name, p in model.named_parameters() if p.dim() > 1]
    for name, parameter in matrices:
        gain = 1.0 if name == matrices[-1][0] else 2.0
        if parameter.numel() > 2_000:
            wanted = math.sqrt(gain / math.prod(parameter.shape[1:]))
            assert float(parameter.detach().std()) == pytest.approx(wanted, rel=0.1)
    assert {float(p.detach().unique()) for name, p in model.named_parameters() if name.endswith("bias")} == {0.0}
    again = sample_network("test", 0).build("cpu")
    kaiming_init(again, torch.Generator().manual_seed(0))
    torch.testing.assert_close(dict(again.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)
