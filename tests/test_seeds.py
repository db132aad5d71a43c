from hypothesis import given
from hypothesis import strategies as st

from ppuda_like._seeds import derived_seed

parts = st.lists(st.integers(0, 10**9) | st.sampled_from(["order", "augment", "net"]), min_size=1, max_size=4)


@given(parts, parts)
def test_equal_seeds_only_for_equal_parts(one: list[int | str], other: list[int | str]) -> None:
    assert (derived_seed(*one) == derived_seed(*other)) == (one == other)


@given(parts)
def test_seeds_suit_torch_and_numpy(found: list[int | str]) -> None:
    assert 0 <= derived_seed(*found) < 2**56


def test_seeds_never_move() -> None:
    assert derived_seed(0, "images", 3) == 0x380816E93394CA
