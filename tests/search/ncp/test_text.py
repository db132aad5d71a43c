import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, NASBENCH201
from ppuda_like.search.ncp._text import (
    cell_text,
    code_text,
    multi_resolution_text,
    parse_cell,
    parse_code,
    parse_multi_resolution,
)

START = "64_64-2_1_2_64-2_2_2_2_64_64-2_3_2_2_2_64_64_64-2_4_2_2_2_2_64_64_64_64-64"


@given(ops=st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_cells_survive_text(ops: list[int]) -> None:
    assert parse_cell(cell_text(ops)) == ops
    assert parse_code(cell_text(ops)) == (NASBENCH201, ops)


def test_the_first_cell_of_the_published_table() -> None:
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert parse_cell(text) == [0, 3, 2, 3, 2, 2]


@pytest.mark.parametrize("space", [MULTI_RESOLUTION, NASBENCH201], ids=["multi-resolution", "nas-bench-201"])
def test_a_line_of_text_tells_the_space(space: object) -> None:
    assert space in (MULTI_RESOLUTION, NASBENCH201)
    known = MULTI_RESOLUTION if space is MULTI_RESOLUTION else NASBENCH201
    for code in known.sample(20, np.random.default_rng(0)):
        text = code_text(known, code)
        assert re.fullmatch(r"[^\s,]+", text)
        assert parse_code(text) == (known, code.tolist())


def test_the_branches_are_not_among_the_27_numbers() -> None:
    numbers = parse_multi_resolution(START)
    assert numbers == [64, 64, 2, 2, 64, 2, *[2] * 2, *[64] * 2, 2, *[2] * 3, *[64] * 3, 2, *[2] * 4, *[64] * 4, 64]
    assert multi_resolution_text(numbers) == START


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "got ''"),
        ("64_64", "got 2 in one group"),
        (START.replace("-", "_"), "got 31 in one group"),
        (START.replace("2_2_2_2_64_64-", "2_1_2_2_64_64-"), "stage 2 has 2 branches .got 1"),
        (START + "-8", "groups of 2, 4, 6, 8, 10, 1"),
        (START + "_8", "groups of 2, 4, 6, 8, 10, 1"),
        (START.replace("64", "6.4"), "written"),
        ("seg-" + START, "written"),
        ("٣_" * 26 + "٣", "written"),
        ("_".join(["9" * 5000] * 27), "few digits"),
        ("1_2,3", "written"),
    ],
)
def test_other_texts_are_no_multi_resolution_code(text: str, told: str) -> None:
    with pytest.raises(CodeError, match=told) as caught:
        parse_multi_resolution(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "|none~0|",
        "|none~0|+|none~0|none~1|",
        "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~3|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|",
        "none~0+none~0|none~1+none~0|none~1|none~2",
    ],
)
def test_other_texts_are_no_cell(text: str) -> None:
    with pytest.raises(CodeError, match="is written"):
        parse_cell(text)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(CodeError, match=r"got \['conv_7x7'\]"):
        parse_cell("|conv_7x7~0|+|none~0|none~1|+|none~0|none~1|none~2|")


@given(text=st.text(alphabet="0123456789_-,|~+ anoe", max_size=60))
@example(text="|~0|")
@example(text="+" * 60)
def test_any_text_is_a_code_or_refused(text: str) -> None:
    try:
        space, numbers = parse_code(text)
    except CodeError:
        return
    assert len(numbers) == len(space.names)
