"""Auxiliary networks by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import Shape
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._light import Light
from ppuda_like.search.blocks._pooled import Cnn, Linear, Mlp
from ppuda_like.search.blocks._predsim import PredSim

__all__ = ["AUXILIARIES", "LIGHT", "auxiliary", "initialise"]

_FORMS = {3: "maps (C, H, W)", 2: "tokens (L, C)", 1: "vectors (C,)"}
LIGHT = ("light-1", "light-2", "light-3", "light-4")
"""The candidates of SEDONA, in the order of the columns of its ``beta``."""


def _light(depth: int) -> Callable[..., AuxiliaryNet]:
    def build(shape: Shape, num_classes: int, **options: Any) -> AuxiliaryNet:
        return Light(shape, num_classes, depth=depth, **options)

    return build


def _mlp_sr(shape: Shape, num_classes: int, **options: Any) -> AuxiliaryNet:
    return Mlp(shape, num_classes, **{"convolutions": 3} | options)


_BUILDERS: dict[str, tuple[Callable[..., AuxiliaryNet], tuple[int, ...]]] = {
    **{name: (_light(depth), (3, 2)) for depth, name in enumerate(LIGHT, 1)},
    "mlp-sr": (_mlp_sr, (3, 2)),
    "mlp": (Mlp, (3, 2, 1)),
    "cnn": (Cnn, (3,)),
    "predsim": (PredSim, (3, 2, 1)),
    "linear": (Linear, (3, 2, 1)),
}

AUXILIARIES: Mapping[str, tuple[int, ...]] = MappingProxyType({name: dims for name, (_, dims) in _BUILDERS.items()})
"""Names of the auxiliary networks, and the numbers of dimensions of an activation, batch left out, they can read."""


def auxiliary(name: str, shape: Shape, num_classes: int, *, seed: int = 0, **options: Any) -> AuxiliaryNet:
    """An auxiliary network for activations of a shape, initialised like SEDONA's: Kaiming normal, biases 0.

    Args:
        name: one of ``AUXILIARIES``.
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
        seed: of the initial weights.
        options: of the kind of network: see its class.

    Raises:
        PpudaLikeError: if there is none of that name, it cannot read such activations, or it knows no such option.

    Example:
        >>> net = auxiliary("light-1", (64, 8, 8), 10)
        >>> sum(p.numel() for p in net.parameters())
        15578
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=3)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"choose one of {', '.join(_BUILDERS)}"
        raise PpudaLikeError(f"no auxiliary network is called {name!r}; {hint}")
    if num_classes < 2:
        raise PpudaLikeError(f"an auxiliary network classifies into 2 classes at least (got {num_classes})")
    build, dims = _BUILDERS[name]
    shape = tuple(shape)
    if len(shape) not in dims or min(shape) < 1:
        served = [other for other, (_, found) in _BUILDERS.items() if len(shape) in found]
        raise PpudaLikeError(
            f"{name!r} reads {', '.join(_FORMS[dim] for dim in dims)} of positive sizes, the batch left out "
            f"(got {shape}); "
            + (f"choose one of {', '.join(served)}" if served and min(shape) > 0 else "cut where the network has such")
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "auxiliary", name))
        try:
            net = build(shape, num_classes, **options)
        except TypeError as error:
            raise PpudaLikeError(f"cannot build {name!r} with options {sorted(options)}: {error}") from error
        initialise(net)
    return net


def initialise(net: nn.Module) -> None:
    """Kaiming-normal weights by fan-in for ReLU, biases 0, normalisations 1 and 0; drawn from torch's random state."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
