"""RMSprop as TensorFlow has it, which EfficientNets and their kin were tuned for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["RMSpropTF"]


class RMSpropTF(Optimizer):
    """Updates by the gradient over the root of a moving average of its square, with momentum.

    For the gradient g, weight decay included: v <- alpha v + (1 - alpha) g^2, m <- momentum m + lr g / sqrt(v + eps),
    parameter <- parameter - m.  :class:`torch.optim.RMSprop` differs in three ways that published settings, with an
    eps of 1e-3, do not survive: v begins at 0 and not at 1, eps is added to the root and not under it, and m holds no
    learning rate, so that a change of it acts on past gradients too.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        alpha: decay of the average of squares.
        eps: added to that average.
        momentum: of the updates.
        weight_decay: in the gradient.

    Example:
        >>> parameter = torch.nn.Parameter(torch.tensor([1.0]))
        >>> parameter.grad = torch.tensor([1.0])
        >>> RMSpropTF([parameter], lr=0.1, eps=0.0).step()
        >>> parameter.item()  # v stays 1
        0.8999999761581421
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        *,
        alpha: float = 0.9,
        eps: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of the parameters that have gradients; others keep their state.

        Args:
            closure: evaluates the loss and its gradients anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            states = [self._state(parameter) for parameter in parameters]
            squares, moves = ([state[key] for state in states] for key in ("square_avg", "momentum_buffer"))
            gradients = [parameter.grad for parameter in parameters]
            if group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
            torch._foreach_mul_(squares, group["alpha"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["alpha"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(moves, group["momentum"])
            torch._foreach_addcdiv_(moves, gradients, roots, group["lr"])
            torch._foreach_sub_(parameters, moves)
        return loss

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["square_avg"] = torch.ones_like(parameter)
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state
