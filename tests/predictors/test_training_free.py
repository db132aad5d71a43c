import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ppuda_like.deepnets import Genotype, Network, NetworkConfig, network_graph, sample_network
from ppuda_like.errors import DataError, PredictionError
from ppuda_like.ghn import GHN
from ppuda_like.predictors import GHN_SCORES, TRAINING_FREE_SCORES, training_free_scores
from ppuda_like.vision import ImageData, digits, evaluate
from tests.predictors.networks import seeded

IMAGES, LABELS = digits("train").batch(torch.arange(8))


def score(model: nn.Module, name: str, images: Tensor = IMAGES, labels: Tensor = LABELS) -> float:
    return training_free_scores(model, images, labels, scores=name)[name]


def test_synflow_of_a_perceptron_is_its_depth_times_its_flow():
    # R is linear in each of the three weights, so each adds R to the sum (Euler's theorem).
    model = seeded(
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(12, 7, bias=False),
            nn.BatchNorm1d(7),
            nn.ReLU(),
            nn.Linear(7, 6, bias=False),
            nn.LayerNorm(6),
            nn.ReLU(),
            nn.Linear(6, 5, bias=False),
        )
    )
    flow = torch.ones(12, dtype=torch.double)
    for layer in (model[1], model[4], model[7]):
        flow = layer.weight.detach().double().abs() @ flow
    found = score(model, "synflow", torch.rand(2, 3, 2, 2), torch.tensor([0, 1]))
    assert found == pytest.approx(math.log(3 * float(flow.sum())), rel=1e-12)


def test_synflow_does_not_overflow():
    layers = [layer for _ in range(400) for layer in (nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 10, bias=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    found = score(model, "synflow", torch.rand(2, 3, 2, 2), torch.tensor([0, 1]))
    assert found == pytest.approx(400 * math.log(3) + math.log(401 * 12 * 10))


def test_grad_norm_of_a_linear_classifier():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4)))
    images, labels = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 3, 0])
    residual = model(images).softmax(dim=1) - nn.functional.one_hot(labels, 4)
    wanted = (residual.T @ images.flatten(1) / 5).norm().detach()
    assert score(model, "grad_norm", images, labels) == pytest.approx(float(wanted), rel=1e-5)


def test_naswot_counts_units_of_equal_sign():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.SiLU()))
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    hidden = model[1](images.flatten(1))
    codes = torch.cat((hidden > 0, model[3](hidden.relu()) > 0), dim=1).numpy()
    kernel = np.array([[float((a == b).sum()) for b in codes] for a in codes])
    wanted = np.linalg.slogdet(kernel + 1e-5 * np.eye(4))[1]
    assert score(model, "naswot", images, labels) == pytest.approx(wanted, rel=1e-9)


def test_naswot_of_images_that_no_unit_tells_apart_is_finite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    found = score(model, "naswot", torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    assert found == pytest.approx(4 * math.log(1e-5))


class Square(nn.Module):
    """Its gradient by the images is the images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).square() / 2


def test_jacobian_covariance_is_that_of_the_gradients():
    images, labels = torch.randn(6, 3, 2, 2), torch.arange(6)
    values = np.linalg.eigvalsh(np.corrcoef(images.flatten(1).double())) + 1e-5
    wanted = -(np.log(values) + 1 / values).sum()
    assert score(Square(), "jacobian_covariance", images, labels) == pytest.approx(wanted, rel=1e-6)


def test_jacobian_covariance_of_dead_networks_is_finite():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    nn.init.zeros_(model[1].weight)
    found = score(model, "jacobian_covariance", torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    assert found == pytest.approx(-4 * (math.log(1e-5) + 1e5))


def test_scores_of_predicted_parameters_are_those_of_an_evaluation():
    config = NetworkConfig(C=16, n_cells=3, norm="bn-track")
    ghn = GHN.from_pretrained("ghn2-digits")
    filled = config.build("cpu")
    ghn.fill(filled, input_shape=(1, 3, 32, 32))
    data = ImageData(images=IMAGES, labels=LABELS, class_names=tuple("0123456789"))
    wanted = evaluate(filled, data, batch_size=8, progress=False)
    for graph in (None, network_graph(config)):
        found = training_free_scores(config.build("cpu"), IMAGES, LABELS, scores=GHN_SCORES, ghn=ghn, graph=graph)
        assert found["ghn_accuracy"] == pytest.approx(wanted.top1)
        assert found["ghn_loss"] == pytest.approx(wanted.loss, rel=1e-4)


def test_nothing_of_the_model_changes():
    model = seeded(lambda: NetworkConfig(C=8, n_cells=2, norm="bn-track").build("cpu"))
    model.cells[0].eval()
    model(IMAGES).sum().backward()
    model.classifier[-1].weight.requires_grad_(False)
    before = copy.deepcopy(model)  # without the gradients
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    random = torch.get_rng_state()
    ghn = GHN.from_pretrained("ghn2-digits")
    with torch.inference_mode():
        training_free_scores(model, IMAGES, LABELS, ghn=ghn)
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(model.state_dict(), before.state_dict(), rtol=0, atol=0)
    for (name, now), then in zip(model.named_parameters(), before.parameters(), strict=True):
        assert now.requires_grad == then.requires_grad, name
        assert torch.equal(now.grad, gradients[name]), name
    assert [module.training for module in model.modules()] == [module.training for module in before.modules()]
    assert not any(module._forward_hooks for module in model.modules())


ATTENTION = Genotype(
    normal=(("msa", 0), ("msa", 1)), normal_concat=(2,), reduce=(("msa", 0), ("msa", 1)), reduce_concat=(2,)
)


@pytest.mark.parametrize(
    "config",
    [
        sample_network("bnfree", 1).replace(C=16),
        sample_network("val", 6).replace(C=16),  # ten squeezes and excitations, one behind the other
        NetworkConfig(C=16, n_cells=3, genotype=ATTENTION, preproc=False, C_mult=1),
    ],
)
def test_networks_without_batch_norm_with_gates_and_with_attention(config):
    found = training_free_scores(seeded(lambda: config.build("cpu")), IMAGES[:4], LABELS[:4])
    assert tuple(found) == TRAINING_FREE_SCORES
    assert all(map(math.isfinite, found.values())), found
    again = training_free_scores(seeded(lambda: config.build("cpu")), IMAGES[:4], LABELS[:4])
    assert again == found


def test_a_network_may_return_several_outputs_and_write_into_its_input():
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(12, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.head(self.relu(x).flatten(1))
            return y, y * 2

    images, labels = torch.randn(4, 3, 2, 2), torch.arange(4)
    before = images.clone()
    assert all(map(math.isfinite, training_free_scores(seeded(Auxiliary), images, labels).values()))
    assert torch.equal(images, before)


def test_bad_input_is_refused():
    model = Network(C=8, n_cells=1)
    for images, labels, message in (
        (IMAGES[:1], LABELS[:1], r"two or more normalised images.*\(1, 3, 32, 32\)"),
        (IMAGES, LABELS[:3], r"'labels' must be a long tensor of shape \(8,\)"),
        (IMAGES, LABELS + 5, r"one logit per class, of shape \(8, 1\d or more\) \(got \(8, 10\)\)"),
    ):
        with pytest.raises(DataError, match=message):
            training_free_scores(model, images, labels)
    with pytest.raises(DataError, match=r"must name some of synflow, .*\(got synfow\)"):
        score(model, "synfow")
    with pytest.raises(DataError, match="need a hypernetwork"):
        score(model, "ghn_loss")
    with pytest.raises(DataError, match="on the meta device"):
        score(NetworkConfig(C=8, n_cells=1).build("meta"), "naswot")
    with pytest.raises(PredictionError, match="classes"):
        training_free_scores(
            Network(C=8, n_cells=1, num_classes=11), IMAGES, LABELS, ghn=GHN.from_pretrained("ghn2-digits")
        )
