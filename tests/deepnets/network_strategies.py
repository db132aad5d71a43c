"""Hypothesis strategies for genotypes and network arguments."""

from collections.abc import Sequence

from hypothesis import strategies as st

from ppuda_like.deepnets import OPS, Genotype, NetworkConfig


@st.composite
def cells(draw: st.DrawFn, steps: int, ops: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple(
        (draw(st.sampled_from(ops)), draw(st.integers(0, step + 1))) for step in range(steps) for _ in range(2)
    )


@st.composite
def genotypes(draw: st.DrawFn, max_steps: int = 3) -> Genotype:
    """Any valid genotype, those with dead and unused states included."""
    ops = sorted(draw(st.sets(st.sampled_from(list(OPS)), min_size=1, max_size=6)))
    steps = draw(st.integers(1, max_steps))
    concat = sorted(draw(st.sets(st.integers(2, steps + 1), min_size=1)))
    return Genotype(
        normal=draw(cells(steps, ops)),
        normal_concat=tuple(concat),
        reduce=draw(cells(steps, ops)),
        reduce_concat=tuple(concat),
    )


@st.composite
def network_configs(draw: st.DrawFn, max_cells: int = 5) -> NetworkConfig:
    """Any valid small network, those without a path to the output included."""
    genotype = draw(genotypes())
    C_mult = draw(st.sampled_from([1, 2]))
    needed = C_mult > 1 or len(genotype.normal_concat) > 1
    return NetworkConfig(
        C=8,
        num_classes=draw(st.integers(2, 5)),
        genotype=genotype,
        n_cells=draw(st.integers(1, max_cells)),
        ks=draw(st.sampled_from([3, 5, 7])),
        is_imagenet_input=draw(st.booleans()),
        stem_pool=draw(st.booleans()),
        stem_type=draw(st.sampled_from([0, 1])),
        norm=draw(st.sampled_from(["bnorm", "bn", "bn-track", None])),
        preproc=needed or draw(st.booleans()),
        C_mult=C_mult,
        fc_layers=draw(st.integers(1, 3)),
        fc_dim=16,
        glob_avg=draw(st.booleans()),
        auxiliary=draw(st.booleans()),
        drop_path=draw(st.sampled_from([0.0, 0.3])),
    )
