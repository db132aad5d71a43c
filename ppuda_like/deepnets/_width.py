"""Widths of networks, drawn anew each time a hypernetwork trains on one."""

from __future__ import annotations

import numpy as np

from ppuda_like.deepnets._config import NetworkConfig

__all__ = ["sample_width"]


def sample_width(config: NetworkConfig, num_params: int, rng: np.random.Generator) -> tuple[int, int]:
    """A width ``(C, fc_dim)`` for training a hypernetwork (arXiv:2110.13100, appendix A).

    Of small networks ``C`` is one of 32, 48, ..., 128; the larger or deeper the network, the fewer of these, so that
    a batch fits in memory.  ``fc_dim`` is one of 64, 128, ..., 256, or up to 512 for small networks with C <= 64.

    Args:
        config: the network.
        num_params: its number of parameters at C=32.
        rng: where randomness comes from.

    Example:
        >>> sample_width(NetworkConfig(n_cells=14), 100_000, np.random.default_rng(0))[0]
        32
    """
    widest = _widest(config, num_params)
    C = 32 + 16 * int(rng.integers((widest - 32) // 16 + 1))
    fc_dim_max = 512 if widest == 128 and C <= 64 else 256
    return C, 64 * (1 + int(rng.integers(fc_dim_max // 64)))


def _widest(config: NetworkConfig, num_params: int) -> int:
    large_kernels = not config.genotype.ops.isdisjoint(("conv_5x5", "conv_7x7"))
    if num_params > 800_000 or not config.glob_avg or large_kernels or config.n_cells > 12:
        return 32
    if num_params > 400_000 or config.n_cells > 10:
        return 48
    if num_params > 200_000 or config.n_cells > 8:
        return 64
    return 128
