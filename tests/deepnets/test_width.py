import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.deepnets import DARTS, Genotype, NetworkConfig, sample_width

LARGE_KERNELS = Genotype(
    normal=(("conv_3x3", 0), ("conv_5x5", 1)),
    normal_concat=(2,),
    reduce=(("skip_connect", 0), ("skip_connect", 1)),
    reduce_concat=(2,),
)


@pytest.mark.parametrize(
    ("config", "num_params", "widest"),
    [
        (NetworkConfig(n_cells=8), 200_000, 128),
        (NetworkConfig(n_cells=8), 200_001, 64),
        (NetworkConfig(n_cells=9), 1, 64),
        (NetworkConfig(n_cells=8), 400_001, 48),
        (NetworkConfig(n_cells=11), 1, 48),
        (NetworkConfig(n_cells=8), 800_001, 32),
        (NetworkConfig(n_cells=13), 1, 32),
        (NetworkConfig(n_cells=4, glob_avg=False), 1, 32),
        (NetworkConfig(n_cells=4, genotype=LARGE_KERNELS), 1, 32),
    ],
)
def test_widths_drawn(config: NetworkConfig, num_params: int, widest: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_width(config, num_params, rng) for _ in range(500)]
    assert {C for C, _ in drawn} == set(range(32, widest + 1, 16))
    narrow = {fc_dim for C, fc_dim in drawn if C <= 64}
    assert narrow == set(range(64, (512 if widest == 128 else 256) + 1, 64))
    assert {fc_dim for C, fc_dim in drawn if C > 64} <= {64, 128, 192, 256}


@given(st.integers(1, 18), st.integers(0, 10**7), st.integers(0, 2**32))
def test_depends_on_the_generator_alone(n_cells: int, num_params: int, seed: int) -> None:
    config = NetworkConfig(genotype=DARTS, n_cells=n_cells)
    first, second = (sample_width(config, num_params, np.random.default_rng(seed)) for _ in range(2))
    assert first == second
    assert first[0] == config.replace(C=first[0], fc_dim=first[1]).C
