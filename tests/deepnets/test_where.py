import numpy as np
import pytest

from ppuda_like.deepnets import DeepNets, generate, where
from ppuda_like.errors import DataError


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> DeepNets:
    return DeepNets(generate("test", 40, tmp_path_factory.mktemp("where") / "nets.h5").path, "test")


def test_conditions_are_met_by_all_that_is_kept_and_by_nothing_that_is_not(nets):
    table = nets.table()
    middle = float(np.median(table["num_params_cifar10"]))
    found = where(nets, f"num_params <= {middle!r} and depth>30")
    expected = (table["num_params_cifar10"] <= middle) & (table["depth"] > 30)
    assert 0 < expected.sum() < len(nets)
    assert found.table()["index"].tolist() == table["index"][expected].tolist()


def test_macs_are_half_the_flops(nets):
    some = int(nets.table()["flops_cifar10"][3])
    assert set(where(nets, f"macs == {some // 2}").table()["flops_cifar10"].tolist()) == {some}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("num_params", "cannot read 'num_params'"),
        ("num_params < 1e6 or depth < 3", "cannot read"),
        ("", "cannot read ''"),
        ("__import__('os') < 3", "cannot read"),
        ("size < 3", "no column 'size'; there are .*num_params"),
        ("depth < many", "'many' in the condition 'depth < many' is not a number"),
        ("depth < 1", "no network of .* meets 'depth < 1'"),
    ],
)
def test_bad_conditions_are_named(nets, condition, message):
    with pytest.raises(DataError, match=message):
        where(nets, condition)
