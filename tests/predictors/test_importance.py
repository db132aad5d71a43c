import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from ppuda_like.errors import DataError
from ppuda_like.predictors import GraphFeatures, feature_importance, random_forest, ridge
from tests.predictors.small_nets import small_nets


def test_the_feature_that_the_property_is_made_of_comes_first() -> None:
    nets = small_nets(60)
    graphs = list(nets.graphs)
    widths = [2 * np.log1p(graph.param_shapes[1][0][0]) for graph in graphs]
    predictor = random_forest(n_estimators=10, random_state=0).fit(graphs[:40], widths[:40])
    found = feature_importance(predictor, graphs[40:], widths[40:], repeats=2)
    assert "channels" in found.names[0]
    assert found.mean[0] > 0.05
    assert sorted(found.names) == sorted(predictor[0].get_feature_names_out())
    again = feature_importance(predictor, graphs[40:], widths[40:], repeats=2)
    np.testing.assert_array_equal(found.mean, again.mean)


def test_a_predictor_of_one_feature_loses_all_of_its_tau_by_it() -> None:
    nets = small_nets(60)
    graphs, count = list(nets.graphs), [graph.num_nodes for graph in nets.graphs]
    line = make_pipeline(GraphFeatures(), LinearRegression()).fit(graphs, count)
    line[-1].coef_ = np.eye(len(line[-1].coef_))[list(line[0].get_feature_names_out()).index("nodes")]
    found = feature_importance(line, graphs, count, repeats=5)
    assert found.names[0] == "nodes"
    assert found.mean[0] == pytest.approx(1, abs=0.25)
    assert (found.mean[1:] == 0).all()


def test_predictors_without_features_are_refused() -> None:
    nets = small_nets(10)
    with pytest.raises(DataError, match=r"first step of a pipeline .got LinearRegression"):
        feature_importance(LinearRegression(), nets.graphs, nets.values("cost"))
    with pytest.raises(DataError, match="one number per network"):
        feature_importance(ridge().fit(list(nets.graphs), nets.values("cost")), nets.graphs, [1.0])
