"""The published networks of the search, and EfficientNet-B0, which is written in the same notation."""

from __future__ import annotations

import difflib

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._definition import NetworkDefinition

__all__ = ["dna_network", "list_dna_networks"]

# Width, stride of the first layer, then kernel and expansion of every layer.
_NETWORKS: dict[str, tuple[str, ...]] = {
    "DNA_a": (
        "24:2 5,3 3,3 3,6",
        "40:2 3,3 3,3 5,3 3,6",
        "80:2 7,6 3,3 5,3 3,6",
        "96:1 5,6 5,3 5,3 5,6",
        "160:2 5,6 5,3 5,3 5,3 5,6",
        "320:1 3,6",
    ),
    "DNA_b": (
        "24:2 3,3 5,3 7,6",
        "40:2 7,6 5,3 7,6",
        "80:2 5,6 5,3 5,3 3,6",
        "96:1 5,6 5,3 5,3 5,6",
        "192:2 7,6 5,3 5,3 5,3 7,6",
        "320:1 3,6",
    ),
    "DNA_c": (
        "24:2 5,6 3,6",
        "40:2 5,6 5,6 3,6 5,6",
        "80:2 5,6 3,6 5,6 5,6",
        "112:1 3,6 5,6 5,6 5,3",
        "192:2 5,6 5,3 5,6 5,6",
        "320:1 3,6",
    ),
    "DNA_d": (
        "24:2 7,6 5,6 7,6",
        "40:2 7,6 7,6 7,6 7,6",
        "80:2 7,6 5,6 5,6 7,6",
        "112:1 7,6 5,6 7,6 5,6",
        "192:2 7,6 5,6 5,6 5,6 7,6",
        "320:1 3,6",
    ),
    "EfficientNet-B0": (
        "24:2 3,6 3,6",
        "40:2 5,6 5,6",
        "80:2 3,6 3,6 3,6",
        "112:1 5,6 5,6 5,6",
        "192:2 5,6 5,6 5,6 5,6",
        "320:1 3,6",
    ),
}


def dna_network(name: str) -> NetworkDefinition:
    """A published network: ``"DNA_a"`` to ``"DNA_d"`` (arXiv:1911.13053), or ``"EfficientNet-B0"`` (arXiv:1905.11946).

    They are for 1000 classes and images of 224 pixels.

    Raises:
        CodeError: if there is none of that name.

    Example:
        >>> dna_network("DNA_c").strings()[1]
        ['ir_r1_k5_s2_e6_c24_se0.25', 'ir_r1_k3_s1_e6_c24_se0.25']
    """
    if name not in _NETWORKS:
        near = difflib.get_close_matches(name, _NETWORKS, n=2)
        raise CodeError(
            f"unknown network {name!r}; {f'did you mean {near}?' if near else f'there are {list_dna_networks()}'}"
        )
    stages = [["ds_r1_k3_s1_c16_se0.25"], *map(_stage, _NETWORKS[name])]
    return NetworkDefinition.from_strings(stages, name=name)


def list_dna_networks() -> list[str]:
    """Names of the published networks."""
    return list(_NETWORKS)


def _stage(text: str) -> list[str]:
    head, *layers = text.split()
    width, stride = head.split(":")
    found = []
    for place, layer in enumerate(layers):
        kernel, expansion = layer.split(",")
        found.append(f"ir_r1_k{kernel}_s{stride if place == 0 else 1}_e{expansion}_c{width}_se0.25")
    return found
