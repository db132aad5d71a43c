"""Small graphs with properties that follow from them."""

import numpy as np

from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.predictors import LabelledGraphs


def small_net(convs: int, width: int, skips: int) -> ComputationalGraph:
    """A chain of convolutions of one width, the input leading to the sum beside the first ``skips`` of them."""
    last = convs + 1
    edges = [(i, i + 1) for i in range(last)] + [(i, last) for i in range(min(skips, convs))]
    shapes = ((), *(((width, width, 3, 3),) for _ in range(convs)), ())
    return ComputationalGraph(
        ops=("input", *("conv",) * convs, "sum"),
        edge_index=make_edge_index(edges),
        inputs=(0,),
        outputs=(last,),
        param_names=tuple((f"layer{i}.weight",) if shape else () for i, shape in enumerate(shapes)),
        param_shapes=shapes,
        out_shapes=((1, width, 8, 8),) * (convs + 2),
        flops=(0, *(2 * 9 * width * width * 64 for _ in range(convs)), 0),
    )


def small_nets(num: int, seed: int = 0, noise: float = 0.0) -> LabelledGraphs:
    """Networks with ``quality`` (convolutions and skips), ``cost``, ``guess`` (a noisy quality) and codes."""
    rng = np.random.default_rng(seed)
    codes = np.column_stack((rng.integers(1, 9, num), rng.integers(2, 20, num), rng.integers(0, 6, num)))
    convs, width, skips = codes.T
    quality = convs + 0.3 * skips + noise * rng.normal(size=num)
    return LabelledGraphs(
        graphs=[small_net(*map(int, code)) for code in codes],
        labels={"quality": quality, "cost": convs * width**2, "guess": quality + rng.normal(size=num)},
        codes=codes,
        name="small nets",
    )
