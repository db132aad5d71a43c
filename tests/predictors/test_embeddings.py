import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from ppuda_like.deepnets import NetworkConfig, network_graph, sample_network
from ppuda_like.errors import CheckpointError, DataError, GraphError, PredictionError
from ppuda_like.ghn import GHN, GHNConfig
from ppuda_like.predictors import GHNEmbedding
from ppuda_like.predictors._embeddings import ghn_hash
from tests.ghn.test_golden_params import ghn_of, golden, graph_of


def small_ghn(seed: int = 0, hid: int = 8) -> GHN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GHN(GHNConfig.ghn2(num_classes=10, kernel=5, hid=hid))


GRAPHS = [network_graph(NetworkConfig(C=8, n_cells=n)) for n in (2, 3, 4)]


@pytest.mark.parametrize("checkpoint", ["ghn1_cifar10", "ghn2_cifar10"])
def test_embeddings_are_those_of_the_reference(checkpoint):
    names = ["resnet18", "vgg11_bn"]
    found = GHNEmbedding(ghn_of(checkpoint)).transform([graph_of(name) for name in names])
    wanted = [golden()[checkpoint][name]["embed_mean"] for name in names]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_nodes", [1, 120, 10_000])
def test_the_batch_does_not_matter(batch_nodes):
    ghn = small_ghn()
    graphs = [GRAPHS[2], GRAPHS[0], GRAPHS[1], GRAPHS[0]]
    with torch.no_grad():
        wanted = torch.cat([ghn.embed(graph) for graph in graphs])
    found = GHNEmbedding(ghn, batch_nodes=batch_nodes).transform(graphs)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_number_of_classes_does_not_matter():
    graphs = [network_graph(NetworkConfig(C=8, n_cells=2, num_classes=n)) for n in (10, 1000)]
    found = GHNEmbedding(small_ghn()).transform(graphs)
    np.testing.assert_array_equal(found[0], found[1])


def test_the_cache_is_asked_first(tmp_path, monkeypatch):
    ghn, path = small_ghn(), tmp_path / "embeddings.h5"
    wanted = GHNEmbedding(ghn).transform(GRAPHS)
    GHNEmbedding(ghn, cache=path).transform(GRAPHS[:2])
    asked = []
    embed = ghn.embed
    monkeypatch.setattr(ghn, "embed", lambda graphs: asked.append(len(graphs)) or embed(graphs))
    for _ in range(2):
        found = GHNEmbedding(ghn, cache=path).transform([*GRAPHS, GRAPHS[0]])
        np.testing.assert_allclose(found, [*wanted, wanted[0]], rtol=1e-4, atol=1e-6)
    assert asked == [1]


def test_a_cache_of_another_checkpoint_is_refused(tmp_path):
    path, file = tmp_path / "embeddings.h5", tmp_path / "other.safetensors"
    small_ghn(1).save_pretrained(file)
    GHNEmbedding(file, cache=path).transform(GRAPHS[:1])
    with pytest.raises(DataError, match=r"embeddings of hypernetwork '.*other.safetensors' .*, not .* 'ghn2-digits'"):
        GHNEmbedding("ghn2-digits", cache=path).fit([])
    with pytest.raises(DataError, match=r"'.*other.safetensors' .*, not .* in memory"):
        GHNEmbedding(small_ghn(2), cache=path).transform(GRAPHS[:1])
    GHNEmbedding(small_ghn(1), cache=path).transform(GRAPHS)  # the same weights, wherever they are


def test_the_hash_is_that_of_weights_and_configuration():
    ghn, before = small_ghn(), ghn_hash(small_ghn())
    assert ghn_hash(ghn) == before
    assert ghn_hash(small_ghn(1)) != before
    with torch.no_grad():
        ghn.ln.bias[0] += 1e-6
    assert ghn_hash(ghn) != before


def test_scikit_learn_takes_it(tmp_path):
    graphs = [network_graph(sample_network("train", i).replace(C=16)) for i in range(6)]
    model = make_pipeline(GHNEmbedding(small_ghn(), cache=tmp_path / "embeddings.h5"), SVR())
    search = GridSearchCV(clone(model), {"svr__C": [1, 10]}, cv=2).fit(graphs, np.arange(6.0))
    assert np.isfinite(search.predict(graphs)).all()
    assert list(model[0].get_feature_names_out()[:2]) == ["embedding 0", "embedding 1"]
    assert GHNEmbedding(small_ghn()).transform([]).shape == (0, 8)


def test_bad_input_is_refused():
    with pytest.raises(CheckpointError, match="did you mean"):
        GHNEmbedding("ghn2-digit").fit([])
    with pytest.raises(DataError, match="'batch_nodes' must be at least 1"):
        GHNEmbedding(small_ghn(), batch_nodes=0).fit([])
    with pytest.raises(GraphError, match="entry 0"):
        GHNEmbedding(small_ghn()).transform(["resnet18"])
    ghn = small_ghn()
    with torch.no_grad():
        ghn.ln.weight.fill_(float("nan"))
    with pytest.raises(PredictionError, match=r"embedding of graph 0 \('Network'\) is not finite"):
        GHNEmbedding(ghn).transform(GRAPHS)
