"""Pickles of plain data, read without running what is in them."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError

__all__ = ["plain_pickle"]

_MAX_BYTES = 1 << 28
_NUMBERS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {"f2", "f4", "f8", "b1"}
_KINDS = {(f"numpy.{package}.multiarray", "_reconstruct"): "reconstruct" for package in ("core", "_core")} | {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
}
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING "
    "BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 LIST "
    "EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 DICT EMPTY_DICT SETITEM SETITEMS POP DUP "
    "POP_MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)


def plain_pickle(data: bytes) -> Any:
    """What a pickle holds, if that is lists, tuples, dictionaries, numbers, strings and numpy arrays of numbers.

    No class and no function is looked up, whatever the pickle names: the three names by which numpy arrays are
    pickled stand for objects of this module that take the array's bytes, and every other name is refused.  Before
    anything is made, all instructions are gone through; unknown ones, and memory for more than the file holds, are
    refused.

    Args:
        data: the pickle.

    Raises:
        DataError: if it is damaged, or holds anything else.
    """
    if len(data) > _MAX_BYTES:
        raise DataError(f"a pickle of plain data has {_MAX_BYTES:,} bytes at most (got {len(data):,})")
    _check_instructions(data)
    try:
        return _finished(_PlainUnpickler(io.BytesIO(data)).load())
    except DataError:
        raise
    except RecursionError as error:
        raise DataError("the pickle is nested too deeply") from error
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError) as error:
        raise _damaged(error) from error
    except (AttributeError, EOFError, OverflowError, MemoryError, UnicodeError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> DataError:
    return DataError(f"the pickle is damaged: {str(error) or type(error).__name__}")


def _check_instructions(data: bytes) -> None:
    end = None
    try:
        for opcode, argument, place in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise DataError(
                    f"the pickle holds more than plain data: instruction {opcode.name} at byte {place}; it was not run"
                )
            if "PUT" in opcode.name and isinstance(argument, int) and argument > len(data):
                raise DataError(f"the pickle numbers an object {argument:,}, which its {len(data):,} bytes cannot hold")
            end = place
    except DataError:
        raise
    except (ValueError, TypeError, OverflowError, UnicodeError) as error:
        raise _damaged(error) from error
    if end != len(data) - 1:
        raise DataError("the pickle is damaged: bytes follow its end")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        kind = _KINDS.get((module, name))
        if kind is None:
            raise DataError(f"the pickle asks for '{module}.{name}', which plain data does not need; it was not run")
        return _Name(kind)

    def persistent_load(self, pid: Any) -> NoReturn:
        raise DataError("the pickle refers to something outside of it, which plain data does not need")


class _Name:
    """Stands for a class or function that a pickle names; made anew for each, so that nothing in it lasts."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, *arguments: Any) -> Any:
        if self._kind == "dtype":
            return _DType(*arguments)
        if self._kind == "reconstruct":
            return _Array()  # its class, shape and type are told again by the state
        raise DataError("the pickle calls 'numpy.ndarray', which pickled arrays do not do; it was not run")

    def __setstate__(self, state: Any) -> NoReturn:
        raise DataError("the pickle sets attributes of a class or function; it was not run")


class _DType:
    """Stands for a numpy type."""

    __slots__ = ("found",)

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or name not in _NUMBERS:
            raise DataError(f"the pickle holds an array of type {name!r:.40}; plain arrays hold numbers")
        self.found: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise DataError("the pickle is damaged: a type of arrays has no byte order")
        self.found = self.found.newbyteorder(order)


class _Array:
    """Stands for a numpy array until its state has come."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise DataError("the pickle is damaged: an array has no shape, type and values")
        _, shape, dtype, fortran, values = state
        whole = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
        if not whole or not isinstance(dtype, _DType) or not isinstance(values, bytes | str):
            raise DataError("the pickle is damaged: an array has no shape, type and values")
        content = values.encode("latin-1") if isinstance(values, str) else values  # protocols before 3 have no bytes
        if len(content) != math.prod(shape) * dtype.found.itemsize:
            raise DataError(f"the pickle is damaged: an array of shape {shape} has {len(content):,} bytes")
        flat = np.frombuffer(content, dtype=dtype.found)
        self.found = flat.reshape(shape, order="F" if fortran else "C")


def _finished(value: Any) -> Any:
    """The data with arrays in place of what stood for them; parts that occur twice are shared, as in the pickle."""
    done: dict[int, Any] = {}
    keep: list[Any] = [value]  # so that no id is used again

    def finish(value: Any) -> Any:
        if isinstance(value, bool | int | float | str | bytes | None):
            return value
        if id(value) not in done:
            keep.append(value)
            done[id(value)] = None  # a container within itself has this in its place
            if isinstance(value, list):
                done[id(value)] = [finish(part) for part in value]
            elif isinstance(value, tuple):
                done[id(value)] = tuple(finish(part) for part in value)
            elif isinstance(value, Mapping):
                done[id(value)] = {finish(key): finish(part) for key, part in value.items()}
            elif isinstance(value, _Array) and value.found is not None:
                done[id(value)] = value.found
            else:
                raise DataError("the pickle is damaged: it holds a name or an array without values")
        return done[id(value)]

    return finish(value)
