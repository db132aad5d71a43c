"""Run a model's forward without leaving a mark on the model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ppuda_like.errors import TraceError

__all__ = ["borrowed"]

_CONTAINERS = (dict, OrderedDict, list, set)
# Hook tables and flags that nn.Module keeps for itself and forward does not fill.
_BOOKKEEPING = frozenset(nn.Module().__dict__) - {"_parameters", "_buffers", "_modules"}


@contextmanager
def borrowed(modules: Mapping[str, nn.Module], swap: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Let a model's forward run on other tensors, then put everything back as it was.

    Inside the context, every parameter and buffer is what ``swap(path, tensor)`` gave for it (a shared tensor is asked
    for once, under its first path).  On leaving, the attributes of every module (parameters, buffers, counters, caches,
    plain containers) are the objects they were, whatever forward assigned, and train/eval modes are kept.

    Raises:
        TraceError: if the model holds lazy parameters that have no shape yet.
    """
    saved: list[tuple[dict[str, Any], dict[str, Any], list[tuple[Any, Any]]]] = []
    swapped: dict[int, Tensor] = {}
    try:
        for prefix, module in modules.items():
            attributes = module.__dict__
            contents = [
                (value, value.copy())
                for key in attributes.keys() - _BOOKKEEPING
                if type(value := attributes[key]) in _CONTAINERS
            ]
            saved.append((attributes, attributes.copy(), contents))
            tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for tensors in tables:
                for key, tensor in tensors.items():
                    if tensor is None:
                        continue
                    path = f"{prefix}.{key}" if prefix else key
                    if is_lazy(tensor):
                        raise TraceError(
                            f"parameter '{path}' of a lazy module has no shape yet; run the model once on real data"
                        )
                    if id(tensor) not in swapped:
                        swapped[id(tensor)] = swap(path, tensor)
                    tensors[key] = swapped[id(tensor)]
        with torch.no_grad():
            yield
    finally:
        for attributes, before, contents in saved:
            attributes.clear()
            attributes.update(before)
            for container, content in contents:
                container.clear()
                container.extend(content) if isinstance(container, list) else container.update(content)
