import pytest

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._settings import from_modules, to_modules

ONE = (1, (1,), (8,))
TWO = (2, (1, 2), (8, 16))
THREE = (3, (1, 2, 3), (8, 16, 24))
FOUR = (4, (1, 2, 3, 4), (8, 16, 24, 32))


def test_repeated_modules_are_counted() -> None:
    modules = [ONE, ONE, ONE, TWO, THREE, THREE, FOUR]
    code = from_modules((64, 48), modules, 128)
    assert code == [64, 48, 3, 1, 8, 1, 1, 2, 8, 16, 2, 1, 2, 3, 8, 16, 24, 1, 1, 2, 3, 4, 8, 16, 24, 32, 128]
    assert list(to_modules(code)) == modules


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ([], "stage 1 must be one or more modules .*got none"),
        ([ONE, TWO, FOUR], "stage 3 must be"),
        ([TWO, ONE, THREE, FOUR], "stage 1 must be"),
        ([ONE, TWO, THREE], "stage 4 must be .*got none"),
        ([ONE, TWO, TWO, THREE, FOUR, ONE], "4 stages"),
        ([ONE, TWO, (2, (1, 1), (8, 8)), THREE, FOUR], "stage 3 must be"),
        ([ONE, (2, (1,), (8, 16)), THREE, FOUR], "stage 2 must be"),
        ([ONE, (2, (1, 2)), THREE, FOUR], "stage 2 must be"),
        ([(1, 1, 8), TWO, THREE, FOUR], "stage 1 must be"),
    ],
)
def test_other_lists_are_refused(modules: list[tuple[object, ...]], told: str) -> None:
    with pytest.raises(CodeError, match=told):
        from_modules((8, 8), modules, 8)
