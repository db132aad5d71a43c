import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from ppuda_like.deepnets import (
    SPLITS,
    Genotype,
    NetworkConfig,
    NetworkError,
    Rejection,
    ResNetConfig,
    count_parameters,
    rejection,
    sample_candidate,
    sample_network,
)

DRAWN = [split for split in SPLITS if split != "predefined"]


def sample(split: str, index: int, seed: int | None = None) -> NetworkConfig:
    config = sample_network(split, index, seed)
    assert isinstance(config, NetworkConfig)
    return config


@given(st.sampled_from(list(DRAWN)), st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_depends_on_split_seed_and_index_alone(split: str, index: int, seed: int | None) -> None:
    config = sample(split, index, seed)
    sample(split, index + 1, seed)
    assert sample(split, index, seed) == config
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert rejection(config, split) is None


def test_streams_differ() -> None:
    nets = [sample("train", 0), sample("train", 1), sample("train", 0, 5), sample("search", 0), sample("test", 0)]
    assert len(set(nets)) == len(nets)
    assert sample("val", 3) == sample("val", 3, 0)
    assert sample("test", 3) == sample("test", 3, 1)
    assert len({sample("train", index) for index in range(200)}) == 200


def test_streams_stay() -> None:
    # Networks are known by their number: a change here changes every stored data set.
    nets = [sample(split, index).to_dict() for split in DRAWN for index in range(5)]
    digest = hashlib.sha256(json.dumps(nets, sort_keys=True).encode()).hexdigest()
    assert digest[:16] == "79e6f318759fa8e5"


@pytest.mark.parametrize("split", DRAWN)
def test_limits(split: str) -> None:
    limits = SPLITS[split]
    nets = [sample(split, index) for index in range(100)]
    for net in nets:
        genotype = net.genotype
        deep = net.n_cells > limits.threshold[1]
        low, high = limits.steps_deep if deep else limits.steps
        assert min(low, limits.steps_deep[0]) <= genotype.num_steps <= high
        assert limits.n_cells[0] <= net.n_cells <= limits.n_cells[1]
        assert (128 if split == "wide" else 32) == net.C
        small = net.replace(C=32)
        assert count_parameters(small) <= limits.max_params
        assert count_parameters(small.replace(is_imagenet_input=True)) <= limits.max_params
        assert net.norm in ((None,) if limits.norm_free else (None, "bnorm"))
        assert net.preproc or (genotype.num_steps == 1 and net.C_mult == 1 and genotype.is_transformer)
        assert net.glob_avg or not (genotype.is_transformer or deep)
        assert not (net.stem_pool and net.stem_type)
        assert genotype.num_steps > 1 or "none" not in genotype.ops
        assert genotype.num_steps + 1 in genotype.normal_concat
        for edges in (genotype.normal, genotype.reduce):
            assert all(edges[i][1] != edges[i + 1][1] for i in range(0, len(edges), 2))
    assert {net.n_cells for net in nets} >= {limits.n_cells[0] + 1, limits.n_cells[1] - 1}
    assert {net.ks for net in nets} == {3, 5, 7}
    assert {net.fc_layers for net in nets} == {1, 2}
    assert {net.stem_type for net in nets} == {0, 1}


def test_wide_is_test_widened() -> None:
    for index in range(10):
        test, wide = sample_network("test", index), sample_network("wide", index)
        assert wide == test.replace(C=128)
        large = sample_network("wide", index, is_imagenet_input=True)
        assert large == test.replace(C=64, is_imagenet_input=True, num_classes=1000)


def test_predefined() -> None:
    resnet, vit = sample_network("predefined", 0), sample_network("predefined", 1)
    assert isinstance(resnet, ResNetConfig)
    assert isinstance(vit, NetworkConfig)
    counts = [sum(p.numel() for p in config.build("meta").parameters()) for config in (resnet, vit)]
    assert counts == [23_520_842, 1_012_234]
    assert resnet.build("meta").input_shape == (1, 3, 32, 32)
    large = [sample_network("predefined", index, is_imagenet_input=True) for index in (0, 1)]
    counts = [sum(p.numel() for p in config.build("meta").parameters()) for config in large]
    assert counts == [25_557_032, 1_244_392]
    assert ResNetConfig.from_dict(resnet.to_dict()) == resnet
    assert resnet.replace(num_classes=3).num_classes == 3
    with pytest.raises(NetworkError, match=r"holds networks 0 \(ResNet-50\) and 1 \(ViT\) \(got 2\)"):
        sample_network("predefined", 2)


def test_errors() -> None:
    with pytest.raises(NetworkError, match=r"unknown split 'tets'; did you mean \['test'\]"):
        sample_network("tets", 0)
    with pytest.raises(NetworkError, match=r"numbered from 0 \(got -1\)"):
        sample_network("test", -1)
    with pytest.raises(NetworkError, match="not drawn at random"):
        sample_candidate(np.random.default_rng(0), "predefined")


CONVS = [("conv_3x3", 0), ("sep_conv_3x3", 1)]
NO_CONVS = [("skip_connect", 0), ("max_pool_3x3", 1)]


@pytest.mark.parametrize(
    ("normal", "reduce", "reason"),
    [
        (CONVS, NO_CONVS, None),
        (NO_CONVS, NO_CONVS, Rejection.NOTHING_TO_LEARN),
        ([("msa", 0), ("skip_connect", 1)], NO_CONVS, None),
        ([("cse", 0), ("skip_connect", 1)], NO_CONVS, Rejection.CSE_ALONE),
        ([("cse", 0), ("msa", 1)], NO_CONVS, Rejection.CSE_ALONE),
        ([("cse", 0), ("skip_connect", 1)], CONVS, None),
        ([("cse", 0), ("cse", 1)], CONVS, Rejection.MANY_CSE),
        ([("cse", 0), ("conv_1x1", 1)], [("cse", 0), ("conv_1x1", 1)], None),
        ([("conv_5x5", 0), ("conv_7x7", 1)], NO_CONVS, Rejection.MANY_LARGE_KERNELS),
        ([("conv_5x5", 0), ("skip_connect", 1)], [("conv_7x7", 0), ("skip_connect", 1)], None),
        ([("sep_conv_5x5", 0), ("dil_conv_5x5", 1)], [("conv_7x1_1x7", 0), ("conv_7x1_1x7", 1)], None),
        (CONVS, [("none", 0), ("none", 1)], Rejection.DISCONNECTED),
        ([("none", 0), ("none", 1)], CONVS, Rejection.DISCONNECTED),
        ([("conv_3x3", 0), ("none", 1)], NO_CONVS, None),
    ],
)
def test_rejection(normal: list[tuple[str, int]], reduce: list[tuple[str, int]], reason: Rejection | None) -> None:
    genotype = Genotype(normal=tuple(normal), normal_concat=(2,), reduce=tuple(reduce), reduce_concat=(2,))
    assert rejection(NetworkConfig(genotype=genotype, n_cells=4), "test") is reason


def test_rejection_of_large_networks() -> None:
    cell = (("conv_3x3", 0), ("conv_3x3", 1), ("conv_7x7", 2), ("conv_3x3", 1))
    genotype = Genotype(normal=cell, normal_concat=(2, 3), reduce=cell, reduce_concat=(2, 3))
    config = NetworkConfig(genotype=genotype, n_cells=18)
    assert count_parameters(config) > 10_000_000
    assert rejection(config, "test") is Rejection.TOO_LARGE
    assert rejection(config, "dense") is None
    # What counts is the size at C=32, for images of both sizes.
    assert rejection(config.replace(C=8), "test") is Rejection.TOO_LARGE
    head = config.replace(n_cells=7, glob_avg=False, fc_layers=2)
    assert count_parameters(head) < 10_000_000 < count_parameters(head.replace(is_imagenet_input=True))
    assert rejection(head, "test") is Rejection.TOO_LARGE


def _features(genotype: dict[str, Any], n_cells: int, norm: str | None, num_params: int) -> dict[str, Any]:
    learnable = {"none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"}
    ops = {op for op, _ in [*genotype["normal"], *genotype["reduce"]]}
    return {
        "steps and depth": (min(len(genotype["normal"]) // 2, 3), n_cells // 5),
        "attention": "msa" in ops,
        "cse": "cse" in ops,
        "large kernels": bool(ops & {"conv_5x5", "conv_7x7"}),
        "fixed reduction": {op for op, _ in genotype["reduce"]} <= learnable,
        "concat": len(genotype["normal_concat"]),
        "norm": norm,
        "size": sum(num_params > limit for limit in (100_000, 200_000, 400_000, 1_000_000, 2_500_000)),
    }


def test_same_distribution_as_the_reference(golden_nets: dict[str, Any]) -> None:
    theirs = [
        _features(net["genotype"], net["n_cells"], net["norm"], net["num_params"]["cifar10"])
        for net in golden_nets["nets"]
    ]
    drawn = [sample("test", index) for index in range(1000)]
    ours = [_features(net.genotype.to_dict(), net.n_cells, net.norm, count_parameters(net)) for net in drawn]
    for key in theirs[0]:
        counts = [Counter(net[key] for net in nets) for nets in (theirs, ours)]
        kinds = sorted(counts[0] | counts[1], key=str)
        table = np.array([[count[kind] for kind in kinds] for count in counts])
        assert chi2_contingency(table[:, table.sum(0) >= 10]).pvalue > 1e-3, key
    uses = [
        Counter(op for net in nets for op, _ in net)
        for nets in (
            [net["genotype"]["normal"] for net in golden_nets["nets"]],
            [net.genotype.normal for net in drawn],
        )
    ]
    ops = sorted(uses[0])
    assert set(uses[1]) == set(ops)
    assert chi2_contingency([[use[op] for op in ops] for use in uses]).pvalue > 1e-3
