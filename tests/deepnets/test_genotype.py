import json
from typing import Any

import pytest
from hypothesis import given
from network_strategies import genotypes

from ppuda_like.deepnets import DARTS, OPS, PDARTS, Genotype, NetworkError, ViT

CELL = [["conv_3x3", 0], ["skip_connect", 1]]
VALID: dict[str, Any] = {"normal": CELL, "normal_concat": [2], "reduce": CELL, "reduce_concat": [2]}


def test_lists_become_tuples() -> None:
    genotype = Genotype(**VALID)
    assert genotype.normal == (("conv_3x3", 0), ("skip_connect", 1))
    assert genotype.normal_concat == (2,)
    assert hash(genotype) == hash(Genotype(**VALID))


@given(genotypes())
def test_json_round_trip(genotype: Genotype) -> None:
    assert Genotype.from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normal": [["conv_3x4", 0], ["skip_connect", 1]]},
            r"unknown operation 'conv_3x4'; did you mean",
        ),
        (
            {"reduce": [["conv_3x3", 0], ["msa", 2]]},
            r"'reduce' step 0 may read states 0..1 \(got state 2 for 'msa'\)",
        ),
        ({"normal": [["conv_3x3", -1], ["msa", 1]]}, "got state -1"),
        ({"normal": [["conv_3x3", 0]]}, r"two \(operation, state\) pairs per step \(got 1 pairs\)"),
        ({"normal": []}, "got 0 pairs"),
        ({"normal": ["conv_3x3", "msa"]}, "must be \\(operation, state\\) pairs"),
        ({"normal": 3}, "must be \\(operation, state\\) pairs"),
        (
            {"normal_concat": [3]},
            r"'normal_concat' must name distinct states among 2..2, .*\(got \(3,\)\)",
        ),
        ({"reduce_concat": []}, "at least one"),
        ({"reduce_concat": [2, 2]}, "distinct"),
        ({"reduce": [*CELL, *CELL], "reduce_concat": [2, 3]}, r"equally many states.*\(got 1 and 2\)"),
    ],
)
def test_invalid(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Genotype(**(VALID | change))


def test_stored_fields_are_checked() -> None:
    with pytest.raises(NetworkError, match=r"has the fields \['normal', .*\(got \['normal'\]\)"):
        Genotype.from_dict({"normal": CELL})


def test_named() -> None:
    assert [genotype.num_steps for genotype in (DARTS, PDARTS, ViT)] == [4, 4, 1]
    assert [genotype.is_transformer for genotype in (DARTS, PDARTS, ViT)] == [False, False, True]
    assert DARTS.ops == {"sep_conv_3x3", "dil_conv_3x3", "skip_connect", "max_pool_3x3"}
    assert DARTS.ops | PDARTS.ops | ViT.ops <= set(OPS)
