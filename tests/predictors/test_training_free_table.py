import pickle
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from torch import nn

from ppuda_like.deepnets import NetworkConfig, network_graph
from ppuda_like.errors import DataError, GraphError
from ppuda_like.graph import trace
from ppuda_like.predictors import TRAINING_FREE_SCORES, TrainingFreeScores, measure_scores, training_free_scores
from ppuda_like.predictors._feature_cache import CacheFacts, FeatureCache
from ppuda_like.vision import digits

IMAGES, LABELS = digits("train").batch(torch.arange(4))
CONFIGS = [NetworkConfig(C=8, n_cells=n) for n in (1, 2, 3)]
GRAPHS = [network_graph(config) for config in CONFIGS]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.h5"
    assert measure_scores(CONFIGS, IMAGES, LABELS, path) == 3
    return path


class Elsewhere(Executor):
    """Runs what is left of the work after a journey."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        function, args = pickle.loads(pickle.dumps((function, args)))
        future.set_result(function(*args))
        return future


def test_scores_are_a_function_of_network_images_and_seed(measured, tmp_path):
    table = TrainingFreeScores(measured).transform(GRAPHS)
    assert table.shape == (3, 4)
    random = torch.get_rng_state()
    torch.manual_seed(5)
    measure_scores(CONFIGS[::-1], IMAGES, LABELS, tmp_path / "again.h5", executor=Elsewhere())
    torch.set_rng_state(random)
    np.testing.assert_array_equal(TrainingFreeScores(tmp_path / "again.h5").transform(GRAPHS), table)
    measure_scores(CONFIGS, IMAGES, LABELS, tmp_path / "other.h5", seed=1)
    assert (TrainingFreeScores(tmp_path / "other.h5").transform(GRAPHS)[:, 0] != table[:, 0]).all()


def test_columns_are_the_scores(measured):
    names = ("naswot", "synflow")
    table = TrainingFreeScores(measured, scores=names)
    assert tuple(table.get_feature_names_out()) == names
    whole = dict(zip(TRAINING_FREE_SCORES, TrainingFreeScores(measured).transform(GRAPHS).T, strict=True))
    np.testing.assert_array_equal(table.transform(GRAPHS), np.stack([whole[name] for name in names], axis=1))
    assert table.transform([]).shape == (0, 2)
    with pytest.raises(DataError, match=r"holds synflow, .*, not ghn_loss"):
        TrainingFreeScores(measured, scores=["ghn_loss"]).fit([])


def test_what_is_there_is_not_measured_again(tmp_path, monkeypatch):
    from ppuda_like.predictors import _training_free_table as module

    path, keep = tmp_path / "scores.h5", module._KEEP
    built = []

    def build(config: NetworkConfig) -> nn.Module:
        built.append(config.n_cells)
        if len(built) == 2:
            raise KeyboardInterrupt
        return config.build("cpu")

    assert keep > 1  # so that the first network is written on the way out
    with pytest.raises(KeyboardInterrupt):
        measure_scores(CONFIGS, IMAGES, LABELS, path, build=build, scores=["naswot"])
    assert measure_scores(CONFIGS, IMAGES, LABELS, path, build=build, scores=["naswot"]) == 2
    assert built == [1, 2, 2, 3]
    assert measure_scores(CONFIGS * 2, IMAGES, LABELS, path, build=build, scores=["naswot"]) == 0


def test_any_networks_with_a_builder(tmp_path):
    def build(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 10))

    def graph(width: int):
        return trace(build(width), (1, 3, 32, 32))

    measure_scores([2, 3], IMAGES, LABELS, tmp_path / "scores.h5", build=build, graph=graph, ghn="ghn2-digits")
    found = TrainingFreeScores(tmp_path / "scores.h5")
    assert list(found.get_feature_names_out()) == [*TRAINING_FREE_SCORES, "ghn_accuracy", "ghn_loss"]
    assert found.transform([graph(2), graph(3)]).shape == (2, 6)


def test_networks_without_scores_are_named(measured):
    new = network_graph(NetworkConfig(C=8, n_cells=4))
    with pytest.raises(
        DataError, match=r"no scores of 1 of 2 networks, first of graph 1 .*measure_scores\(nets, images"
    ):
        TrainingFreeScores(measured).transform([GRAPHS[0], new])
    with pytest.raises(GraphError, match="entry 0"):
        TrainingFreeScores(measured).transform([1])


def test_scores_of_other_images_and_other_scores_are_refused(measured):
    with pytest.raises(DataError, match=r"holds training-free scores of 4 images .* keep these in a file of their own"):
        measure_scores(CONFIGS, IMAGES + 0.1, LABELS, measured)
    with pytest.raises(DataError, match=r"jacobian_covariance\), not .* \(naswot\)"):
        measure_scores(CONFIGS, IMAGES, LABELS, measured, scores=["naswot"])


def test_scores_that_are_not_finite(tmp_path, caplog):
    def build(config: NetworkConfig) -> nn.Module:
        model = config.build("cpu")
        if config.n_cells == 2:
            nn.init.zeros_(model.classifier[0].weight)
        return model

    path = tmp_path / "scores.h5"
    with torch.random.fork_rng(devices=[]):
        assert training_free_scores(build(CONFIGS[1]), IMAGES, LABELS)["synflow"] == -np.inf
    measure_scores(CONFIGS, IMAGES, LABELS, path, build=build)
    assert "synflow of ComputationalGraph(Network" in caplog.text
    with pytest.raises(DataError, match=r"'synflow' of graph 1 \('Network'\) is not finite, and 0 more"):
        TrainingFreeScores(path).transform(GRAPHS)
    found = TrainingFreeScores(path, non_finite="nan").transform(GRAPHS)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 0]]
    assert np.isfinite(TrainingFreeScores(path, scores=["grad_norm"]).transform(GRAPHS)).all()
    with pytest.raises(DataError, match="'non_finite' must be"):
        TrainingFreeScores(path, non_finite="drop").fit([])


def test_files_of_something_else_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        TrainingFreeScores(tmp_path / "scores.h5").fit([])
    facts = CacheFacts(kind="embeddings", source="a test", identity="a", columns=("x",))
    FeatureCache(tmp_path / "scores.h5", facts).add({"ab" * 32: [1]})
    with pytest.raises(DataError, match="holds embeddings, not training-free scores"):
        TrainingFreeScores(tmp_path / "scores.h5").fit([])


def test_scikit_learn_takes_it(measured):
    model = clone(make_pipeline(TrainingFreeScores(measured), Ridge())).fit(GRAPHS, [1.0, 2.0, 3.0])
    assert np.isfinite(model.predict(GRAPHS)).all()
