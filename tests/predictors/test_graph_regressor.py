import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ppuda_like.errors import CheckpointError, DataError, GraphError, PpudaLikeError
from ppuda_like.predictors import GraphFeatures, GraphRegressor, PositionalEncoding
from ppuda_like.predictors._graph_regressor import _calibrated
from tests.predictors.gnn_cases import chain, chains

GRAPHS = chains(30)
Y = np.array([3.0 * graph.ops.count("conv") - graph.num_nodes + 100 for graph in GRAPHS])
NEW = chains(10, seed=1)


def small(**changes: Any) -> GraphRegressor:
    settings: dict[str, Any] = {"hidden": 8, "num_layers": 2, "n_estimators": 2, "folds": 3, "steps": 30}
    return GraphRegressor(**{**settings, **changes})


@pytest.fixture(scope="module")
def fitted() -> GraphRegressor:
    return small().fit(GRAPHS, Y)


def test_it_learns() -> None:
    regressor = small(steps=120, learning_rate=1e-2, n_estimators=3, folds=5).fit(GRAPHS, Y)
    assert regressor.score(GRAPHS, Y) > 0.95
    mean, std = regressor.predict(NEW, return_std=True)
    wanted = np.array([3.0 * graph.ops.count("conv") - graph.num_nodes + 100 for graph in NEW])
    assert np.corrcoef(mean, wanted)[0, 1] > 0.8
    assert (std > 0).all()
    assert np.mean(np.abs(mean - wanted) < 4 * std) > 0.7


@pytest.mark.parametrize("loss", ["mse", "rank", "both"])
def test_the_unit_of_the_target_is_the_unit_of_the_prediction(loss: Any) -> None:
    plain = small(loss=loss).fit(GRAPHS, Y).predict(NEW, return_std=True)
    scaled = small(loss=loss).fit(GRAPHS, 1000 * Y - 7).predict(NEW, return_std=True)
    np.testing.assert_allclose(scaled[0], 1000 * plain[0] - 7, rtol=1e-3)
    np.testing.assert_allclose(scaled[1], 1000 * plain[1], rtol=1e-2)


def test_scores_of_ranking_become_values() -> None:
    regressor = small(loss="rank", steps=100, learning_rate=1e-2).fit(GRAPHS, Y)
    found = regressor.predict(GRAPHS)
    np.testing.assert_allclose(found.mean(), Y.mean(), atol=0.5)
    assert regressor.score(GRAPHS, Y) > 0.7


def test_the_seed_decides_and_nothing_else_is_touched(fitted: GraphRegressor) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    np.testing.assert_array_equal(small().fit(GRAPHS, Y).predict(NEW), fitted.predict(NEW))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == numpy_state
    assert np.abs(small(random_state=1).fit(GRAPHS, Y).predict(NEW) - fitted.predict(NEW)).max() > 1e-3


def test_states_of_randomness() -> None:
    few = {"steps": 10}
    one, other = (small(random_state=np.random.RandomState(3), **few).fit(GRAPHS, Y).predict(NEW) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    one, other = (small(random_state=None, **few).fit(GRAPHS, Y).predict(NEW) for _ in range(2))
    assert np.abs(one - other).max() > 1e-3


def test_graphs_that_stand_several_times(fitted: GraphRegressor) -> None:
    one, two = GRAPHS[0], GRAPHS[1]
    wanted = fitted.predict([one, two])
    np.testing.assert_allclose(fitted.predict([one, one, two, one, two, two]), wanted[[0, 0, 1, 0, 1, 1]], rtol=1e-6)
    assert fitted.predict([]).shape == (0,)


def test_equal_graphs_count_as_one_with_their_mean() -> None:
    twice = [graph for graph in GRAPHS for _ in range(2)]
    noise = np.tile([5.0, -5.0], len(GRAPHS))
    one, other = (small().fit(twice, np.repeat(Y, 2) + sign * noise) for sign in (1, -1))
    np.testing.assert_allclose(one.predict(NEW), other.predict(NEW), rtol=1e-3)
    # What no graph can tell is part of the uncertainty.
    assert one.predict(NEW, return_std=True)[1].mean() > 4


def test_intervals_that_errors_ask_for() -> None:
    random = np.random.default_rng(0)
    true = np.exp(random.normal(size=4000))
    said = true[:, None] * random.normal(size=(4000, 8))  # members disagree by that much
    held = np.zeros((4000, 8), dtype=bool)
    held[np.arange(4000), random.integers(8, size=4000)] = True
    # The member that did not see a graph is off by 0.7 besides what it says.
    target = np.where(held, said, 0).sum(axis=1) + np.sqrt(2 * true**2 + 0.49) * random.normal(size=4000)
    factor, noise = _calibrated(said, target, held)
    assert factor == pytest.approx(2, rel=0.3)
    assert noise == pytest.approx(0.49, rel=0.4)
    # A single member has no spread.
    factor, noise = _calibrated(said[:, :1], said[:, 0] + 3, np.ones((4000, 1), dtype=bool))
    assert (factor, noise) == (0, pytest.approx(9))


def test_it_is_a_regressor_of_scikit_learn() -> None:
    regressor = small(steps=10, features=GraphFeatures(unknown="ignore"))
    again = clone(regressor)
    assert again.get_params(deep=False).keys() == regressor.get_params(deep=False).keys()
    search = GridSearchCV(regressor, {"num_layers": [1], "features__unknown": ["ignore"]}, cv=3).fit(GRAPHS, Y)
    assert search.predict(NEW).shape == (10,)
    wrapped = TransformedTargetRegressor(make_pipeline(FunctionTransformer(), regressor), transformer=StandardScaler())
    assert cross_val_predict(wrapped, GRAPHS, Y, cv=2).shape == (30,)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "gated"},
        {"backbone": "gps"},
        {"virtual_cutoff": 3},
        {"features": PositionalEncoding(2)},
        {"features": GraphFeatures(), "loss": "rank", "ops": ("gelu",)},
        {"n_estimators": 1, "patience": 3},
    ],
    ids=str,
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, changes: dict[str, Any]) -> None:
    regressor = small(steps=10, **changes).fit(GRAPHS, Y)
    path = tmp_path / "regressor.safetensors"
    regressor.save(path, about={"unit": "ms", "sizes": [1, 2]})
    again, about = GraphRegressor.read(path)
    assert about == {"unit": "ms", "sizes": [1, 2]}
    assert str(again.get_params()) == str(regressor.get_params())
    for one, other in zip(
        regressor.predict(NEW, return_std=True), GraphRegressor.load(path).predict(NEW, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_operations_that_are_not_known(fitted: GraphRegressor) -> None:
    strange = chain("input", "gelu", "conv")
    with pytest.raises(GraphError, match=r"\['gelu'\]"):
        fitted.predict([*NEW, strange])
    # Known, but in no training graph: it says nothing, not something at random.
    regressor = small(ops=("gelu", "swish"), steps=10).fit(GRAPHS, Y)
    other = chain("input", "swish", "conv")
    assert regressor.predict([strange])[0] == pytest.approx(regressor.predict([other])[0])


@pytest.mark.parametrize(
    ("graphs", "y", "error", "message"),
    [
        ([], [], DataError, "got none"),
        (GRAPHS, Y[:-1], DataError, r"shape \(30,\) \(got \(29,\)\)"),
        (GRAPHS, Y[:, None], DataError, r"got \(30, 1\)"),
        (GRAPHS, np.where(np.arange(30) == 4, np.nan, Y), DataError, "got nan for graph 4"),
        (GRAPHS, np.full(30, 0.1), DataError, "all 30 values of 'y' are 0.1"),
        (GRAPHS[:2], [0, 1], DataError, "3 folds need at least 3 graphs"),
        (GRAPHS[:1] * 30, np.arange(30.0), DataError, r"told apart \(got 1\)"),
        ([*GRAPHS[:-1], "resnet18"], Y, GraphError, "entry 29 must be a ComputationalGraph"),
        (GRAPHS[0], Y, GraphError, "wrap it in a list"),
    ],
)
def test_bad_input(graphs: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().fit(graphs, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, "'folds'"),
        ({"n_estimators": 0}, "'members'"),
        ({"loss": "mae"}, "'loss'"),
        ({"backbone": "gcn"}, "'backbone'"),
        ({"virtual_cutoff": 0}, "'cutoff'"),
        ({"features": FunctionTransformer(lambda graphs: np.full((len(graphs), 1), np.inf))}, "'features' must give"),
        ({"patience": 1, "folds": 16}, "need at least 32 graphs"),
    ],
)
def test_arguments_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        small(**changes).fit(GRAPHS, Y)


def test_before_it_is_fitted(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        small().predict(GRAPHS)
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "regressor.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_no_file_can_hold(tmp_path: Path) -> None:
    own = FunctionTransformer(lambda graphs: np.array([[graph.num_nodes] for graph in graphs]))
    for changes, message in (
        ({"features": own}, "GraphFeatures, PositionalEncoding"),
        ({"random_state": np.random.RandomState(0)}, "'random_state' is a number or None"),
    ):
        with pytest.raises(CheckpointError, match=message):
            small(steps=10, **changes).fit(GRAPHS, Y).save(tmp_path / "regressor.safetensors")
    assert not list(tmp_path.iterdir())


class Parts:
    """A file taken apart, to be put together wrongly."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            self.header: dict[str, str] = dict(file.metadata())
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)

    def change(self, part: str, **values: Any) -> None:
        self.header[part] = json.dumps({**json.loads(self.header[part]), **values})


def _halve(parts: Parts) -> None:
    parts.tensors["network.op"] = parts.tensors["network.op"].half()


def _put_nan(parts: Parts) -> None:
    parts.tensors["network.op"][0, 0, 0] = float("nan")


def _put_zero(parts: Parts) -> None:
    parts.tensors["target_scale"][1] = 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda parts: parts.header.update(format="99"), "format '99'"),
        (lambda parts: parts.header.update(kind="ghn"), "kind is 'ghn'"),
        (lambda parts: parts.header.pop("about"), "names"),
        (lambda parts: parts.header.update(arguments="{"), "is not JSON"),
        (lambda parts: parts.header.update(arguments="[]"), "must hold JSON objects"),
        (lambda parts: parts.header.update(about="[1]"), "must hold JSON objects"),
        (lambda parts: parts.header.update(fitted="[" * 100_000), "is not JSON .*recursion"),
        (lambda parts: parts.change("arguments", __class__=1), "arguments differ"),
        (lambda parts: parts.change("arguments", hidden=10**9), "'network.op'"),
        (lambda parts: parts.change("arguments", num_layers=10**9), "too few for"),
        (lambda parts: parts.change("arguments", num_layers=3), "tensors differ"),
        (lambda parts: parts.change("arguments", backbone="gcn"), "'backbone'"),
        (lambda parts: parts.change("arguments", virtual_cutoff="5"), "'virtual_cutoff'"),
        (lambda parts: parts.change("fitted", num_facts=10**12), "'fact_scale'"),
        (lambda parts: parts.change("arguments", features={"name": "os.system", "arguments": {}}), "known are"),
        (lambda parts: parts.change("fitted", ops=["a", 1]), "list of names"),
        (lambda parts: parts.change("fitted", residual_variance=-1), "'residual_variance'"),
        (lambda parts: parts.change("fitted", node_features=["a"]), "features of nodes"),
        (lambda parts: parts.change("fitted", num_facts=7), "'fact_scale'"),
        (lambda parts: parts.tensors.pop("network.out.bias"), "tensors differ"),
        (lambda parts: parts.tensors.pop("fact_scale"), "KeyError"),
        (_halve, "must be torch.float32"),
        (_put_nan, "NaN or infinity"),
        (_put_zero, "divide by positive numbers"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path: Path, fitted: GraphRegressor, harm: Any, message: str) -> None:
    path = tmp_path / "regressor.safetensors"
    fitted.save(path)
    parts = Parts(path)
    harm(parts)
    save_file(parts.tensors, path, metadata=parts.header)
    with pytest.raises(CheckpointError, match=message):
        GraphRegressor.load(path)


def test_damaged_files(tmp_path: Path, fitted: GraphRegressor) -> None:
    path = tmp_path / "regressor.safetensors"
    with pytest.raises(CheckpointError, match="check the path"):
        GraphRegressor.load(path)
    fitted.save(path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"PK" + whole):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a complete safetensors file"):
            GraphRegressor.load(path)
