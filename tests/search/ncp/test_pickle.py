import builtins
import contextlib
import copyreg
import io
import os
import pickle
import pickletools
import struct
import subprocess
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import DataError
from ppuda_like.search.ncp._pickle import plain_pickle

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
plain = st.recursive(
    scalars,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=3), parts, max_size=4),
    max_leaves=20,
)


@given(value=plain, protocol=st.integers(0, 5))
def test_plain_data_is_read(value: Any, protocol: int) -> None:
    assert plain_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4])  # as published; others need more names
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "u1", "?", "<f2", ">i2"])
def test_arrays_of_numbers_are_read(protocol: int, dtype: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    for array in (values, np.asfortranarray(values), values[:0], np.array(3).astype(dtype)):
        data = pickle.dumps({"a": array, "b": [array, (array,)]}, protocol)
        found = plain_pickle(data)
        for part in (found["a"], found["b"][0], found["b"][1][0]):
            assert part.dtype == array.dtype
            np.testing.assert_array_equal(part, array)


def test_arrays_of_the_published_protocol_are_read() -> None:
    rows = [{"embedding": np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0]].ravel()} for _ in range(3)]
    assert plain_pickle(pickle.dumps(rows, 4))[2]["embedding"].sum() == 6


def test_parts_that_occur_twice_are_shared() -> None:
    part: list[int] = [1]
    found = plain_pickle(pickle.dumps([part, part]))
    assert found[0] is found[1]


def test_a_nest_of_references_does_not_unfold() -> None:
    value: list[Any] = [0]
    for _ in range(100):
        value = [value, value]  # 2 ** 100 leaves
    assert len(plain_pickle(pickle.dumps(value))) == 2


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def raised(path: Path) -> list[Any]:
    code = f"open({str(path)!r}, 'w').close()"
    return [
        Evil(os.system, (f"touch {path}",)),
        Evil(builtins.exec, (code,)),
        Evil(builtins.eval, (code,)),
        Evil(subprocess.run, (["touch", str(path)],)),
        Evil(builtins.open, (str(path), "w")),
        Evil(np.save, (str(path), np.zeros(1))),
        Evil(io.FileIO, (str(path), "w")),
        Evil(copyreg._reconstructor, (Evil, object, None)),  # type: ignore[attr-defined]
        Evil(np.ndarray, ((1 << 40,),)),
        Evil(np.load, (str(path),)),
        OrderedDict(a=1),
        Decimal(1),
        {1, 2},
        complex(1, 2),
        Path("x"),
        np.float32(1.5),
        np.array([{"a": 1}], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.zeros(1, dtype="M8[s]"),
        np.zeros(1, dtype=complex),
        bytearray(b"x"),
        len,
        Evil,
    ]


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_whatever_runs_or_is_no_plain_data_is_refused(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "written"
    for value in raised(path):
        for wrapped in (value, [{"a": value}]):
            with pytest.raises(DataError):
                plain_pickle(pickle.dumps(wrapped, protocol))
    assert not path.exists()


def g(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


RECONSTRUCT = g("numpy.core.multiarray", "_reconstruct")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (g("os", "system") + b"(S'true'\ntR.", "'os.system'"),
        (g("builtins", "eval") + b".", "'builtins.eval'"),
        (g("numpy", "load") + b".", "'numpy.load'"),
        (g("numpy.core.multiarray", "_reconstruct.__globals__") + b".", "_reconstruct.__globals__"),
        (b"\x80\x04\x8c\x05numpy\x8c\x14dtype.__subclasses__\x93.", "dtype.__subclasses__"),
        (b"(ios\nsystem\n.", "instruction INST"),
        (b"(" + g("os", "system") + b"S'true'\no.", "instruction OBJ"),
        (b"P1\n.", "instruction PERSID"),
        (b"K\x01Q.", "instruction BINPERSID"),
        (b"\x82\x01.", "instruction EXT1"),
        (g("numpy", "ndarray") + b")\x81.", "instruction NEWOBJ"),
        (g("numpy", "ndarray") + b"(K\x05tR.", "ndarray"),
        (g("numpy", "ndarray") + b".", "a name"),
        (RECONSTRUCT + b"}S'__globals__'\nK\x01sb.", "sets attributes"),
        (RECONSTRUCT + b"N}S'a'\nK\x01s\x86b.", "sets attributes"),
        (RECONSTRUCT + b")R.", "without values"),
        (RECONSTRUCT + b")R}b.", "no shape"),
        (b"]}S'a'\nK\x01sb.", "damaged"),
        (g("numpy", "dtype") + b"(S'O8'\ntR.", "'O8'"),
        (g("numpy", "dtype") + b"(K\x01tR.", "type 1"),
        (g("numpy", "dtype") + b"(S'f4'\ntRNb.", "byte order"),
        (g("numpy", "dtype") + b"(S'f4'\ntR.", "a name"),
        (b"K\x01K\x02.K\x03.", "bytes follow"),
        (b"", "damaged"),
        (b"K\x01", "damaged"),
        (b"\xff.", "damaged"),
        (b"0.", "damaged"),
        (b"a.", "damaged"),
        (b"r\xff\xff\xff\x7f.", "which its 6 bytes cannot hold"),
        (b"p2000000000\n.", "cannot hold"),
        (b"X\xff\xff\xff\x7fab.", "damaged"),
        (b"\x8e" + struct.pack("<Q", 1 << 60) + b".", "damaged"),
        (b"\x95" + struct.pack("<Q", 1 << 60) + b"K\x01.", "damaged"),
        (b"\x8b\xff\xff\xff\x7f.", "damaged"),
        (b"L" + b"9" * 5000 + b"L\n.", "damaged"),
        (b"}]K\x01s.", "damaged"),
        (b"h\x07.", "damaged"),
    ],
)
def test_hand_made_pickles_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        plain_pickle(data)


def state(shape: Any, dtype: str = "f4", values: bytes = b"\0" * 16, fortran: Any = False) -> bytes:
    """An array as numpy pickles it, with parts of one's choice."""
    parts = [pickle.dumps(part, 3)[2:-1] for part in (1, shape)]
    kind = g("numpy", "dtype") + b"(" + pickle.dumps(dtype, 3)[2:-1] + b"tR(K\x03S'<'\ntb"
    rest = [pickle.dumps(part, 3)[2:-1] for part in (fortran, values)]
    return b"\x80\x03" + RECONSTRUCT + b")R(" + b"".join(parts) + kind + b"".join(rest) + b"tb."


def test_an_array_made_by_hand_is_read() -> None:
    assert plain_pickle(state((4,))).tolist() == [0, 0, 0, 0]
    assert plain_pickle(state((0, 7), values=b"")).shape == (0, 7)


@pytest.mark.parametrize("shape", [(5,), (1 << 40,), (-4,), (2.0, 2), [4], 4, None, (True,), (-2, -2), ("4",)])
def test_arrays_whose_shape_is_not_that_of_their_bytes_are_refused(shape: Any) -> None:
    with pytest.raises(DataError):
        plain_pickle(state(shape))


def test_lists_within_themselves_do_no_harm() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert plain_pickle(pickle.dumps(loop)) == [None]


def test_deep_nests_are_refused() -> None:
    with pytest.raises(DataError, match="deeply"):
        plain_pickle(b"]" * 5_000 + b"a" * 4_999 + b".")


def test_what_is_refused_leaves_nothing_behind() -> None:
    for attack in (RECONSTRUCT + b"}S'_kind'\nS'dtype'\nsb.", RECONSTRUCT + b")R}S'found'\nK\x01sb."):
        with pytest.raises(DataError):
            plain_pickle(attack)
    assert plain_pickle(pickle.dumps([np.zeros(3, dtype=np.float32)], 4))[0].tolist() == [0, 0, 0]


@settings(max_examples=300)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        plain_pickle(data)
    except DataError:
        return
    assert all(opcode.name != "GLOBAL" for opcode, _, _ in pickletools.genops(data))


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(place: int, value: int) -> None:
    data = bytearray(pickle.dumps([{"a": np.arange(4, dtype=np.float32), "b": [1, 2.5, "x"]}] * 2, 4))
    data[place % len(data)] = value
    with contextlib.suppress(DataError):
        plain_pickle(bytes(data))
