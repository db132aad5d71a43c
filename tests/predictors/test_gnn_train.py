from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ppuda_like.predictors._gnn_train as gnn_train
from ppuda_like.errors import PpudaLikeError
from ppuda_like.predictors._gnn import GraphNetwork
from ppuda_like.predictors._gnn_data import Encoder
from ppuda_like.predictors._gnn_train import TrainConfig, predict_members, train_members
from tests.predictors.gnn_cases import chains, encoded, network

GRAPHS = chains(12)
ENCODER = Encoder.fit(GRAPHS)
DATA = encoded(GRAPHS, ENCODER)
TARGET = np.array([graph.ops.count("conv") - 1.5 for graph in GRAPHS])


def trained(
    target: NDArray[np.float64] = TARGET,
    held: NDArray[np.bool_] | None = None,
    weight: NDArray[np.float64] | None = None,
    seed: int = 0,
    **changes: Any,
) -> GraphNetwork:
    net = network(ENCODER)
    train_members(
        net,
        DATA,
        target,
        np.ones(12) if weight is None else weight,
        np.zeros((12, 2), dtype=bool) if held is None else held,
        TrainConfig(**{"steps": 20, "batch_size": 5, **changes}),
        torch.Generator().manual_seed(seed),
    )
    return net


def test_it_learns() -> None:
    found = predict_members(trained(steps=100, learning_rate=1e-2, loss="mse"), DATA)
    assert np.abs(found - TARGET[:, None]).mean() < 0.2


@pytest.mark.parametrize("loss", ["mse", "rank", "both"])
def test_graphs_held_out_from_a_member_do_not_reach_it(loss: str) -> None:
    held = np.zeros((12, 2), dtype=bool)
    held[:4, 0] = True
    other = TARGET.copy()
    other[:4] += np.arange(4) * 3
    before, after = (predict_members(trained(target, held, loss=loss), DATA) for target in (TARGET, other))
    np.testing.assert_allclose(before[:, 0], after[:, 0], rtol=1e-5, atol=1e-5)
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-2


def test_graphs_without_weight_do_not_count() -> None:
    weight = np.ones(12)
    weight[7] = 0
    other = TARGET.copy()
    other[7] = 100
    before, after = (predict_members(trained(target, weight=weight), DATA) for target in (TARGET, other))
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)


def test_the_seed_decides_and_nothing_else_is_touched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = predict_members(trained(seed=1), DATA)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    np.testing.assert_array_equal(predict_members(trained(seed=1), DATA), one)
    assert np.abs(predict_members(trained(seed=2), DATA) - one).max() > 1e-4


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_predictions_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    net = trained()
    wanted = predict_members(net, DATA)
    monkeypatch.setattr(gnn_train, "MOST_READ_NODES", most)
    np.testing.assert_allclose(predict_members(net, DATA), wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(2, 12))
def test_batches_are_bounded_and_hold_every_graph(most: int, batch_size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gnn_train, "MOST_NODES", most)
        batches = gnn_train._shuffled(DATA, batch_size, torch.Generator().manual_seed(0))
        seen: list[int] = []
        while len(seen) < 60:
            group = next(batches)
            assert len(group) == 1 or sum(len(DATA.arrays[i].op) for i in group) <= most
            assert 1 <= len(group) <= batch_size
            seen += group
    for first in range(0, 60, 12):
        assert sorted(seen[first : first + 12]) == list(range(12))


def test_each_member_takes_its_best_weights() -> None:
    net = network(ENCODER)
    stopping = gnn_train._Stopping(net, patience=2)

    def check(value: float, losses: list[float]) -> bool:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.fill_(value)
        return stopping.check(torch.tensor(losses))

    assert [check(1, [3, 3]), check(2, [2, 4]), check(3, [2, 4]), check(4, [float("nan"), 5])] == [False] * 3 + [True]
    stopping.restore()
    assert all(parameter[0].eq(2).all() and parameter[1].eq(1).all() for parameter in net.parameters())


def test_patience_ends_what_does_not_get_better(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    loss = gnn_train.member_loss
    monkeypatch.setattr(gnn_train, "member_loss", lambda *args: steps.append(1) or loss(*args))
    random = np.random.default_rng(0).normal(size=12)  # nothing to learn
    held = np.arange(12)[:, None] % 3 == np.arange(2)
    trained(random, held, steps=200, learning_rate=3e-2, patience=2)
    assert 20 < len(steps) < 180


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_divergence_is_told() -> None:
    with pytest.raises(PpudaLikeError, match=r"lower the learning rate \(1e\+30\)"):
        trained(learning_rate=1e30)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mae"}, "'loss' must be one of mse, rank, both"),
        ({"steps": 9}, "'steps'"),
        ({"batch_size": 1}, "'batch_size'"),
        ({"patience": 0}, "'patience'"),
        ({"learning_rate": 0.0}, "'learning_rate'"),
        ({"weight_decay": -1.0}, "'weight_decay'"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        TrainConfig(**changes)
