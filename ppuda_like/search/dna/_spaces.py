"""Spaces that come with the package."""

from __future__ import annotations

from collections.abc import Sequence

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._cell import Cell, Stage
from ppuda_like.search.dna._definition import parse_layer
from ppuda_like.search.dna._operations import Operation, parse_operation
from ppuda_like.search.dna._parts import Head, Stem
from ppuda_like.search.dna._space import Space

__all__ = ["cifar_space", "imagenet_space", "mobile_operations", "ranking_space"]

_WIDTHS, _STRIDES = (24, 40, 80, 112, 192, 320), (2, 2, 2, 1, 2, 1)


def mobile_operations(kernels: Sequence[int] = (3, 5, 7), expansions: Sequence[int] = (6, 3)) -> tuple[Operation, ...]:
    """Inverted residuals with squeeze and excitation, in the published order: kernels within expansions.

    Example:
        >>> list(map(str, mobile_operations((3, 5))))
        ['ir_k3_e6_se0.25', 'ir_k5_e6_se0.25', 'ir_k3_e3_se0.25', 'ir_k5_e3_se0.25']
    """
    return tuple(parse_operation(f"ir_k{kernel}_e{expansion}_se0.25") for expansion in expansions for kernel in kernels)


def imagenet_space(
    *,
    depths: Sequence[int] = (2, 4, 4, 4, 4, 1),
    operations: Sequence[Operation] | None = None,
    fix_last: bool = False,
) -> Space:
    """The published space of ImageNet networks (arXiv:1911.13053): six stages of EfficientNet-B0's widths.

    Args:
        depths: layers of each stage; those of the published search are the default.
        operations: of each layer; None for the published six.
        fix_last: give the last stage the first operation, as the published search does, instead of choosing it.

    Raises:
        CodeError: if there are not six depths.

    Example:
        >>> imagenet_space().num_paths, f"{imagenet_space().size:.2e}", f"{imagenet_space(fix_last=True).size:.2e}"
        ((36, 1296, 1296, 1296, 1296, 6), '6.09e+14', '1.02e+14')
    """
    if len(depths) != len(_WIDTHS):
        raise CodeError(f"'depths' must be {len(_WIDTHS)}, one for each stage (got {len(depths)})")
    chosen = mobile_operations() if operations is None else tuple(operations)
    last = len(_WIDTHS) - 1
    stages = [
        Stage(
            cells=(Cell(depth=depth, width=width, operations=chosen[:1] if fix_last and place == last else chosen),),
            stride=stride,
        )
        for place, (depth, width, stride) in enumerate(zip(depths, _WIDTHS, _STRIDES, strict=True))
    ]
    return Space(name="dna-imagenet", stages=tuple(stages), first=(parse_layer("ds_r1_k3_s1_c16_se0.25"),))


def ranking_space() -> Space:
    """The space of the 23 networks of :func:`ranking_networks`: four operations, the last stage fixed."""
    return imagenet_space(operations=mobile_operations((3, 5)), fix_last=True)


def cifar_space(
    *,
    depths: Sequence[int] = (3, 3, 3, 3),
    operations: Sequence[Operation] | None = None,
    num_classes: int = 10,
) -> Space:
    """A space of small networks for images of 32 pixels: four stages of widths 16, 24, 40 and 80.

    The stages have sides 32, 16, 8 and 4, as those of ResNets for such images; networks have 14 to 35 million MACs.

    Args:
        depths: layers of each stage.
        operations: of each layer; None for kernels 3 and 5 with expansions 6 and 3.
        num_classes: of the images.

    Raises:
        CodeError: if there are not four depths.

    Example:
        >>> cifar_space().num_paths, cifar_space().size
        ((64, 64, 64, 64), 16777216)
    """
    widths, strides = (16, 24, 40, 80), (1, 2, 2, 2)
    if len(depths) != len(widths):
        raise CodeError(f"'depths' must be {len(widths)}, one for each stage (got {len(depths)})")
    chosen = mobile_operations((3, 5)) if operations is None else tuple(operations)
    return Space(
        name="dna-cifar",
        stages=tuple(
            Stage(cells=(Cell(depth=depth, width=width, operations=chosen),), stride=stride)
            for depth, width, stride in zip(depths, widths, strides, strict=True)
        ),
        first=(parse_layer("ds_r1_k3_s1_c16_se0.25"),),
        stem=Stem(width=16, stride=1),
        head=Head(width=320, num_classes=num_classes),
        image_size=32,
    )
