"""Networks drawn at random: network i of a split is a function of the split, a seed and i."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Literal, overload

import numpy as np

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._count import count_parameters
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import Edge, Genotype
from ppuda_like.deepnets._ops import OPS
from ppuda_like.deepnets._plan import plan_network
from ppuda_like.deepnets._predefined import ResNetConfig, predefined_network
from ppuda_like.deepnets._split import SPLITS, Split

__all__ = [
    "GENERATOR",
    "Rejection",
    "SampledSplit",
    "draw_network",
    "imagenet_network",
    "rejection",
    "sample_candidate",
    "sample_network",
]

SampledSplit = Literal["train", "val", "test", "search", "wide", "deep", "dense", "bnfree"]
"""The splits whose networks are drawn at random."""

GENERATOR = 1
"""Version of the random streams; networks are the same only under the same version."""

_WITH_NONE = tuple(OPS)
_WITHOUT_NONE = tuple(op for op in OPS if op != "none")
_FIXED = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect")
_FIXED_WITHOUT_NONE = _FIXED[1:]
_LARGE_KERNELS = ("conv_5x5", "conv_7x7")


class Rejection(Enum):
    """Why a candidate is not part of a split."""

    NOTHING_TO_LEARN = "no operation of its cells has weights"
    CSE_ALONE = "channel squeeze-and-excitation, but no convolution in any cell"
    MANY_CSE = "more than one channel squeeze-and-excitation in a cell"
    MANY_LARGE_KERNELS = "more than one 5x5 or 7x7 convolution in a cell"
    DISCONNECTED = "no path leads from the input to the output"
    TOO_LARGE = "more parameters than the split allows"


@overload
def sample_network(
    split: SampledSplit, index: int, seed: int | None = None, *, is_imagenet_input: bool = False
) -> NetworkConfig: ...


@overload
def sample_network(
    split: str, index: int, seed: int | None = None, *, is_imagenet_input: bool = False
) -> NetworkConfig | ResNetConfig: ...


def sample_network(
    split: str, index: int, seed: int | None = None, *, is_imagenet_input: bool = False
) -> NetworkConfig | ResNetConfig:
    """Network ``index`` of a split (arXiv:2110.13100, section 3.1).

    It depends on the arguments alone: networks may be drawn in any order, by any number of workers.  Candidates that
    the split does not take are drawn again from the network's own random stream.

    Args:
        split: one of :data:`SPLITS`.
        index: from 0; not bounded by the size of the published split, but for ``predefined``.
        seed: of the random streams; None for that of the split.
        is_imagenet_input: whether for 224x224 images of 1,000 classes and not for 32x32 images of 10.

    Raises:
        NetworkError: if there is no such split, or no such network in it.

    Example:
        >>> sample_network("test", 7) == sample_network("test", 7)
        True
        >>> sample_network("wide", 7) == sample_network("test", 7).replace(C=128)
        True
    """
    drawn = SPLITS[split]
    if index < 0:
        raise NetworkError(f"networks are numbered from 0 (got {index})")
    if split == "predefined":
        return predefined_network(index, is_imagenet_input=is_imagenet_input)
    config, _ = draw_network(split, index, drawn.seed if seed is None else seed)
    return imagenet_network(config, split) if is_imagenet_input else config


def draw_network(split: str, index: int, seed: int) -> tuple[NetworkConfig, Counter[Rejection]]:
    """Network ``index`` of a split for 32x32 images, and why the candidates before it were rejected."""
    stream = np.random.SeedSequence(seed, spawn_key=(SPLITS[split].code, index))
    rng = np.random.Generator(np.random.Philox(stream))
    rejected: Counter[Rejection] = Counter()
    config = sample_candidate(rng, split)
    while (reason := rejection(config, split)) is not None:
        rejected[reason] += 1
        config = sample_candidate(rng, split)
    return config.replace(C=4 * config.C) if split == "wide" else config, rejected


def imagenet_network(config: NetworkConfig, split: str) -> NetworkConfig:
    """The network of a split for 224x224 images of 1,000 classes, given the one for 32x32 images."""
    C = config.C // 2 if split == "wide" else config.C
    return config.replace(C=C, is_imagenet_input=True, num_classes=1000)


def sample_candidate(rng: np.random.Generator, split: str) -> NetworkConfig:
    """A random network from which a split is picked, at C=32 for 32x32 images; :func:`rejection` judges it.

    Args:
        rng: where randomness comes from.
        split: one of :data:`SPLITS` but ``predefined``; the candidates of ``wide`` are those of ``test``.

    Raises:
        NetworkError: if there is no such split.
    """
    drawn = SPLITS[split]
    if split == "predefined":
        raise NetworkError("the networks of split 'predefined' are not drawn at random; see 'sample_network'")
    n_cells = _between(rng, *drawn.n_cells)
    deep = n_cells > _between(rng, *drawn.threshold)
    steps = _between(rng, *(drawn.steps_deep if deep else drawn.steps))
    genotype = _sample_genotype(rng, steps)
    attention = genotype.is_transformer
    C_mult = _between(rng, 1, 2)
    stem_type = _between(rng, 0, 1)
    # Several states in a concatenation or wider cells need preprocessing; drawn even where not used, so that the
    # choices after it come from the same place of the stream.
    plain = _coin(rng, 0.8)
    vgg_head = _coin(rng, 0.1)
    no_norm = _coin(rng, 0.5)
    return NetworkConfig(
        genotype=genotype,
        n_cells=n_cells,
        ks=(3, 5, 7)[_between(rng, 0, 2)],
        stem_type=stem_type,
        stem_pool=_coin(rng, 0.5) and stem_type == 0,
        norm=None if drawn.norm_free or (no_norm and n_cells <= 5 and steps <= 2) else "bnorm",
        preproc=steps > 1 or C_mult > 1 or not (attention and plain),
        C_mult=C_mult,
        fc_layers=_between(rng, 1, 2),
        glob_avg=attention or deep or not vgg_head,
    )


def rejection(config: NetworkConfig, split: str) -> Rejection | None:
    """Why a split does not take a candidate; None if it does.

    Args:
        config: what :func:`sample_candidate` drew.
        split: one of :data:`SPLITS`.

    Raises:
        NetworkError: if there is no such split.
    """
    drawn = SPLITS[split]
    genotype = config.genotype
    cells = [[op for op, _ in edges] for edges in (genotype.normal, genotype.reduce)]
    if genotype.ops <= set(_FIXED):
        return Rejection.NOTHING_TO_LEARN
    if "cse" in genotype.ops and not any("conv" in op for op in genotype.ops):
        return Rejection.CSE_ALONE
    if any(ops.count("cse") > 1 for ops in cells):
        return Rejection.MANY_CSE
    if any(sum(map(ops.count, _LARGE_KERNELS)) > 1 for ops in cells):
        return Rejection.MANY_LARGE_KERNELS
    if not plan_network(config).connected:
        return Rejection.DISCONNECTED
    return Rejection.TOO_LARGE if _too_large(config, drawn) else None


def _too_large(config: NetworkConfig, split: Split) -> bool:
    small = config.replace(C=32, num_classes=10)
    return any(count_parameters(small.replace(is_imagenet_input=large)) > split.max_params for large in (False, True))


def _sample_genotype(rng: np.random.Generator, steps: int) -> Genotype:
    normal = _sample_cell(rng, steps, _WITH_NONE if steps > 1 else _WITHOUT_NONE)
    if _coin(rng, 0.5):
        reduce = _sample_cell(rng, steps, _FIXED if steps > 1 else _FIXED_WITHOUT_NONE)
    else:
        reduce = _sample_cell(rng, steps, _WITH_NONE if steps > 1 else _WITHOUT_NONE)
    drop = steps > 1 and _coin(rng, 0.5)
    last = steps + 1
    concat = [state for state in range(2, last) if not (drop and _coin(rng, 0.5))] + [last]
    return Genotype(normal=normal, normal_concat=tuple(concat), reduce=reduce, reduce_concat=tuple(concat))


def _sample_cell(rng: np.random.Generator, steps: int, ops: tuple[str, ...]) -> tuple[Edge, ...]:
    edges = []
    for step in range(steps):
        first = _between(rng, 0, step + 1)
        second = _between(rng, 0, step)
        for state in (first, second + (second >= first)):  # two distinct states, in any order
            edges.append((ops[_between(rng, 0, len(ops) - 1)], state))
    return tuple(edges)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _coin(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)
