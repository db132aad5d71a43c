"""Tiles laid out over tensors, against indexing entry by entry."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.ghn import tile_all, write_tiled
from tests.ghn.oracles import tiled

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


@st.composite
def shapes(draw: st.DrawFn) -> Shapes:
    """A tile's shape and a target's, whose sizes often are multiples."""
    tile = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    sizes = [draw(st.one_of(st.integers(1, 12), st.integers(1, 3).map(lambda k, size=size: k * size))) for size in tile]
    return tuple(tile), tuple(sizes)


def tile_of(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.arange(1.0, 1 + torch.Size(shape).numel(), dtype=torch.double).view(shape)


@settings(deadline=None)
@given(shapes())
def test_entries_are_those_of_the_tile_modulo_its_size(found: Shapes) -> None:
    tile, target = tile_of(found[0]), torch.zeros(found[1], dtype=torch.double)
    write_tiled(target, tile)
    assert torch.equal(target, tiled(tile, found[1]))


@settings(deadline=None)
@given(shapes())
def test_strides_and_dtype_of_the_target_are_kept(found: Shapes) -> None:
    tile, backward = tile_of(found[0]), tuple(reversed(range(len(found[1]))))
    target = torch.zeros(found[1][::-1], dtype=torch.float16).permute(backward)
    strides = target.stride()
    write_tiled(target, tile)
    assert target.stride() == strides
    assert torch.equal(target.double(), tiled(tile, found[1]))


@settings(deadline=None)
@given(shapes())
def test_gradients_are_summed_over_the_copies(found: Shapes) -> None:
    tile = tile_of(found[0])
    here, there = tile.clone().requires_grad_(), tile.clone().requires_grad_()
    weights = torch.randn(found[1], dtype=torch.double, generator=torch.Generator().manual_seed(0))
    (tile_all(here[None], [found[1]])[0] * weights).sum().backward()
    (tiled(there, found[1]) * weights).sum().backward()
    torch.testing.assert_close(here.grad, there.grad)


def test_missing_dimensions_have_size_one() -> None:
    linear, norm = torch.zeros(3, 4), torch.zeros(3, 2, 2)
    write_tiled(linear, torch.arange(4.0).view(2, 2, 1, 1))
    write_tiled(norm, torch.arange(2.0))
    assert linear.tolist() == [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1]]
    assert norm[:, 0, 0].tolist() == [0, 1, 0]
    assert bool((norm == norm[:, :1, :1]).all())


def test_unused_results_have_no_gradient() -> None:
    tiles = torch.ones(2, 3, dtype=torch.double, requires_grad=True)
    tile_all(tiles, [(4,), (6,)])[1].sum().backward()
    assert tiles.grad is not None
    assert tiles.grad.tolist() == [[0, 0, 0], [2, 2, 2]]


def test_each_tile_has_its_shape() -> None:
    with pytest.raises(ValueError, match="longer"):
        tile_all(torch.zeros(2, 3), [(3,)])
