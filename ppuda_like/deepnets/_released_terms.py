"""How the files of the released DeepNets-1M say what a network is."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._count import count_parameters
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import Genotype
from ppuda_like.deepnets._record import ARGUMENTS, NetRecord
from ppuda_like.graph import PPUDA, all_pairs_distance

__all__ = ["NAMED", "extended_names", "path_lengths", "primitive_name", "stated_params", "to_config"]

NAMED = tuple("stem_type stem_pool norm preproc fc_layers glob_avg genotype n_cells ks C_mult fc_dim".split())
"""The arguments that the files name, in their order; the others follow from the split."""

_CUTOFF = 250  # longest path that the files tell
# Far beyond any network of the dataset: a file is not to be trusted with the memory and time that it asks for.
_LIMITS = {"n_cells": 256, "ks": 63, "C_mult": 8, "fc_layers": 16, "fc_dim": 1 << 16}
_MOST_OPS = 64
_KERNELS = re.compile(r"(_\d+x\d+)+$")
_OLD_PRIMITIVES = {"fc-b": "bias"}


def to_config(stated: object, split: str) -> NetworkConfig:
    """The network of arguments as the JSON file has them.

    Raises:
        NetworkError: if they are not valid.
    """
    if not isinstance(stated, Mapping):
        raise NetworkError(f"they must be a table of names and values (got {stated!r})")
    wanted = {*NAMED, "num_nodes", "num_params"}
    missing, unknown = sorted(wanted - set(stated)), sorted(set(stated) - wanted)
    if missing or unknown:
        raise NetworkError(f"they must be {sorted(wanted)} (missing {missing}, unknown {unknown})")
    for name in NAMED:
        kind = {"i": int, "b": bool}.get(ARGUMENTS[name].kind) if name in ARGUMENTS else dict
        if kind is not None and not _is_a(stated[name], kind):
            raise NetworkError(f"'{name}' must be of type {kind.__name__} (got {stated[name]!r})")
    num_params = stated["num_params"]
    if not isinstance(num_params, dict) or set(num_params) != {"cifar10", "imagenet"}:
        raise NetworkError(f"'num_params' must be given for 'cifar10' and 'imagenet' (got {num_params!r})")
    for value in (stated["num_nodes"], *num_params.values()):
        if not _is_a(value, int):
            raise NetworkError(f"'num_nodes' and 'num_params' must be whole numbers (got {value!r})")
    for name, limit in _LIMITS.items():
        if stated[name] > limit:
            raise NetworkError(f"'{name}' must be at most {limit} (got {stated[name]})")
    genotype = Genotype.from_dict(stated["genotype"])
    if 2 * genotype.num_steps > _MOST_OPS:
        raise NetworkError(f"a cell must have at most {_MOST_OPS} operations (got {2 * genotype.num_steps})")
    arguments = {name: stated[name] for name in NAMED if name != "genotype"}
    return NetworkConfig(C=128 if split == "wide" else 32, genotype=genotype, **arguments)


def stated_params(config: NetworkConfig) -> dict[str, int]:
    """Numbers of parameters as the JSON file has them: at C=32 and with ten classes, whatever the split and images."""
    plain = config.replace(C=32, num_classes=10)
    kinds = {"cifar10": False, "imagenet": True}
    return {inputs: count_parameters(plain.replace(is_imagenet_input=large)) for inputs, large in kinds.items()}


def extended_names(record: NetRecord) -> list[str]:
    """The primitives of nodes as the files name them: 1x1 convolutions and linear layers have a name of their own."""
    names = [PPUDA.primitives[number] for number in record.primitive.tolist()]
    plain = (record.shape[:, 2:] == 1).all(axis=1).tolist()
    return ["conv_1x1" if name == "conv" and one else name for name, one in zip(names, plain, strict=True)]


def primitive_name(name: str) -> str:
    """The primitive that files call ``name``: ``conv`` for ``conv_1x1``."""
    return _OLD_PRIMITIVES.get(name, _KERNELS.sub("", name))


def path_lengths(edge_index: np.ndarray, num_nodes: int) -> np.ndarray:
    """Lengths of the shortest paths as the files have them: 0 where there is none, or a longer one."""
    pairs = all_pairs_distance(torch.from_numpy(edge_index), num_nodes, _CUTOFF)
    lengths = np.zeros((num_nodes, num_nodes), dtype=np.uint8)
    lengths[tuple(pairs.edge_index.numpy())] = pairs.distance.numpy()
    return lengths


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
