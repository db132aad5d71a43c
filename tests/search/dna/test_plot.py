from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ppuda_like.search.dna import Ratings, cifar_space, cost_table, plot_front, predicted_losses, search

SPACE = cifar_space(depths=(1, 1, 1, 1))
RATINGS = Ratings.from_arrays(SPACE, [[0.3, 0.1, 0.5, 0.4]] * 4)


def test_one_cost_is_stairs_and_never_below_a_network(tmp_path: Path) -> None:
    front = search(RATINGS, "params")
    numbers = SPACE.sample(50, np.random.default_rng(0))
    others = cost_table(SPACE).costs_of(numbers, ["params"])[:, 0], predicted_losses(RATINGS, numbers)
    axis = plot_front(front, others=others, marked={"best": front.best()})
    stairs = axis.get_lines()[0]
    np.testing.assert_allclose(np.asarray(stairs.get_xdata(), dtype=float) * 1e3, front.costs[:, 0])
    np.testing.assert_allclose(np.asarray(stairs.get_ydata(), dtype=float), front.losses)
    assert axis.get_xlabel() == "params, K"
    assert [text.get_text() for text in axis.texts] == ["best"]
    assert len(axis.collections[0].get_offsets()) == 50
    plot_front(front, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_two_costs_are_coloured_points_in_given_axes() -> None:
    front = search(RATINGS, ("macs", "params"), keep=2)
    axis = Figure().add_subplot()
    assert plot_front(front, axis, title="both") is axis
    (points,) = axis.collections
    assert len(points.get_offsets()) == len(front.pareto()) < len(front)
    np.testing.assert_allclose(points.get_array() * 1e3, front.pareto().costs[:, 1])  # type: ignore[operator]
    assert axis.get_xlabel() == "macs, M"
    assert axis.get_title() == "both"
