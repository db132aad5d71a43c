"""What one recorded torch call costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from ppuda_like.graph._calls import SIGNATURES

__all__ = ["call_flops"]


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up torch's registered FLOP formulas over the operators that a call runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


_CONVOLUTIONS = frozenset(name for name in SIGNATURES if name.startswith("conv"))
# Calls whose operators have FLOP formulas beyond the two computed directly below.
_COUNTED = frozenset(
    "matmul bmm mm mv dot addmm addbmm baddbmm einsum tensordot bilinear chain_matmul multi_dot "
    "scaled_dot_product_attention multi_head_attention_forward lstm gru rnn_tanh rnn_relu lstm_cell gru_cell "
    "rnn_tanh_cell rnn_relu_cell deform_conv2d convolution _convolution inner kron apply".split()
)


def call_flops(name: str, tensors: Sequence[tuple[str, Tensor]], run: Callable[[], Any]) -> tuple[Any, int]:
    """Run a call and count its floating-point operations by torch's formulas: (result, FLOPs).

    Args:
        name: operation name.
        tensors: its :func:`operands`.
        run: the call.
    """
    if name == "linear":
        result = run()
        return result, 2 * result.numel() * dict(tensors)["weight"].size(-1)
    if name in _CONVOLUTIONS:
        result = run()
        by_role = dict(tensors)
        if result.dim() == by_role["input"].dim() == by_role["weight"].dim():
            x, weight = by_role["input"], by_role["weight"]
            transposed = "transpose" in name
            return result, conv_flop_count(list(x.shape), list(weight.shape), list(result.shape), transposed=transposed)
    if name in _COUNTED or name in _CONVOLUTIONS:
        with _FlopCounter() as counter:
            result = run()
        return result, counter.total
    return run(), 0
