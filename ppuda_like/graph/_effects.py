"""What a traced operation does besides making tensors: the memory it shares or writes, the values Python reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppuda_like.errors import GraphError

__all__ = ["Effects", "MemoryMap", "dtype_name", "effects_from_json", "effects_to_json", "is_float"]


class Effects(NamedTuple):
    """Facts of one node of a full trace that its operation, shapes and edges do not tell.

    Attributes:
        dtypes: type of each tensor the node makes, as ``"float32"``.
        storages: number of the memory each of them lies in; nodes that share one number share memory (views, results
            written in place).
        num_bytes: bytes of memory that the node is the first to use: none for views and results written in place.
        writes: whether the node writes into memory that was there before.
        buffers: paths of the buffers that the node consumes directly.
        read: whether forward reads the values, so that what runs later may depend on them (a branch, ``.item()``).
    """

    dtypes: tuple[str, ...] = ("float32",)
    storages: tuple[int, ...] = ()
    num_bytes: int = 0
    writes: bool = False
    buffers: tuple[str, ...] = ()
    read: bool = False


@cache
def is_float(dtypes: tuple[str, ...]) -> bool:
    """Whether a gradient can flow through any of a node's tensors."""
    return any(dtype.startswith(("float", "bfloat", "complex")) for dtype in dtypes)


class MemoryMap:
    """Numbers the memory of living tensors in the order it is met."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def place(self, tensor: Tensor, others: Iterable[Tensor] = ()) -> tuple[int, int]:
        """The number of a tensor's memory, and its bytes if it is new: met first here, and not that of ``others``.

        The tensors must be kept alive: memory is told apart by its address.
        """
        key, size = _memory(tensor)
        number = self._numbers.get(key)
        if number is not None:
            return number, 0
        number = self._numbers[key] = len(self._numbers)
        return number, 0 if any(_memory(other)[0] == key for other in others) else size

    def same(self, tensor: Tensor, as_tensor: Tensor) -> None:
        """Let a tensor count as lying in the memory of another one."""
        number, _ = self.place(as_tensor)
        self._numbers[_memory(tensor)[0]] = number


def _memory(tensor: Tensor) -> tuple[int, int]:
    """What tells a tensor's memory from another's, and its size in bytes."""
    try:
        storage = tensor.untyped_storage()
    except NotImplementedError:  # sparse tensors and the like have several storages or none
        return id(tensor), tensor.numel() * tensor.element_size()
    return storage._cdata, storage.nbytes()


@cache
def dtype_name(dtype: torch.dtype) -> str:
    """A type without the library in front: ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def effects_to_json(effects: Sequence[Effects]) -> list[dict[str, Any]]:
    """Effects as JSON values."""
    return [one._asdict() for one in effects]


def effects_from_json(found: Sequence[Mapping[str, Any]]) -> tuple[Effects, ...]:
    """The effects that :func:`effects_to_json` wrote.

    Raises:
        GraphError: if a field is missing or of the wrong form.
    """
    try:
        return tuple(
            Effects(
                dtypes=tuple(map(str, one["dtypes"])),
                storages=tuple(map(int, one["storages"])),
                num_bytes=int(one["num_bytes"]),
                writes=bool(one["writes"]),
                buffers=tuple(map(str, one["buffers"])),
                read=bool(one["read"]),
            )
            for one in found
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GraphError(f"the stored graph has effects of the wrong form: {error!r}") from error
