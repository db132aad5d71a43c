import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.svm import SVR

from ppuda_like.errors import DataError
from ppuda_like.predictors import (
    GraphFeatures,
    LabelledGraphs,
    baseline_predictors,
    calibration,
    embedding_svr,
    gaussian_process,
    gradient_boosting,
    kendall_tau,
    random_forest,
    ridge,
    single_number,
)
from tests.predictors.small_nets import small_net, small_nets


def small_grid(svr: Pipeline) -> Pipeline:
    """The regressor with a grid of two points."""
    return svr.set_params(svr__regressor__param_grid={"C": [1, 100], "gamma": ["auto"]})


@pytest.fixture(scope="module")
def nets() -> LabelledGraphs:
    return small_nets(60)


@pytest.mark.parametrize(
    "predictor",
    [
        ridge(),
        gaussian_process(),
        random_forest(n_estimators=30, random_state=0),
        gradient_boosting(random_state=0),
        small_grid(embedding_svr(GraphFeatures())),
    ],
    ids=lambda predictor: predictor.steps[-1][0],
)
def test_they_learn_and_are_estimators(predictor, nets: LabelledGraphs) -> None:
    train, test = nets.select(slice(40)), nets.select(slice(40, 60))
    made = clone(predictor)
    again = [clone(made).fit(list(train.graphs), train.values("quality")).predict(list(test.graphs)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert kendall_tau(test.values("quality"), again[0]) > 0.8


def test_they_are_searched_and_cross_validated_on_lists_of_graphs(nets: LabelledGraphs) -> None:
    graphs, quality = list(nets.graphs), nets.values("quality")
    assert cross_val_score(ridge(), graphs, quality, cv=3).mean() > 0.8
    search = GridSearchCV(random_forest(random_state=0), {"forest__n_estimators": [1, 20]}, cv=3)
    assert search.fit(graphs, quality).best_params_ == {"forest__n_estimators": 20}


def test_the_published_regressor_is_a_search_over_its_grid(nets: LabelledGraphs) -> None:
    some = nets.select(slice(16))
    graphs, percent = list(some.graphs), 10 * some.values("quality")
    rows = GraphFeatures().fit_transform(graphs)
    by_hand = GridSearchCV(
        SVR(),
        {
            "C": [1, 10, 50, 100, 200, 500, 1000],
            "gamma": ["auto", 0.05, 0.1, 0.2, 0.5],
            "epsilon": [0.05, 0.1, 0.2],
        },
        cv=2,
    ).fit(rows, percent)
    found = embedding_svr(GraphFeatures(), standardize=False, folds=2).fit(graphs, percent)
    np.testing.assert_array_equal(found.predict(graphs), by_hand.predict(rows))


def test_a_standardised_regressor_ignores_the_unit_of_the_property(nets: LabelledGraphs) -> None:
    some = nets.select(slice(30))
    graphs, quality = list(some.graphs), some.values("quality")
    svr = small_grid(embedding_svr(GraphFeatures()))
    one, other = (clone(svr).fit(graphs, factor * quality).predict(graphs) for factor in (1, 2**-10))
    np.testing.assert_allclose(one, 2**10 * other, rtol=1e-12)
    assert np.ptp(one) > 0.5 * np.ptp(quality)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["parameters", "FLOPs"])
def test_a_single_number_orders_by_itself_with_the_sign_learnt(name: str, sign: int, nets: LabelledGraphs) -> None:
    train, test = nets.select(slice(40)), nets.select(slice(40, 60))
    predictor = single_number(name).fit(list(train.graphs), sign * train.values("cost"))
    number = [graph.num_params if name == "parameters" else graph.total_flops for graph in test.graphs]
    assert kendall_tau(number, predictor.predict(list(test.graphs))) == pytest.approx(sign)


def test_the_uncertainty_of_a_gaussian_process_is_calibrated_and_grows_away_from_what_it_learnt() -> None:
    nets = small_nets(160, seed=1, noise=1.0)
    train, test = nets.select(slice(80)), nets.select(slice(80, 160))
    predictor = gaussian_process().fit(list(train.graphs), train.values("quality"))
    mean, std = predictor.predict(list(test.graphs), return_std=True)
    found = calibration(test.values("quality"), mean, std)
    assert 0.8 < found.coverage[0.9] <= 1
    assert found.error < 0.1
    assert predictor.predict([small_net(60, 100, 50)], return_std=True)[1][0] > 1.5 * std.max()


def test_a_property_without_noise_gives_no_warning(nets: LabelledGraphs) -> None:
    some = nets.select(slice(20))
    gaussian_process().fit(list(some.graphs), [graph.num_nodes for graph in some.graphs])


def test_unknown_numbers_and_the_names_of_the_baselines() -> None:
    with pytest.raises(DataError, match=r"one of 'parameters', 'FLOPs' .*got 'depth'"):
        single_number("depth")
    assert list(baseline_predictors()) == ["parameters", "FLOPs", "GRAF + random forest"]
