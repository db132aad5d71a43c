"""Parameter counts without a network."""

from __future__ import annotations

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._ops import OPS
from ppuda_like.deepnets._plan import CellPlan, plan_network

__all__ = ["count_parameters"]


def count_parameters(config: NetworkConfig) -> int:
    """Number of scalars in all parameters of a network, those that its forward pass never touches included.

    It is the figure that DeepNets-1M states, and takes a fraction of a millisecond.

    >>> count_parameters(NetworkConfig(C=32, n_cells=8, stem_type=1)) == sum(
    ...     parameter.numel() for parameter in NetworkConfig(C=32, n_cells=8, stem_type=1).build("meta").parameters()
    ... )
    True
    """
    plan = plan_network(config)
    total = _count_stem(config, plan.c_stem)
    total += sum(_count_cell(config, cell) for cell in plan.cells)
    features = plan.features
    for _ in range(config.fc_layers - 1):
        total += (features + 1) * config.fc_dim
        features = config.fc_dim
    total += (features + 1) * config.num_classes
    if config.auxiliary:
        channels = plan.cells[plan.aux_cell].c_out
        total += channels * 128 + _norm(config, 128) + 128 * 768 * 4 + _norm(config, 768) + 769 * config.num_classes
    return total


def _norm(config: NetworkConfig, channels: int) -> int:
    return 0 if config.norm is None else 2 * channels


def _count_stem(config: NetworkConfig, c_stem: int) -> int:
    if config.genotype.is_transformer:
        kernel, size = (16, 14) if config.is_imagenet_input else (3, 11)
        return 3 * c_stem * kernel * kernel + c_stem * size * size
    first = 3 * config.ks * config.ks
    if config.stem_type == 0:
        return first * c_stem + _norm(config, c_stem)
    half = config.C // 2
    stem0 = first * half + _norm(config, half) + 9 * half * config.C + _norm(config, config.C)
    return stem0 + 9 * config.C * config.C + _norm(config, config.C)


def _count_cell(config: NetworkConfig, cell: CellPlan) -> int:
    c = cell.channels
    norm = _norm(config, c)
    # A factorized reduction of an even width holds as much as a 1x1 convolution.
    total = (cell.c_prev_prev + cell.c_prev) * c + 2 * norm if config.preproc else 0
    edges, _ = config.genotype.cell(cell.reduction)
    return total + sum(OPS[op].count(c, cell.stride if state < 2 else 1, norm) for op, state in edges)
