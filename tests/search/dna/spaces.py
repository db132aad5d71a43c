"""Small spaces with costs drawn at random, and their networks one by one."""

import itertools

import numpy as np
from hypothesis import strategies as st

from ppuda_like.search.dna import Cell, CostTable, Ratings, Space, Stage, mobile_operations

OPERATIONS = mobile_operations()


@st.composite
def spaces(draw: st.DrawFn, most: int = 250) -> Space:
    """Up to four stages with up to three cells each, at most so many networks."""
    stages: list[Stage] = []
    size = 1
    for _ in range(draw(st.integers(1, 4))):
        cells = draw(
            st.lists(
                st.builds(
                    lambda depth, width, count: Cell(depth=depth, width=width, operations=OPERATIONS[:count]),
                    st.integers(1, 3),
                    st.sampled_from([4, 8]),
                    st.integers(1, 3),
                ),
                min_size=1,
                max_size=3,
                unique=True,
            )
        )
        stage = Stage(cells=tuple(cells), stride=draw(st.integers(1, 2)))
        if stages and size * stage.num_paths > most:
            break
        stages.append(stage)
        size *= stage.num_paths
    return Space(name="random", stages=tuple(stages), image_size=16)


@st.composite
def instances(draw: st.DrawFn) -> tuple[CostTable, Ratings]:
    """A space, two costs and ratings; the numbers are few, so that many are equal, and sums of ratings exact."""
    space = draw(spaces())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    high = draw(st.sampled_from([3, 30, 10**6]))

    def costs(*shape: int) -> np.ndarray:
        return rng.integers(high, size=(*shape, 2))

    table = CostTable(
        space=space,
        names=("a", "b"),
        first=costs(),
        head={width: costs() for width in space.widths_in(len(space.stages))},
        layers={
            (number, place, width): costs(cell.depth, len(cell.operations))
            for number, stage in enumerate(space.stages)
            for place, cell in enumerate(stage.cells)
            for width in space.widths_in(number)
        },
    )
    steps = draw(st.sampled_from([4, 1000]))
    values = [rng.integers(1, 1 + steps, size=paths) / 1024 for paths in space.num_paths]
    return table, Ratings.from_arrays(space, values)


def all_numbers(space: Space) -> np.ndarray:
    """Every network, in the order of their numbers."""
    return np.array(list(itertools.product(*map(range, space.num_paths))))
