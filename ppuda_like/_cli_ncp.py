"""The command ``ppuda-like ncp``: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from ppuda_like._cli_options import write_graph
from ppuda_like.errors import CodeError, PpudaLikeError
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    PREDICTOR_KINDS,
    PUBLISHED_CODES,
    CellCode,
    CodeTable,
    Constraints,
    EditedCode,
    EditTrajectory,
    MultiResolutionCode,
    Objective,
    TablePredictor,
    compare_predictors,
    edit,
    edit_published,
    fit_predictor,
    judge,
    list_tables,
    load_table,
    nearest_rows,
    plot_edit,
)

__all__ = ["Ncp"]

Codes = NDArray[np.int64]
Predictors = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PREDICTOR")]
_TABLE = f"A bundled table ({', '.join(list_tables())}), or an .npz, .csv or published .pkl file."
_SHOWN = 3  # measured neighbours of the best code


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit a predictor to a table of codes, and score it on a fifth of the rows held out."""

    table: Annotated[str, tyro.conf.arg(help=_TABLE)] = "seg"
    out: Path
    """The .safetensors file to write."""
    kind: Literal["ensemble", "ranks", "mlp", "graph"] = "ensemble"
    """Gaussian processes of metrics or of their ranks, the published perceptron, or graph networks; codes are edited
    along the first three."""
    seed: int = 0
    """Of the rows held out and of the fit."""
    half: Literal["first", "second"] | None = None
    """Learn from half of the rows only, so that a predictor of the other half can judge what is edited by this one."""

    def run(self) -> None:
        table = load_table(self.table)
        if self.half is not None:
            order = np.random.default_rng(self.seed).permutation(len(table))
            middle = len(order) // 2
            table = table.take(order[:middle] if self.half == "first" else order[middle:])
        (scored,) = compare_predictors([table], [self.kind], seeds=[self.seed]).runs
        print(
            f"{table.name}, {scored.metric} of {scored.test_size} rows held out, learnt from {scored.train_size}: "
            f"tau {scored.kendall:.3f}, mean error {scored.l1:.3g}, fitted in {scored.cpu_seconds:.1f} CPU seconds"
        )
        predictor = fit_predictor(table, self.kind, seed=self.seed)
        predictor.save(self.out)
        print(f"wrote {self.out}: {predictor}, learnt from {len(table):,} rows")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Edit codes along the gradients of predictors, under hard limits on the exact costs."""

    predictors: Predictors
    """Files that 'fit' wrote; several are edited for jointly."""
    terms: tuple[str, ...] = ()
    """What to make large: NAME=WEIGHT, a metric or TABLE.METRIC, flops or params; by default all main metrics."""
    uncertainty: float = 0.0
    """Standard deviations of each prediction that count against it."""
    max_flops: float | None = None
    """Most operations, exactly counted."""
    max_params: float | None = None
    """Most parameters, exactly counted."""
    start: tuple[str, ...] = ()
    """Codes to start from, or names of published ones (start, seg, cls, video, 3ddet); by default start."""
    random: int = 0
    """Further starts drawn at random; for cells 20 where none is given."""
    steps: int = 70
    """Codes on the way of each start."""
    lr: float = 3.0
    """Step size."""
    rule: Literal["continuous", "winner", "published"] = "continuous"
    """All numbers at once; the most promising one by a notch; or exactly as published, with FLOPs as predicted."""
    seed: int = 0
    """Of the random starts."""
    where: str | None = None
    """What the best code is to meet: "flops < 2e9 and step > 0"."""
    judges: tuple[Path, ...] = ()
    """Predictors, of other rows of the table, that judge the best code."""
    table: str | None = None
    """The table to draw behind, and to look for measured codes nearby."""
    out: Path | None = None
    """Folder to write trajectory.csv, trajectory.json and edit.png to."""

    def run(self) -> None:
        predictors = [TablePredictor.load(path) for path in self.predictors]
        if not predictors:
            raise PpudaLikeError("'ncp edit' needs predictors; make one: ppuda-like ncp fit --table seg --out FILE")
        judges = [TablePredictor.load(path) for path in self.judges]
        table = None if self.table is None else load_table(self.table)
        trajectory = self._edit(predictors, self._starts(predictors[0]))
        best = trajectory.best(self.where)
        print(f"{trajectory.steps} steps from {trajectory.starts} starts; start of the best, and the best:")
        for code in (trajectory.at(0, best.start), best):
            print(_described(trajectory, code))
        if judges:
            for name, values in judge([best.code], judges).items():
                print(f"  {name} by the judges: {', '.join(f'{value:.4g}' for value in values[:, 0])}")
        if table is not None:
            _print_neighbours(best, table)
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            trajectory.to_csv(self.out / "trajectory.csv")
            trajectory.to_json(self.out / "trajectory.json")
            plot_edit(trajectory, table, self.out / "edit.png", where=self.where)
            print(f"wrote trajectory.csv, trajectory.json and edit.png to {self.out}")

    def _edit(self, predictors: list[TablePredictor], starts: Codes) -> EditTrajectory:
        if self.rule == "published":
            if len(predictors) > 1 or self.terms or self.max_flops or self.max_params or self.uncertainty:
                raise PpudaLikeError(
                    "'--rule published' edits by one predictor of kind mlp, without terms, limits or uncertainty"
                )
            return edit_published(starts, predictors[0], steps=self.steps, lr=self.lr)
        terms = dict(_parsed(self.terms)) or {f"{found.table}.{found.metrics[0]}": 1.0 for found in predictors}
        objective = Objective(terms, uncertainty=self.uncertainty)
        limits = Constraints(max_flops=self.max_flops, max_params=self.max_params)
        return edit(starts, predictors, objective, limits, steps=self.steps, lr=self.lr, rule=self.rule)

    def _starts(self, predictor: TablePredictor) -> Codes:
        space, num = predictor.space, self.random
        given = [np.asarray(_code(text)) for text in self.start]
        if not given and space.name == MULTI_RESOLUTION.name:
            given = [np.asarray(PUBLISHED_CODES["start"])]
        if not given and not num:
            num = 20
        drawn = space.sample(num, np.random.default_rng(self.seed))
        return np.concatenate((space.check(given), drawn)) if given else drawn


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare kinds of predictors on tables, on the same splits; what is there already is not done again."""

    tables: tuple[str, ...] = ("seg",)
    """Bundled tables, or .npz, .csv or published .pkl files."""
    kinds: tuple[str, ...] = PREDICTOR_KINDS
    """Of predictors."""
    seeds: tuple[int, ...] = (233, 1, 2, 3, 4)
    """Of splits and fits."""
    out: Path | None = None
    """A .csv file to write every fit to; .json and .md go beside it."""

    def run(self) -> None:
        print(
            compare_predictors([load_table(name) for name in self.tables], self.kinds, seeds=self.seeds, out=self.out)
        )


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show the network of a code: its graph and its exact costs."""

    code: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CODE")]
    """27 numbers, the text of a benchmark, or an architecture string |..~0|+|..~0|..~1|+|..~0|..~1|..~2|."""
    out: Path | None = None
    """Write the graph to a .json, .png, .pdf, .svg or .dot file."""
    rows: int = 20
    """Rows of the table at most; 0 for all."""

    def run(self) -> None:
        code = _code(self.code)
        graph = code.to_graph()
        print(graph.summary(max_rows=self.rows or None))
        print(f"{code.text}\n{code.flops:,} FLOPs and {code.params:,} parameters, as the benchmark counts them")
        if self.out is not None:
            write_graph(graph, self.out)
            print(f"wrote {self.out}")


def _code(text: str) -> MultiResolutionCode | CellCode:
    if text in PUBLISHED_CODES:
        return PUBLISHED_CODES[text]
    return CellCode.from_text(text) if text.startswith("|") else MultiResolutionCode.from_text(text)


def _parsed(terms: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for term in terms:
        name, _, weight = term.rpartition("=")
        try:
            yield name, float(weight)
        except ValueError:
            raise CodeError(f"'--terms' takes NAME=WEIGHT, mIoU=1 flops=-0.5 for instance (got '{term}')") from None


def _described(trajectory: EditTrajectory, found: EditedCode) -> str:
    code = (CellCode if trajectory.space == NASBENCH201.name else MultiResolutionCode)(found.code)
    metrics = ", ".join(
        f"{name} {value:.4g}" + (f" +- {found.stds[name]:.2g}" if found.stds[name] else "")
        for name, value in found.predictions.items()
    )
    return f"  step {found.step}: {code.text}\n    {metrics}; {found.flops:,.0f} FLOPs, {found.params:,.0f} parameters"


def _print_neighbours(best: EditedCode, table: CodeTable) -> None:
    near = nearest_rows([best.code], table, _SHOWN)
    measured = ", ".join(
        f"row {row} ({values:.4g}, {distance:.1f} deviations away)"
        for row, values, distance in zip(near.rows[0], near.metrics[table.main][0], near.distances[0], strict=True)
    )
    print(f"  nearest measured codes by {table.main}: {measured}; the best of the table: {table[table.main].max():.4g}")


@dataclass(frozen=True, kw_only=True)
class Ncp:
    """Edit codes of networks along the gradients of predictors (network coding propagation)."""

    command: Annotated[
        Annotated[Fit, tyro.conf.subcommand("fit")]
        | Annotated[Edit, tyro.conf.subcommand("edit")]
        | Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[Show, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        self.command.run()
