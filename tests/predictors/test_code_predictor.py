"""The published perceptron against its description, and as an estimator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import nn

from ppuda_like.errors import DataError
from ppuda_like.predictors import CodePredictor, kendall_tau
from ppuda_like.predictors._code_mlp import CodeMlp, _drawn

Floats = NDArray[np.float64]


def codes(num: int, seed: int = 0) -> tuple[Floats, Floats]:
    x = np.random.default_rng(seed).integers(1, 9, size=(num, 6)).astype(float)
    return x, np.stack((x[:, 0] * x[:, 1], 3 * x[:, 2] - x[:, 3], x.sum(1), np.sqrt(x[:, 4])), axis=1)


class Written(nn.Module):
    """The network as its description says, head by head."""

    def __init__(self, num_inputs: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.BatchNorm1d(num_inputs), nn.Linear(num_inputs, 256), nn.BatchNorm1d(256), nn.SiLU(), nn.Dropout(0.5)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(256, 128), nn.BatchNorm1d(128), nn.SiLU(), nn.Dropout(0.5), nn.Linear(128, size))
            for size in groups
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.trunk(x)
        return torch.cat([head(x) for head in self.heads], dim=1)


def test_the_heads_together_are_the_heads_one_by_one() -> None:
    groups = (1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    fast, plain = CodeMlp(6, groups, (0.5, 0.5, 0.0), generator), Written(6, groups)
    with torch.no_grad():
        for norm in fast.norm:
            norm.running_mean.uniform_(-1, 1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.uniform_(0.5, 2, generator=generator)
        plain.trunk[0].load_state_dict(fast.norm[0].state_dict())
        plain.trunk[1].load_state_dict({"weight": fast.weight[0], "bias": fast.bias[0]})
        plain.trunk[2].load_state_dict(fast.norm[1].state_dict())
        first = 0
        for number, (head, size) in enumerate(zip(plain.heads, groups, strict=True)):
            hidden, outputs = slice(128 * number, 128 * (number + 1)), slice(first, first + size)
            head[0].load_state_dict({"weight": fast.weight[1][hidden], "bias": fast.bias[1][hidden]})
            state = fast.norm[2].state_dict()
            head[1].load_state_dict({name: part[hidden] if part.dim() else part for name, part in state.items()})
            head[4].load_state_dict({"weight": fast.weight[2][outputs, hidden], "bias": fast.bias[2][outputs]})
            first += size
    x = torch.randn(9, 6, generator=generator)
    torch.testing.assert_close(fast.eval()(x), plain.eval()(x))
    # 107,835 parameters for the 27 numbers and 5 metrics of the published setting
    used = sum(p.numel() for p in CodeMlp(27, groups, (0.5, 0.5, 0.0), generator).parameters())
    assert used - 5 * 128 * 2 == 107_835  # without those of the last layer outside of the heads' blocks
    assert sum(p.numel() for p in Written(27, groups).parameters()) == 107_835


def test_dropout_keeps_its_share_and_the_mean() -> None:
    kept = torch.tensor([0.5, 0.75, 1.0])
    factors = _drawn(20_000, kept, torch.Generator().manual_seed(0))
    torch.testing.assert_close((factors > 0).float().mean(0), kept, rtol=0, atol=0.02)
    torch.testing.assert_close(factors.amax(0), 1 / kept)
    # neighbours are dropped independently
    assert abs(np.corrcoef(factors[:, :2].T.numpy())[0, 1]) < 0.03


def test_it_learns_codes_it_did_not_see() -> None:
    x, y = codes(300)
    predictor = CodePredictor(groups=(1, 1, 2), dropouts=(0.5, 0.5, 0), epochs=30, batch_size=64).fit(x[:240], y[:240])
    said = predictor.predict(x[240:])
    assert said.shape == (60, 4)
    for column in range(4):
        assert kendall_tau(y[240:, column], said[:, column]) > 0.75


def test_forward_agrees_with_predict_and_has_the_right_derivative() -> None:
    x, y = codes(65)  # a last batch of one row
    predictor = CodePredictor(epochs=5, batch_size=32).fit(x, y)
    at = torch.from_numpy(x[:4]).requires_grad_()
    mean, std = predictor.forward(at)
    np.testing.assert_allclose(mean.detach().numpy(), predictor.predict(x[:4]), rtol=1e-5)
    assert not std.any()
    (slope,) = torch.autograd.grad(mean[:, 0].sum(), at)
    step = np.zeros_like(x[:4])
    step[:, 0] = 0.05
    along = (predictor.predict(x[:4] + step) - predictor.predict(x[:4] - step))[:, 0] / 0.1
    np.testing.assert_allclose(slope[:, 0].numpy(), along, rtol=0.05, atol=0.02 * np.abs(along).max())
    mean_again, zeros = predictor.predict(x[:4], return_std=True)
    np.testing.assert_array_equal(mean_again, predictor.predict(x[:4]))
    assert not zeros.any()


def test_a_fit_depends_on_its_seed_alone() -> None:
    x, y = codes(40)
    state = torch.get_rng_state()
    make = CodePredictor(epochs=2, random_state=5)
    first, second = (clone(make).fit(x, y[:, 0]).predict(x) for _ in range(2))
    assert first.shape == (40,)
    np.testing.assert_array_equal(first, second)
    assert (clone(make).set_params(random_state=6).fit(x, y[:, 0]).predict(x) != first).any()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": (1, 2)}, r"sum to the number of targets, 4 \(got \[1, 2\]\)"),
        ({"groups": (4, 0)}, "'groups' must be positive"),
        ({"dropouts": (0.5,)}, "'dropouts' must be 4 numbers"),
        ({"dropouts": (0.5, 0.5, 0.5, 1.0)}, "from 0 to 0.9"),
        ({"epochs": 0}, "'epochs' must be a whole number, at least 1"),
        ({"batch_size": 1}, "'batch_size' must be a whole number, at least 2"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        CodePredictor(**settings).fit(*codes(20))  # type: ignore[arg-type]
