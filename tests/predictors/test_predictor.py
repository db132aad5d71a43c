import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.pipeline import FeatureUnion
from torch import nn

from ppuda_like.deepnets import DeepNets, generate, network_graph, sample_network
from ppuda_like.errors import CheckpointError, DataError, TraceError
from ppuda_like.predictors import (
    Estimate,
    GHNEmbedding,
    GraphFeatures,
    GraphRegressor,
    LabelledGraphs,
    Predictor,
    PropertyInfo,
    gaussian_process,
    list_predictors,
    rank,
    ridge,
)
from ppuda_like.predictors._estimate import SCALES, interval
from ppuda_like.predictors._gaussian_process_file import write_gaussian_process
from ppuda_like.predictors._predictor_file import read_predictor_file, write_predictor_file

WIDTH = 16


@pytest.fixture(scope="module")
def data() -> LabelledGraphs:
    graphs = [network_graph(sample_network("test", i).replace(C=WIDTH)) for i in range(24)]
    seconds = np.array([1e-9 * graph.macs for graph in graphs])
    return LabelledGraphs(graphs=graphs, labels={"seconds": seconds, "share": seconds / (1 + seconds)})


@pytest.fixture(scope="module", params=["graph network", "Gaussian process"])
def predictor(data: LabelledGraphs, request: pytest.FixtureRequest) -> Predictor:
    info = PropertyInfo(property="seconds", unit="s", scale="log", higher_is_better=False, width=WIDTH)
    if request.param == "graph network":
        return Predictor.fit(info, data, GraphRegressor(hidden=8, n_estimators=2, folds=4, steps=40, random_state=0))
    features = FeatureUnion([("graph", GraphFeatures()), ("embedding", GHNEmbedding("ghn2-digits"))])
    return Predictor.fit(info, data, gaussian_process(features))


@given(
    st.sampled_from(sorted(SCALES)),
    st.floats(-5, 5),
    st.floats(1e-3, 2),
    st.floats(0.01, 0.99),
)
def test_the_interval_holds_with_its_probability(scale, mean, std, level):
    to_scale, _, (lowest, highest) = SCALES[scale]
    median, low, high = interval(np.array([mean]), np.array([std]), scale=scale, level=level)
    assert lowest <= low <= median <= high <= highest
    np.testing.assert_allclose(to_scale(median), mean, atol=1e-6)
    at = norm.cdf(to_scale(np.array([low, high])), mean, std).ravel()
    np.testing.assert_allclose(at[1] - at[0], level, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, math.nan])
def test_an_interval_needs_a_probability(predictor, data, level):
    with pytest.raises(DataError, match="'level' must lie between 0 and 1"):
        predictor.predict(data.graphs[:1], level=level)


def test_estimates_are_those_of_the_regressor_on_the_scale_of_the_property(predictor, data):
    found = predictor.predict(data.graphs)
    np.testing.assert_allclose([entry.value for entry in found], np.exp(predictor.regressor.predict(data.graphs)))
    assert all(0 < entry.low < entry.value < entry.high for entry in found)
    assert not any(entry.outside for entry in found)
    wider = predictor.predict(data.graphs[:1], level=0.99)[0]
    assert wider.low < found[0].low
    assert found[0].high < wider.high


def test_networks_unlike_those_learnt_from_are_told(predictor):
    wide = network_graph(sample_network("test", 0).replace(C=512))
    assert {"parameters", "MACs"} <= set(predictor.predict([wide])[0].outside)


def test_a_model_is_traced_at_the_size_learnt_from(predictor, data):
    config = sample_network("test", 3).replace(C=WIDTH)
    assert predictor(config.build("meta")) == predictor.predict([network_graph(config)])[0]


def test_a_model_that_cannot_be_traced_is_an_error(predictor):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no forward here")

    with pytest.raises(TraceError, match="no forward here"):
        predictor(Broken())


def test_values_outside_of_their_scale_are_named(data):
    info = PropertyInfo(property="share", scale="logit")
    data = LabelledGraphs(graphs=data.graphs, labels={"share": np.r_[1.0, data.values("share")[1:]]})
    with pytest.raises(DataError, match=r"'share' must lie between 0.0 and 1.0.*got 1.0 for network 0, and 0 more"):
        Predictor.fit(info, data, GraphRegressor())
    with pytest.raises(DataError, match="'scale' must be one of identity, log, logit"):
        PropertyInfo(property="share", scale="cubic")


def test_a_predictor_survives_a_file(predictor, data, tmp_path: Path):
    predictor.save(tmp_path / "speed.safetensors")
    found = Predictor.from_pretrained(tmp_path / "speed.safetensors")
    assert json.dumps(asdict(found.info), sort_keys=True) == json.dumps(asdict(predictor.info), sort_keys=True)
    for before, after in zip(predictor.predict(data.graphs), found.predict(data.graphs), strict=True):
        np.testing.assert_allclose(
            (after.value, after.low, after.high), (before.value, before.low, before.high), rtol=1e-6
        )


def save(predictor: Predictor, path: Path, about: dict) -> None:
    if isinstance(predictor.regressor, GraphRegressor):
        predictor.regressor.save(path, about=about)
    else:
        write_gaussian_process(path, predictor.regressor, about)


def test_files_of_something_else_are_refused(predictor, tmp_path: Path):
    with pytest.raises(CheckpointError, match="no bundled predictor is called 'speed'"):
        Predictor.from_pretrained("speed")
    path = tmp_path / "bare.safetensors"
    save(predictor, path, {})
    with pytest.raises(CheckpointError, match="description of the predicted property"):
        Predictor.from_pretrained(path)
    for changed, message in (
        ({"scale": "__import__('os')"}, "'scale' must be one of"),
        ({"input_shape": [1, 3, -5, 5]}, "'input_shape' must be four positive numbers"),
        ({"num_classes": "ten"}, "'num_classes'"),
        ({"ranges": {}}, "must know the ranges of parameters"),
        ({"ranges": 3}, "incomplete or wrong"),
        ({"ranges": {"depth": ["a", "b"]}}, "incomplete or wrong"),
    ):
        save(predictor, path, asdict(predictor.info) | changed)
        with pytest.raises(CheckpointError, match=message):
            Predictor.from_pretrained(path)


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> DeepNets:
    return DeepNets(generate("test", 30, tmp_path_factory.mktemp("rank") / "nets.h5").path, "test")


def test_ranking_sorts_by_the_estimates_of_all_networks(predictor, nets):
    ranked = rank(predictor, nets, top=None)
    graphs = [network_graph(nets.config(i).replace(C=WIDTH)) for i in range(len(nets))]
    values = [entry.value for entry in predictor.predict(graphs)]
    assert [entry.net for entry in ranked] == sorted(range(len(nets)), key=values.__getitem__)
    assert [entry.macs for entry in ranked] == [graphs[entry.net].macs for entry in ranked]
    assert rank(predictor, nets, top=3) == ranked[:3]


def test_ranking_some_networks_names_them_by_their_place_in_the_store(predictor, nets):
    some = rank(predictor, nets[[5, 20, 7]], top=None)
    assert [entry.net for entry in some] == [e.net for e in rank(predictor, nets, top=None) if e.net in (5, 20, 7)]


def test_there_must_be_something_to_rank(predictor, nets):
    with pytest.raises(DataError, match="no network to rank"):
        rank(predictor, nets[:0])
    with pytest.raises(DataError, match="'top' must be at least 1"):
        rank(predictor, nets, top=0)


def test_an_estimate_is_a_value():
    assert Estimate(value=1, low=0, high=2, level=0.9) == Estimate(value=1, low=0, high=2, level=0.9)


def test_every_bundled_predictor_gives_estimates_of_networks_it_never_saw(data):
    assert {"digits-accuracy", "digits-robustness", "digits-speed", "digits-convergence"} <= set(list_predictors())
    graphs = [network_graph(sample_network("search", i).replace(C=8)) for i in range(4)]
    for name in list_predictors():
        predictor = Predictor.from_pretrained(name)
        assert 0 < predictor.info.tau < 1
        found = predictor.predict(graphs)
        assert all(0 < entry.low < entry.value < entry.high for entry in found)
        assert len({entry.value for entry in found}) == len(graphs)


def test_files_that_do_not_fit_together_are_refused(predictor, tmp_path: Path):
    path = tmp_path / "speed.safetensors"
    predictor.save(path)
    good = read_predictor_file(path)
    name = next(iter(good.tensors))
    for changed, message in (
        ({"kind": "forest"}, "holds a 'forest'; known are"),
        ({"tensors": {key: value for key, value in good.tensors.items() if key != name}}, "fits together"),
        ({"tensors": {**good.tensors, name: good.tensors[name] * math.nan}}, "NaN or infinity"),
        ({"arguments": {}}, "fits together"),
        ({"fitted": {}}, "fits together"),
    ):
        write_predictor_file(path, good._replace(**changed))
        with pytest.raises(CheckpointError, match=message):
            Predictor.from_pretrained(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        Predictor.from_pretrained(path)


def test_a_hypernetwork_with_other_weights_is_refused(data, tmp_path: Path):
    path = tmp_path / "speed.safetensors"
    info = PropertyInfo(property="seconds", scale="log", width=WIDTH)
    Predictor.fit(info, data, gaussian_process(GHNEmbedding("ghn2-digits"))).save(path)
    content = read_predictor_file(path)
    content.arguments["features"]["hash"] = "0" * 16
    write_predictor_file(path, content)
    with pytest.raises(CheckpointError, match="'ghn2-digits' with other weights"):
        Predictor.from_pretrained(path)


def test_what_a_file_cannot_hold_is_an_error(data, tmp_path: Path):
    info = PropertyInfo(property="seconds", scale="log", width=WIDTH)
    predictor = Predictor(
        ridge().fit(data.graphs, data.values("seconds")), Predictor.fit(info, data, gaussian_process()).info
    )
    with pytest.raises(CheckpointError, match="a pipeline can be saved that gaussian_process made"):
        predictor.save(tmp_path / "ridge.safetensors")
    assert not list(tmp_path.iterdir())
