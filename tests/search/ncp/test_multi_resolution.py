import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp import MULTI_RESOLUTION, MultiResolutionCode

codes = st.integers(0, 2**32 - 1).map(lambda seed: MultiResolutionCode.random(np.random.default_rng(seed)))


@given(code=codes)
def test_every_form_leads_back(code: MultiResolutionCode) -> None:
    assert MultiResolutionCode.from_text(code.text) == code
    assert MultiResolutionCode.from_settings(code.stem, code.settings, code.last_channel) == code
    lists = [[branches, list(blocks), list(channels)] for branches, blocks, channels in code.settings]
    assert MultiResolutionCode.from_settings(list(code.stem), lists, code.last_channel) == code
    assert MultiResolutionCode(tuple(np.asarray(code))) == code
    for divider in ("_", ",", ", ", " "):
        assert MultiResolutionCode.from_text(divider.join(map(str, code.numbers))) == code


@given(code=codes)
def test_parts_are_the_numbers_in_order(code: MultiResolutionCode) -> None:
    numbers = list(code.stem)
    for modules, blocks, channels in zip(code.modules, code.blocks, code.channels, strict=True):
        numbers += [modules, *blocks, *channels]
    assert (*numbers, code.last_channel) == code.numbers
    assert len(code.settings) == sum(code.modules)
    assert [branches for branches, _, _ in code.settings] == sorted(branches for branches, _, _ in code.settings)


def test_a_code_of_the_published_list() -> None:
    code = MultiResolutionCode.from_text(
        "96_128-1_1_1_48-1_2_1_1_128_8-1_3_1_1_1_128_128_120-4_4_4_4_4_4_128_128_128_128-64"
    )
    assert code.numbers == (
        *(96, 128, 1, 1, 48, 1, 1, 1, 128, 8, 1, 1, 1, 1, 128, 128, 120, 4, 4, 4, 4, 4, 128, 128, 128, 128, 64),
    )
    assert round(code.flops / 1e9, 3) == 8.632
    assert round(code.params / 1e6, 3) == 24.972


def test_codes_are_values() -> None:
    code = MultiResolutionCode(tuple(MULTI_RESOLUTION.low.astype(int)))
    assert all(type(number) is int for number in code.numbers)
    assert len({code, MultiResolutionCode(code.numbers)}) == 1
    assert MULTI_RESOLUTION.check([code, code]).shape == (2, 27)
    assert np.asarray(code, dtype=np.float32).dtype == np.float32


def test_neighbours_are_those_of_the_space() -> None:
    code = MultiResolutionCode.random(np.random.default_rng(1))
    assert np.array_equal([np.asarray(other) for other in code.neighbours()], MULTI_RESOLUTION.neighbours(code))


def test_a_code_off_the_grid_is_refused() -> None:
    with pytest.raises(CodeError, match=r"'m1' .* 1\.\.4 \(got 5"):
        MultiResolutionCode((8, 8, 5, *[1] * 24))
    with pytest.raises(CodeError, match="27"):
        MultiResolutionCode((8, 8))
