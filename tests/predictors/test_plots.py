from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ppuda_like.errors import DataError
from ppuda_like.predictors import (
    Comparison,
    FeatureImportance,
    PredictorRun,
    kendall_tau,
    plot_embedding,
    plot_importance,
    plot_learning_curves,
    plot_predictions,
    score_predictions,
)

RNG = np.random.default_rng(0)
Y = RNG.uniform(size=30)
MEAN = Y + 0.1 * RNG.normal(size=30)


def curves(sizes: tuple[int, ...]) -> Comparison:
    runs = []
    for name, noise in (("good", 0.1), ("flat", 9.0)):
        for size in sizes:
            for seed in (0, 1):
                y = np.random.default_rng(seed + size).normal(size=20)
                mean = y + noise * np.random.default_rng(seed).normal(size=20)
                runs.append(
                    PredictorRun(
                        predictor=name,
                        train_size=size,
                        seed=seed,
                        fold=0,
                        test_size=20,
                        scores=score_predictions(y, mean),
                        fit_seconds=1.0,
                        predict_seconds=1.0,
                    )
                )
    return Comparison(property_name="accuracy", data="", protocol="", runs=tuple(runs), baselines=("flat",))


def test_scatter_shows_every_network_and_says_how_good_it_is() -> None:
    axis = plot_predictions(Y, MEAN, np.full(30, 0.1), label="accuracy", level=0.8)
    (points,) = [found for found in axis.collections if len(found.get_offsets()) == 30]
    np.testing.assert_allclose(points.get_offsets(), np.column_stack((Y, MEAN)))
    inside = np.mean(np.abs(Y - MEAN) <= 1.2815515655 * 0.1)
    expected = f"Kendall tau {kendall_tau(Y, MEAN):.3f}, 30 networks\n80% intervals hold {inside:.0%}"
    assert axis.get_title() == expected
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("accuracy, measured", "accuracy, predicted")


def test_learning_curves_go_through_the_means() -> None:
    found = curves((10, 20, 40))
    axis = plot_learning_curves(found, metric="mae")
    lines = {line.get_label(): line for line in axis.lines}
    assert {name: line.get_linestyle() for name, line in lines.items()} == {"good": "-", "flat": "--"}
    expected = [found.statistic("mae", "good", size)[0] for size in (10, 20, 40)]
    np.testing.assert_allclose(lines["good"].get_ydata(), expected)
    assert len(axis.collections) == 2
    assert [line.get_label() for line in plot_learning_curves(found, predictors=["flat"]).lines] == ["flat"]


def test_figures_that_predictors_lack_are_left_out() -> None:
    found = curves((10, 20))
    calibrated = tuple(
        replace(run, scores=score_predictions([1, 2, 3], [1, 2, 4], [1, 1, 1], top=1))
        if run.predictor == "good"
        else run
        for run in found.runs
    )
    axis = plot_learning_curves(replace(found, runs=calibrated), metric="nll")
    assert [line.get_label() for line in axis.lines] == ["good"]


def test_bars_show_the_most_important_features_first() -> None:
    names = tuple(f"feature {i}" for i in range(20))
    found = FeatureImportance(names=names, mean=np.linspace(0.3, -0.01, 20), deviation=np.full(20, 0.02))
    axis = plot_importance(found, most=5)
    heights = dict(zip(axis.get_yticks(), (label.get_text() for label in axis.get_yticklabels()), strict=True))
    assert [heights[place] for place in sorted(heights, reverse=True)] == list(names[:5])
    assert [bar.get_width() for bar in axis.patches] == list(found.mean[:5])


def test_two_dimensions_hold_what_varies() -> None:
    plane = RNG.normal(size=(40, 2))
    features = plane @ RNG.normal(size=(2, 6))
    axis = plot_embedding(features, plane[:, 0], label="depth")
    places = axis.collections[0].get_offsets()
    scaled = features / features.std(axis=0)

    def distances(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)

    np.testing.assert_allclose(distances(places), distances(scaled), rtol=1e-6)


def test_neighbourhoods_are_the_same_each_time_and_kept() -> None:
    groups = np.repeat([0, 50], 20)
    features = RNG.normal(size=(40, 3)) + groups[:, None]
    before = np.random.get_state()[1].tolist()
    found = [plot_embedding(features, groups, method="tsne").collections[0].get_offsets() for _ in range(2)]
    np.testing.assert_array_equal(*found)
    assert np.random.get_state()[1].tolist() == before
    centres = found[0][:20].mean(axis=0), found[0][20:].mean(axis=0)
    spread = max(np.linalg.norm(found[0][:20] - centres[0], axis=1))
    assert np.linalg.norm(centres[0] - centres[1]) > spread


def test_pictures_go_to_files_and_into_axes(tmp_path: Path) -> None:
    axes = Figure(figsize=(8, 3)).subplots(1, 2)
    assert plot_predictions(Y, MEAN, to=axes[0]) is axes[0]
    for name, kind in (("x.png", b"\x89PNG"), ("y.svg", b"<?xml")):
        plot_predictions(Y, MEAN, to=tmp_path / "new" / name)
        assert (tmp_path / "new" / name).read_bytes().startswith(kind)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["x.png", "y.svg"]


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(DataError, match="needs two sizes"):
        plot_learning_curves(curves((10,)))
    with pytest.raises(DataError, match="'level' must lie between 0 and 1"):
        plot_predictions(Y, MEAN, np.ones(30), level=90)
    with pytest.raises(DataError, match=r"shape \(4, 3\) and values of shape \(4,\)"):
        plot_embedding(np.ones((4, 3)), np.ones(4))
    with pytest.raises(DataError, match="must be finite to be drawn"):
        plot_embedding(RNG.normal(size=(6, 3)), [1, 2, 3, 4, 5, np.nan])
    with pytest.raises(DataError, match=r"'pca' or 'tsne' \(got 'umap'\)"):
        plot_embedding(RNG.normal(size=(6, 3)), range(6), method="umap")
