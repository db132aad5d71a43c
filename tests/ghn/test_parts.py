"""Parts of weights give the gradients that slices give."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.ghn._parts import Parts

SHAPE = (4, 3, 2)
Index = tuple[slice, ...]


def ranges(size: int) -> st.SearchStrategy[slice]:
    return st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda ends: slice(min(ends), max(ends)))


INDICES = st.lists(st.integers(0, 3).flatmap(lambda n: st.tuples(*map(ranges, SHAPE[:n]))), min_size=1, max_size=6)


def gradients(weight: Tensor, found: list[Tensor]) -> Tensor:
    loss = sum((number + 1) * part.square().sum() for number, part in enumerate(found))
    assert isinstance(loss, Tensor)
    (grad,) = torch.autograd.grad(loss + 0 * weight.sum(), weight, retain_graph=True)
    return grad


@given(indices=INDICES)
def test_gradients_are_those_of_slices(indices: list[Index]) -> None:
    weight = torch.arange(24.0).view(12, 2).requires_grad_()
    parts = Parts()
    found = [parts(weight, SHAPE, index) for index in indices]
    expected = [weight.view(SHAPE)[index] for index in indices]
    for part, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(part, wanted, rtol=0, atol=0)
    torch.testing.assert_close(gradients(weight, found), gradients(weight, expected), rtol=0, atol=0)
    # A second pass begins again, and one through some parts counts those alone.
    torch.testing.assert_close(gradients(weight, found), gradients(weight, expected), rtol=0, atol=0)
    torch.testing.assert_close(gradients(weight, found[:1]), gradients(weight, expected[:1]), rtol=0, atol=0)


def test_weights_that_are_made_for_the_moment() -> None:
    """As functional calls make them: each is gone when the next one is made, and may get its address."""
    weight = torch.arange(6.0).requires_grad_()
    parts = Parts()
    found = [parts(weight * factor, (3, 2), (slice(2),)).sum() for factor in range(1, 6)]
    torch.stack(found).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [15.0] * 4 + [0.0] * 2


def test_a_weight_without_gradient() -> None:
    found = Parts()(torch.arange(6.0), (3, 2), (slice(1, 3), slice(1)))
    assert found.tolist() == [[2.0], [4.0]]
    assert not found.requires_grad
