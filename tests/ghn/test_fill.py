"""Filling a model: all of it or nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ppuda_like.errors import PredictionError, TraceError
from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.graph import trace
from tests.ghn.test_predict import small_net

SHAPE = (1, 3, 16, 16)


def contents(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_model_gets_the_predicted_values(ghn: GHN) -> None:
    model = small_net()
    (wanted,) = ghn.predict(trace(model, SHAPE))
    report = ghn.fill(model, input_shape=SHAPE)
    torch.testing.assert_close(dict(model.named_parameters()), wanted, check_stride=False)
    assert [tensor.name for tensor in report.tensors] == [name for name, _ in model.named_parameters()]
    assert (report.num_predicted, report.kept) == (len(wanted), ())
    assert model(torch.randn(2, *SHAPE[1:])).isfinite().all()


def test_ghn3_fills_a_transformer() -> None:
    config = GHNConfig(max_shape=(16, 16, 5, 5), hypernet="graphormer", hid=16, layers=2, heads=4, centered=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ghn = GHN(config)
        model = torchvision.models.VisionTransformer(32, 8, 2, 3, 24, 48, num_classes=10)
    before = contents(model)
    report = ghn.fill(model, input_shape=(1, 3, 32, 32))
    assert [tensor.name for tensor in report.kept] == ["class_token"]
    assert {name for name, value in contents(model).items() if torch.equal(value, before[name])} == {"class_token"}
    (predicted,) = ghn.predict(trace(model, (1, 3, 32, 32)))
    for name, value in predicted.items():
        torch.testing.assert_close(model.get_parameter(name).data, value)


def test_parameters_stay_who_they_are(ghn: GHN) -> None:
    model = small_net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model[0].half()
    model[3].double()
    model[5].requires_grad_(False)
    before = dict(model.named_parameters())
    traits = {name: (id(p), p.dtype, p.stride(), p.requires_grad) for name, p in before.items()}
    graph = trace(small_net(), SHAPE)
    ghn.fill(model, graph=graph)
    assert {name: (id(p), p.dtype, p.stride(), p.requires_grad) for name, p in model.named_parameters()} == traits
    (wanted,) = ghn.predict(graph)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, wanted[name].to(parameter.dtype), check_stride=False)
    assert all(parameter.grad is None and parameter.is_leaf for parameter in model.parameters())


def test_calling_a_ghn_returns_the_model(ghn: GHN) -> None:
    model = small_net()
    assert ghn(model, input_shape=SHAPE) is model


def test_a_hypernetwork_may_be_of_another_dtype(ghn: GHN) -> None:
    model = small_net()
    (wanted,) = ghn.predict(trace(model, SHAPE))
    ghn.double().fill(model, input_shape=SHAPE)
    torch.testing.assert_close(dict(model.named_parameters()), wanted, atol=1e-5, rtol=1e-4, check_stride=False)


def test_batch_normalisation_is_put_in_training_mode_alone(ghn: GHN) -> None:
    model = small_net().eval()
    ghn.fill(model, input_shape=SHAPE)
    assert [type(module) for module in model.modules() if module.training] == [nn.BatchNorm2d]
    model.eval()
    ghn.fill(model, input_shape=SHAPE, bn_train=False)
    assert not any(module.training for module in model.modules())


def test_statistics_of_batch_normalisation_are_left_alone(ghn: GHN) -> None:
    model = small_net()
    with torch.no_grad():
        model[1].running_mean.fill_(3)
    ghn.fill(model, input_shape=SHAPE)
    assert model[1].running_mean.tolist() == [3] * 20
    assert model[1].num_batches_tracked == 0


class Tied(nn.Module):
    """A weight under two names, a parameter of no primitive, and one that forward does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.gain = nn.Parameter(torch.ones(16))
        self.spare = nn.Parameter(torch.ones(2, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.gain * self.second(torch.relu(self.first(x))))
        return found


def test_tied_weights_and_kept_parameters_are_reported(ghn: GHN) -> None:
    model = Tied()
    report = ghn.fill(model, input_shape=(1, 16))
    assert model.second.weight is model.first.weight
    (wanted,) = ghn.predict(trace(model, (1, 16)))
    torch.testing.assert_close(model.first.weight, wanted["first.weight"], check_stride=False)
    assert {tensor.name: tensor.why for tensor in report.kept} == {
        "gain": "used by 'mul', which is not among the primitives",
        "spare": "the forward pass does not use it",
    }
    assert model.gain.tolist() == [1] * 16
    assert report.total_params == sum(parameter.numel() for parameter in model.parameters())
    report = ghn.fill(model, input_shape=(1, 16), predict_class_layers=False)
    assert {tensor.name for tensor in report.kept} == {"gain", "spare", "head.weight", "head.bias"}
    assert report.kept[-1].why == "class layer, left alone as asked"


def test_the_class_layer_can_be_kept(ghn: GHN) -> None:
    model = small_net(num_classes=7)
    before = model[9].weight.clone()
    report = ghn.fill(model, input_shape=SHAPE, predict_class_layers=False)
    assert torch.equal(model[9].weight, before)
    assert [tensor.name for tensor in report.kept] == ["9.weight", "9.bias"]


def test_a_model_on_meta_is_given_parameters(ghn: GHN) -> None:
    with torch.device("meta"):
        model, tied = small_net(), nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 10))
        tied[1].weight = tied[0].weight
        model[0].requires_grad_(False)
    real = small_net()
    ghn.fill(real, input_shape=SHAPE)
    ghn.fill(model, input_shape=SHAPE)
    torch.testing.assert_close(model.state_dict(), real.state_dict(), check_stride=False)
    assert not model[0].weight.requires_grad
    assert model[9].weight.requires_grad
    ghn.fill(tied, input_shape=(1, 16))
    assert tied[1].weight is tied[0].weight
    assert not tied[0].weight.is_meta


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_b_32", {}),
        ("efficientnet_b0", {}),
        ("regnet_y_400mf", {}),
        ("swin_t", {}),
        ("squeezenet1_1", {}),
    ],
)
def test_shapes_that_divide_nothing(ghn: GHN, name: str, options: dict[str, Any]) -> None:
    model = torchvision.models.get_model(name, num_classes=10, **options)
    report = ghn.fill(model)
    assert report.predicted_params / report.total_params > 0.99
    assert all("class_token" in tensor.name or "relative" in tensor.name for tensor in report.kept)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


# ------------------------------------------------------------------------------------------------------ mistakes


def with_nan(ghn: GHN) -> None:
    with torch.no_grad():
        ghn.decoder_1d.fc[2].bias[-1] = float("nan")


def with_infinite_class_layer(ghn: GHN) -> None:
    with torch.no_grad():
        ghn.decoder.class_layer_predictor[1].bias[3] = float("inf")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (with_nan, {}, r"'\d.bias' is not finite, and the model was left as it was"),
        (with_infinite_class_layer, {}, r"'9.weight' is not finite"),
        (None, {"graph": trace(nn.Linear(4, 10), (1, 4))}, r"holds a parameter 'weight' that the model does not have"),
        (None, {"graph": trace(small_net(), SHAPE).lower("extended")}, "is in 'extended'"),
    ],
)
def test_a_model_is_unchanged_after_a_failed_fill(
    ghn: GHN, change: Callable[[GHN], None] | None, options: dict[str, Any], message: str
) -> None:
    if change:
        change(ghn)
    model = small_net().eval()
    before, identities = contents(model), [id(parameter) for parameter in model.parameters()]
    with pytest.raises(PredictionError, match=message):
        ghn.fill(model, **{"input_shape": SHAPE, **options})
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [id(parameter) for parameter in model.parameters()] == identities
    assert not any(module.training for module in model.modules())


def test_another_class_count_leaves_the_model_unchanged(ghn: GHN) -> None:
    model = small_net(num_classes=7)
    before = contents(model)
    with pytest.raises(PredictionError, match=r"has 7 outputs.*predict_class_layers=False"):
        ghn.fill(model, input_shape=SHAPE)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_wrong_input_shape_leaves_the_model_unchanged(ghn: GHN) -> None:
    model = small_net()
    before = contents(model)
    with pytest.raises(TraceError):
        ghn.fill(model, input_shape=(1, 4, 16, 16))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_graph_with_other_shapes_is_refused(ghn: GHN) -> None:
    model, wider = nn.Sequential(nn.Linear(4, 10)), nn.Sequential(nn.Linear(5, 10))
    with pytest.raises(
        PredictionError, match=r"'0.weight' has shape \(10, 4\) in the model and \(10, 5\) in the graph"
    ):
        ghn.fill(model, graph=trace(wider, (1, 5)))


def test_a_meta_model_must_get_all_of_its_values(ghn: GHN) -> None:
    with torch.device("meta"):
        model = Tied()
    with pytest.raises(PredictionError, match=r"on the meta device.*gain, spare; build the model on a real device"):
        ghn.fill(model, input_shape=(1, 16))
    assert model.first.weight.is_meta
    with torch.device("meta"):
        buffered = small_net()
        buffered[0].register_buffer("table", torch.zeros(3))
    with pytest.raises(PredictionError, match=r"on the meta device.*0\.table"):
        ghn.fill(buffered, input_shape=SHAPE)


def test_inference_parameters_are_refused_before_anything_is_written(ghn: GHN) -> None:
    model = small_net()
    with torch.inference_mode():
        model[9].weight = nn.Parameter(torch.zeros(10, 33))
    before = model[0].weight.clone()
    with pytest.raises(PredictionError, match=r"'9.weight' was made in inference mode"):
        ghn.fill(model, input_shape=SHAPE)
    assert torch.equal(model[0].weight, before)
    with torch.inference_mode():
        ghn.fill(model, input_shape=SHAPE)
    assert bool(model[9].weight.any())
