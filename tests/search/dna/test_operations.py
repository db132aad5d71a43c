from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ppuda_like.errors import CodeError
from ppuda_like.search.dna import (
    DepthwiseSeparable,
    InvertedResidual,
    Operation,
    Part,
    list_operations,
    parse_operation,
    part_costs,
    register_operation,
)

MOBILE = st.builds(
    InvertedResidual,
    kernel=st.sampled_from([1, 3, 5, 7, 9]),
    expansion=st.sampled_from([1, 1.5, 3, 6]),
    se=st.none() | st.sampled_from([0.25, 0.5, 1]),
    activation=st.sampled_from(["sw", "re", "r6", "hs"]),
    skip=st.booleans(),
)
SEPARABLE = st.builds(
    DepthwiseSeparable, kernel=st.sampled_from([3, 5]), se=st.none() | st.just(0.25), skip=st.booleans()
)


@given(MOBILE | SEPARABLE)
def test_text_round_trip(operation: Operation) -> None:
    assert parse_operation(str(operation)) == operation


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1, 2]),
    st.sampled_from([3, 5, 7]),
    st.sampled_from([1, 3, 6]),
    st.integers(1, 9),
)
def test_parameters_and_macs_follow_the_formula(
    c_in: int, c_out: int, stride: int, kernel: int, expansion: int, size: int
) -> None:
    operation = InvertedResidual(kernel=kernel, expansion=expansion, se=0.25)
    mid, squeezed, out = c_in * expansion, max(1, c_in // 4), -(-size // stride)
    weights = c_in * mid, kernel**2 * mid, mid * squeezed * 2, mid * c_out
    norms_and_biases = 2 * (2 * mid + c_out) + squeezed + mid
    found = part_costs(Part(what=operation, c_in=c_in, c_out=c_out, stride=stride, size=size))
    assert found.params == sum(weights) + norms_and_biases
    assert found.macs == weights[0] * size**2 + weights[1] * out**2 + weights[2] + weights[3] * out**2
    norm_inputs = mid * size**2 + mid * out**2 + c_out * out**2
    assert found.flops_counter == found.macs + squeezed + mid + 2 * norm_inputs


@pytest.mark.parametrize(
    ("text", "c_in", "c_out", "stride", "size", "flops", "params"),
    [
        ("ir_k3_e6_se0.25", 24, 24, 1, 56, 27_699_030, 10_710),
        ("ir_k5_e3_se0.25", 16, 24, 2, 112, 18_665_908, 3_796),
        ("ir_k7_e6_se0.25", 112, 112, 1, 14, 36_566_460, 224_700),
        ("ir_k3_e3_se0.25", 192, 192, 1, 7, 11_279_664, 284_976),
        ("ir_k3_e6_se0.25", 192, 320, 1, 7, 29_778_352, 717_232),
    ],
)
def test_published_costs(text: str, c_in: int, c_out: int, stride: int, size: int, flops: int, params: int) -> None:
    found = part_costs(Part(what=parse_operation(text), c_in=c_in, c_out=c_out, stride=stride, size=size))
    assert (found.flops_counter, found.params) == (flops, params)


@pytest.mark.parametrize("operation", [InvertedResidual(kernel=3, expansion=2), DepthwiseSeparable(kernel=3)])
def test_residual_where_shapes_allow(operation: Operation) -> None:
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    for c_out, stride, residual in ((4, 1, True), (4, 2, False), (5, 1, False)):
        module = operation.build(4, c_out, stride).eval()
        *_, norm = (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d))
        nn.init.zeros_(norm.weight)  # silences the branch
        expected = x if residual else torch.zeros(2, c_out, -(-6 // stride), -(-6 // stride))
        torch.testing.assert_close(module(x), expected)


def test_noskip_has_no_residual() -> None:
    module = parse_operation("ir_k3_e2_noskip").build(4, 4, 1).eval()
    nn.init.zeros_(module.bn3.weight)  # type: ignore[union-attr,arg-type]
    assert not module(torch.ones(1, 4, 3, 3)).any()


def test_drop_connect_leaves_out_whole_images_and_keeps_the_mean() -> None:
    module = InvertedResidual(kernel=1, expansion=1).build(1, 1, 1, drop_connect=0.25).train()
    x = torch.zeros(4000, 1, 1, 1)
    module.bn3.register_forward_hook(lambda *_: torch.ones_like(x))  # type: ignore[union-attr]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        out = module(x)
    assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float(out.mean()) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(module.eval()(x), torch.ones_like(x))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("xx_k3", "unknown kind of operation 'xx'"),
        ("ir_k3", "lacks e"),
        ("ir_k3_k5_e6", "'kernel' is given twice"),
        ("ir_k3_e6_q2", "unknown option 'q2'"),
        ("ir_k4_e6", "'kernel' must be odd and positive"),
        ("ir_k3_e0", "'expansion' must be positive"),
        ("ir_k3_e6_se2", "'se' must lie in"),
        ("ir_k3_e6_nxx", "'activation' must be one of"),
        ("ir_k3.5_e6", "'kernel' must be odd"),
    ],
)
def test_bad_text(text: str, match: str) -> None:
    with pytest.raises(CodeError, match=match):
        parse_operation(text)


def test_operations_of_the_user() -> None:
    @register_operation
    @dataclass(frozen=True, kw_only=True)
    class Pool(Operation):
        kind = "testpool"
        keys = {"k": "kernel"}  # noqa: RUF012
        kernel: int

        def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
            return nn.Sequential(nn.AvgPool2d(self.kernel, stride, self.kernel // 2), nn.Conv2d(c_in, c_out, 1))

    assert "testpool" in list_operations()
    assert parse_operation("testpool_k3") == Pool(kernel=3)
    found = part_costs(Part(what=Pool(kernel=3), c_in=2, c_out=4, stride=1, size=5))
    assert found == (2 * 4 * 25, 2 * 4 * 25 + 4 * 25 + 2 * 25, 2 * 4 + 4)  # bias and pooling count in the published way
    with pytest.raises(CodeError, match=r"give .* another kind"):

        @register_operation
        class Other(Pool):
            kind = "ir"

    with pytest.raises(CodeError, match="cannot have the options"):

        @register_operation
        class Strided(Pool):
            kind = "strided"
            keys = {"s": "kernel"}  # noqa: RUF012
