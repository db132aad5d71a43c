"""Predictors of tables: every kind fits, answers, and travels through files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ppuda_like.errors import CheckpointError, CodeError, DataError
from ppuda_like.predictors import CodeEnsemble, CodePredictor, GraphRegressor, cell_graph, kendall_tau
from ppuda_like.search.ncp import (
    MULTI_RESOLUTION,
    NASBENCH201,
    CodeTable,
    TablePredictor,
    edit,
    fit_predictor,
    load_table,
)

FAST = CodePredictor(groups=[1, 1, 2], dropouts=[0.5, 0.5, 0.0], epochs=3)


def cells(num: int = 60) -> CodeTable:
    """Random cells; the metric rewards convolutions, and more so 3x3."""
    codes = np.unique(NASBENCH201.sample(num, np.random.default_rng(0)), axis=0)
    accuracy = 20 + 5.0 * (codes == 3).sum(1) + 8.0 * (codes == 4).sum(1)
    return CodeTable(name="cells", space=NASBENCH201, codes=codes, metrics={"acc": accuracy, "top5": accuracy**1.1})


@pytest.fixture(scope="module")
def ensemble() -> TablePredictor:
    return fit_predictor(cells())


@pytest.fixture(scope="module")
def ranks() -> TablePredictor:
    return fit_predictor(cells(), "ranks")


@pytest.fixture(scope="module")
def published() -> TablePredictor:
    """What fit_predictor makes of kind 'mlp', with a shorter training."""
    table = cells()
    targets = np.hstack((table.matrix(), table.space.costs(table.codes)))
    return TablePredictor(
        table="cells",
        space=NASBENCH201,
        metrics=("acc", "top5", "flops", "params"),
        estimator=FAST.fit(NASBENCH201.relax(table.codes), targets),
        scale=targets.std(0),
    )


@pytest.fixture(scope="module")
def graphs() -> TablePredictor:
    table = cells()
    regressor = GraphRegressor(hidden=8, n_estimators=2, folds=3, steps=20)
    return TablePredictor(
        table="cells",
        space=NASBENCH201,
        metrics=("acc",),
        estimator=regressor.fit([cell_graph(code) for code in table.codes.tolist()], table["acc"]),
        scale=table.matrix(["acc"]).std(0),
        inputs="graph",
    )


def test_the_ensemble_predicts_codes_it_did_not_see_of_the_bundled_table() -> None:
    table = load_table("seg").take(range(300))
    predictor = fit_predictor(table, rows=range(200))
    assert predictor.metrics == ("mIoU", "mAcc", "aAcc")
    np.testing.assert_allclose(predictor.scale, table.matrix()[:200].std(0))
    mean, std = predictor.predict(table.codes[200:], return_std=True)
    assert mean.shape == std.shape == (100, 3)
    assert kendall_tau(table["mIoU"][200:], mean[:, 0]) > 0.65
    assert (np.abs(table.matrix()[200:] - mean) < 2 * std).mean() > 0.85
    linear = fit_predictor(table, "ridge", rows=range(200)).predict(table.codes[200:])[:, 0]
    assert np.abs(mean[:, 0] - table["mIoU"][200:]).mean() < 0.8 * np.abs(linear - table["mIoU"][200:]).mean()


@pytest.mark.parametrize("kind", ["ensemble", "ridge", "k-nn", "boosting on features"])
def test_every_kind_answers_in_the_units_of_the_table(kind: str) -> None:
    table = load_table("seg").take(range(60))
    predictor = fit_predictor(table, kind, metrics=["mAcc"], seed=1)
    mean, std = predictor.predict(table.codes[:7], return_std=True)
    assert mean.shape == std.shape == (7, 1)
    assert 40 < mean.min() <= mean.max() < 100
    assert (std > 0).all() == predictor.knows_uncertainty == (kind == "ensemble")
    np.testing.assert_array_equal(predictor.predict(table.codes[:7]), mean)


def test_the_published_kind_predicts_the_costs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[CodePredictor] = []
    fit = CodePredictor.fit
    monkeypatch.setattr(
        CodePredictor, "fit", lambda self, x, y: made.append(self) or fit(self.set_params(epochs=1), x, y)
    )
    seg = fit_predictor(load_table("seg").take(range(40)), "mlp")
    assert seg.metrics == ("mIoU", "mAcc", "aAcc", "flops", "params")
    assert (made[0].groups, made[0].dropouts) == ([1, 2, 2], [0.5, 0.5, 0.0])
    fit_predictor(cells(), "mlp", metrics=["acc"])
    assert (made[1].groups, made[1].dropouts) == ([1, 2], [0.5, 0.0])


@pytest.mark.parametrize("name", ["ensemble", "published"])
def test_forward_is_predict_between_the_codes(name: str, request: pytest.FixtureRequest) -> None:
    predictor: TablePredictor = request.getfixturevalue(name)
    codes = NASBENCH201.sample(5, np.random.default_rng(3))
    relaxed = torch.from_numpy(NASBENCH201.relax(codes)).requires_grad_()
    mean, std = predictor.forward(relaxed)
    for found, wanted in zip((mean, std), predictor.predict(codes, return_std=True), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-5)
    (slope,) = torch.autograd.grad(mean[:, 0].sum(), relaxed)
    assert slope.shape == relaxed.shape
    assert (slope != 0).any()
    quick, zeros = predictor.forward(relaxed, with_std=False)
    torch.testing.assert_close(quick, mean)
    assert not zeros.any()


def test_edits_climb(ensemble: TablePredictor) -> None:
    start = [[2, 2, 2, 2, 2, 2], [0, 1, 2, 3, 2, 1]]
    found = edit(start, [ensemble], {"acc": 1.0}, steps=20)
    first, best = ensemble.predict(start)[:, 0], found.best().predictions["cells.acc"]
    assert best > first.max()


def test_what_has_no_derivative_says_so(graphs: TablePredictor) -> None:
    ridge = fit_predictor(cells(), "ridge")
    relaxed = torch.from_numpy(NASBENCH201.relax(cells().codes[:1]))
    for predictor, what in ((graphs, "GraphRegressor that reads graphs"), (ridge, "Pipeline that reads codes")):
        assert not predictor.editable
        with pytest.raises(CodeError, match=f"{what} has no derivative"):
            predictor.forward(relaxed)


@pytest.mark.parametrize("name", ["ensemble", "ranks", "published", "graphs"])
def test_files_give_the_same_predictor(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    predictor: TablePredictor = request.getfixturevalue(name)
    predictor.save(tmp_path / "p.safetensors")
    loaded = TablePredictor.load(tmp_path / "p.safetensors")
    for field in ("table", "space", "metrics", "inputs"):
        assert getattr(loaded, field) == getattr(predictor, field)
    np.testing.assert_array_equal(loaded.scale, predictor.scale)
    codes = NASBENCH201.sample(9, np.random.default_rng(4))
    for found, wanted in zip(
        loaded.predict(codes, return_std=True), predictor.predict(codes, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert loaded.estimator.get_params() == predictor.estimator.get_params()


def test_what_cannot_be_kept_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Pipeline cannot be saved"):
        fit_predictor(cells(), "ridge").save(tmp_path / "p.safetensors")
    seeded = CodeEnsemble(random_state=np.random.RandomState(0)).fit(NASBENCH201.relax(cells().codes), cells()["acc"])
    other = TablePredictor(table="cells", space=NASBENCH201, metrics=("acc",), estimator=seeded, scale=np.ones(1))
    with pytest.raises(CheckpointError, match="'random_state' is a number or None"):
        other.save(tmp_path / "p.safetensors")
    assert not list(tmp_path.iterdir())


def rewritten(path: Path, header: dict[str, str], drop: str = "", **tensors: torch.Tensor) -> Path:
    with safe_open(path, framework="pt") as file:
        old, found = dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    found = {name: value for name, value in (found | tensors).items() if name != drop}
    other = path.with_name("other.safetensors")
    save_file(found, other, metadata=old | header)
    return other


def test_damaged_files_are_refused(
    ensemble: TablePredictor, ranks: TablePredictor, published: TablePredictor, tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    ensemble.save(path)
    about = '{"inputs": "%s", "metrics": %s, "scale": [1.0, 1.0], "space": "%s", "table": "t"}'
    good = about % ("features", '["a", "b"]', NASBENCH201.name)
    assert TablePredictor.load(rewritten(path, {"about": good})).metrics == ("a", "b")
    nan = torch.full((2,), torch.nan, dtype=torch.float64)
    for header, drop, tensors, message in (
        ({"about": about % ("features", '["a"]', NASBENCH201.name)}, "", {}, "deviation for each of 1 metrics"),
        ({"about": about % ("features", '["a", "b"]', MULTI_RESOLUTION.name)}, "", {}, r"shape \(n, 53\)"),
        ({"about": about % ("features", '["a", "b"]', "mars")}, "", {}, "no space of codes is called 'mars'"),
        ({"about": about % ("graph", '["a", "b"]', NASBENCH201.name)}, "", {}, "does not read 'graph'"),
        ({"about": "{}"}, "", {}, "KeyError"),
        ({"kind": "oracle"}, "", {}, "its kind is 'oracle'"),
        ({"fitted": '{"members": 9, "one_target": false}'}, "", {}, "process.3"),
        ({"fitted": '{"members": -1, "one_target": false}'}, "", {}, "'members' must be"),
        ({"fitted": '{"members": 3, "one_target": true}'}, "", {}, "one target, and has 2"),
        ({"arguments": "{}"}, "", {}, "its arguments differ"),
        ({}, "process.0.rates", {}, "process.0.rates"),
        ({}, "", {"process.1.amplitude": nan}, "holds NaN"),
        (
            {},
            "",
            {"process.1.rows": torch.zeros(9, 53).double(), "process.1.weights": torch.zeros(9, 2).double()}
            | {"process.1.basis": torch.eye(9).double()},
            "as many rows as the first",
        ),
        ({}, "", {"process.1.amplitude": 0 * nan.nan_to_num()}, "positive variances"),
    ):
        with pytest.raises(CheckpointError, match=message):
            TablePredictor.load(rewritten(path, header, drop, **tensors))
    ranks.save(path)
    with safe_open(path, framework="pt") as file:
        values = file.get_tensor("scores.values")
    for wrong, message in ((values.flip(1), "must ascend"), (values[:, 1:].contiguous(), "two of each value")):
        with pytest.raises(CheckpointError, match=message):
            TablePredictor.load(rewritten(path, {}, **{"scores.values": wrong}))
    published.save(path)
    with pytest.raises(CheckpointError, match="tensors differ"):
        TablePredictor.load(rewritten(path, {}, "network.bias.0"))
    with pytest.raises(CheckpointError, match="there is no file"):
        TablePredictor.load(tmp_path / "none.safetensors")


def test_what_cannot_be_fitted_is_told() -> None:
    table = cells()
    with pytest.raises(CodeError, match=r"no kind 'forrest' of predictors; did you mean \['forest'\]"):
        fit_predictor(table, "forrest")
    with pytest.raises(CodeError, match=r"'ridge' learns one metric \(got acc, top5\)"):
        fit_predictor(table, "ridge", metrics=["acc", "top5"])
    with pytest.raises(CodeError, match="no metric 'accc'"):
        fit_predictor(table, metrics=["accc"])
    with pytest.raises(DataError, match="at least 2 rows"):
        fit_predictor(table, rows=[0])


def test_codes_of_another_space_are_refused(ensemble: TablePredictor) -> None:
    with pytest.raises(CodeError):
        ensemble.predict(MULTI_RESOLUTION.sample(1, np.random.default_rng(0)))
