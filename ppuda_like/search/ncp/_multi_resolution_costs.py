"""FLOPs and parameters of multi-resolution networks, from their codes alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ppuda_like.search.ncp._layout import LAST, NAMES, STAGES, STEM

__all__ = ["COST_PARTS", "IMAGE_SIZE", "NUM_CLASSES", "code_costs", "cost_parts"]

IMAGE_SIZE, NUM_CLASSES = 128, 50
"""Side of the images and number of classes for which the benchmark counts."""

COST_PARTS = ("stem", "stage 1", "stage 2", "stage 3", "stage 4", "head")
"""Parts of a network that :func:`cost_parts` tells apart, in this order."""

_ONE, _IMAGE, _CLASSES = range(len(NAMES), len(NAMES) + 3)  # places of constants behind the numbers of a code
_BATCH_NORM, _BIAS = 2, 1  # parameters for each output channel
_STEM, _HEAD = 0, len(STAGES) + 1
_SIDES = tuple(IMAGE_SIZE // 4 >> branch for branch in range(len(STAGES)))
_CHUNK = 1024  # codes at a time: their terms stay in the cache


class _Source(NamedTuple):
    """What one output channel of a convolution costs: ``taps`` parameters for each channel at place ``ci``.

    An output pixel takes as many operations as there are parameters: the benchmark counts a multiply-accumulate as
    one, and two for each element of a batch norm.  So a batch norm is a source of two parameters for the constant 1.
    """

    ci: int
    taps: int
    side: int


class _Term(NamedTuple):
    """Convolutions with ``co`` output channels, (repeats - once) x blocks of them."""

    part: int
    co: int
    sources: list[_Source]
    repeats: int = _ONE
    once: int = 0
    blocks: int = _ONE


def _convolution(ci: int, taps: int, side: int) -> list[_Source]:
    """A convolution and its batch norm."""
    return [_Source(ci, taps, side), _Source(_ONE, _BATCH_NORM, side)]


def _fusion(before: tuple[int, ...], now: tuple[int, ...], branch: int) -> list[_Source]:
    """All that leads to a branch of a module from the branches ``before``."""
    if branch >= len(before):  # a new branch, from the one above it
        return _convolution(now[branch - 1], 9, _SIDES[branch])
    found = _convolution(before[branch], 9, _SIDES[branch])
    if branch:
        found += _convolution(before[branch - 1], 9, _SIDES[branch])
    if branch + 1 < len(before):  # from the lower resolution, enlarged afterwards
        found += _convolution(before[branch + 1], 1, _SIDES[branch + 1])
    return found


def _terms() -> list[_Term]:
    terms = [
        _Term(_STEM, STEM[0], _convolution(_IMAGE, 9, IMAGE_SIZE // 2)),
        _Term(_STEM, STEM[1], _convolution(STEM[0], 9, _SIDES[0])),
    ]
    before: tuple[int, ...] = STEM[1:]
    for part, stage in enumerate(STAGES, start=1):
        now, repeats = stage.channels, stage.repeats
        for branch, (co, blocks) in enumerate(zip(now, stage.blocks, strict=True)):
            # the first module of a stage is fused from the stage before, the others from the stage itself
            terms.append(_Term(part, co, _fusion(before, now, branch)))
            terms.append(_Term(part, co, _fusion(now, now, branch), repeats=repeats, once=1))
            terms.append(_Term(part, co, 2 * _convolution(co, 9, _SIDES[branch]), repeats=repeats, blocks=blocks))
        before = now
    joined = [_Source(ci, 1, _SIDES[-1]) for ci in before]
    terms.append(_Term(_HEAD, LAST, [*joined, _Source(_ONE, _BATCH_NORM, _SIDES[-1])]))
    terms.append(_Term(_HEAD, _CLASSES, [_Source(LAST, 1, 1), _Source(_ONE, _BIAS, 1)]))
    return terms


def _linear(terms: list[_Term]) -> Tensor:
    """Matrix from the numbers of a code, with the constants, to five numbers of each term, ``(30, 5 * terms)``.

    These are output channels, repetitions, blocks, and FLOPs and parameters per output channel.  A matrix product is
    quicker to differentiate than indices are.
    """
    matrix = torch.zeros(len(NAMES) + 3, 5, len(terms), dtype=torch.float64)
    for column, term in enumerate(terms):
        matrix[term.co, 0, column] = 1
        matrix[term.repeats, 1, column] = 1
        matrix[_ONE, 1, column] -= term.once
        matrix[term.blocks, 2, column] = 1
        for ci, taps, side in term.sources:
            matrix[ci, 3, column] += taps * side**2
            matrix[ci, 4, column] += taps
    return matrix.flatten(1)


_TERMS = _terms()
_OF_NUMBERS, _OF_CONSTANTS = torch.split(_linear(_TERMS), [len(NAMES), 3])
_CONSTANTS = _OF_CONSTANTS.new_tensor([1, 3, NUM_CLASSES]) @ _OF_CONSTANTS
_PARTS = torch.eye(len(COST_PARTS), dtype=torch.float64)[[term.part for term in _TERMS]]


def cost_parts(relaxed: Tensor) -> Tensor:
    """FLOPs and parameters of each of :data:`COST_PARTS`, differentiable in the numbers of the codes.

    Args:
        relaxed: (n, 27) numbers of codes, not necessarily whole.

    Returns:
        (n, 2, 6), FLOPs first; the sum over parts is what the whole network costs.
    """
    return _costs_of_terms(relaxed) @ _PARTS.to(relaxed)


def code_costs(relaxed: Tensor) -> Tensor:
    """FLOPs and parameters of whole networks, differentiable in the numbers of the codes, (n, 27) -> (n, 2).

    Counted as NAS-Bench-MR does (arXiv:2103.13253): a classifier of 50 classes on images of 128 x 128 pixels,
    multiply-accumulates and two operations for each element of a batch norm.  In float64 the results are exact.
    """
    if len(relaxed) <= _CHUNK:
        return _costs_of_terms(relaxed).sum(2)
    return torch.cat([_costs_of_terms(some).sum(2) for some in torch.split(relaxed, _CHUNK)])


def _costs_of_terms(relaxed: Tensor) -> Tensor:
    """FLOPs and parameters of each term, (n, 27) -> (n, 2, terms)."""
    numbers = torch.addmm(_CONSTANTS.to(relaxed), relaxed, _OF_NUMBERS.to(relaxed)).view(-1, 5, len(_TERMS))
    co, repeats, blocks, per_channel = torch.split(numbers, [1, 1, 1, 2], dim=1)
    return co * repeats * blocks * per_channel
