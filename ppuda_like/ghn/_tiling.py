"""Laying decoded blocks out over whole tensors, in one pass over memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["sum_tiled", "tile_all", "write_tiled"]


def write_tiled(target: Tensor, tile: Tensor) -> None:
    """Fill a tensor with copies of a tile: ``target[i, j, ...] = tile[i % tile.size(0), j % tile.size(1), ...]``.

    Only the target is written; no other memory is used.  Where one of both has fewer dimensions, sizes of 1 follow.

    Args:
        target: tensor to fill, of any strides, dtype and device.
        tile: what to fill it with.

    Example:
        >>> target = torch.empty(5)
        >>> write_tiled(target, torch.tensor([1.0, 2.0]))
        >>> target.tolist()
        [1.0, 2.0, 1.0, 2.0, 1.0]
    """
    for part, piece, _ in _pieces(target, tile):
        part.copy_(piece)


def sum_tiled(source: Tensor, tile: Tensor) -> None:
    """The adjoint of :func:`write_tiled`: add to each entry of a tile what its copies hold.

    Args:
        source: tensor of copies, as a gradient is.
        tile: sums so far; changed in place.
    """
    for part, piece, copies in _pieces(source, tile):
        piece.add_(part.sum(copies, keepdim=True) if copies else part)


def tile_all(tiles: Tensor, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """New tensors of the given shapes, each filled with its tile; differentiable.

    Args:
        tiles: one tile per shape, ``(n, *tile shape)``.
        shapes: shape of each result.

    Example:
        >>> [found.tolist() for found in tile_all(torch.tensor([[1, 2], [3, 4]]), [(3,), (1,)])]
        [[1, 2, 1], [3]]
    """
    found: tuple[Tensor, ...] = _TileAll.apply(tiles, tuple(shapes))
    return found


class _TileAll(torch.autograd.Function):
    """One node of the autograd graph for many tensors: neither repeats nor gradients of slices are materialised."""

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.tiles_shape = tiles.shape
        found = tuple(tiles.new_empty(shape) for shape in shapes)
        for target, tile in zip(found, tiles.unbind(), strict=True):
            write_tiled(target, tile)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        some = next((grad for grad in grads if grad is not None), None)
        if some is None:
            return None, None
        found = some.new_zeros(ctx.tiles_shape)
        for grad, tile in zip(grads, found.unbind(), strict=True):
            if grad is not None:
                sum_tiled(grad, tile)
        return found, None


def _pieces(whole: Tensor, tile: Tensor) -> Iterator[tuple[Tensor, Tensor, tuple[int, ...]]]:
    """Views of whole and tile that match by broadcasting, with the dimensions along which the tile is repeated."""
    missing = whole.dim() - tile.dim()
    if missing < 0:
        whole = whole.view(*whole.shape, *(1,) * -missing)
    elif missing > 0:
        tile = tile.view(*tile.shape, *(1,) * missing)
    return _split(whole, tile, 0)


def _split(whole: Tensor, tile: Tensor, first: int) -> Iterator[tuple[Tensor, Tensor, tuple[int, ...]]]:
    wanted, have = whole.shape, tile.shape
    for dim in range(first, len(wanted)):
        want, size = wanted[dim], have[dim]
        if want < size:
            tile = tile.narrow(dim, 0, want)
        elif want % size:
            # The part that whole tiles cover, and the rest.
            rest = want % size
            yield from _split(whole.narrow(dim, 0, want - rest), tile, dim)
            yield from _split(whole.narrow(dim, want - rest, rest), tile.narrow(dim, 0, rest), dim + 1)
            return
    # Splitting dimensions makes views of tensors of any strides.
    whole_shape: list[int] = []
    tile_shape: list[int] = []
    copies: list[int] = []
    for want, size in zip(wanted, tile.shape, strict=True):
        if want != size:
            copies.append(len(whole_shape))
            if size > 1:
                whole_shape.append(want // size)
                tile_shape.append(1)
                want = size
        whole_shape.append(want)
        tile_shape.append(size)
    yield whole.view(whole_shape), tile.view(tile_shape), tuple(copies)
