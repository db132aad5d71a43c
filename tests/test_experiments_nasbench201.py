import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS, cell_graph


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "experiments" / "property_prediction")
        return importlib.import_module("nasbench201")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells drawn at random, whose accuracy is the number of convolutions."""
    path = tmp_path_factory.mktemp("cells") / "cells.npz"
    codes = np.random.default_rng(0).integers(5, size=(120, 6), dtype=np.uint8)
    np.savez(
        path,
        codes=codes,
        code_names=[f"e{target}<{source}" for source, target in NASBENCH201_EDGES],
        op_names=NASBENCH201_OPS,
        metrics=np.isin(codes, (3, 4)).sum(axis=1, dtype=float)[:, None],
        metric_names=["Acc"],
    )
    return path


def test_the_table(script: ModuleType, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.main(table, out=tmp_path, smoke=True)
    found = json.loads((tmp_path / "nasbench201.json").read_text())
    taus = {row["predictor"]: row["runs"][0]["tau"] for row in found["results"]}
    assert taus.keys() == {"one-hot, SVR", "graph features, forest", "GNN", "GNN, cells as written"}
    assert all(0.2 < tau <= 1 for tau in taus.values())
    shown = capsys.readouterr().out
    assert all(f"| {name} | 40 | {tau:.4f} |" in shown for name, tau in taus.items())


def test_it_goes_on_where_it_was_stopped(
    script: ModuleType, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def measure(entry: Any, X: Any, y: Any, cells: int, seed: int, smoke: bool) -> dict[str, Any]:
        if seed == 1 and len(measured) == 1:
            raise KeyboardInterrupt
        measured.append(seed)
        return {"tau": seed / 10, "fit_seconds": 0.0, "fit_cpu_seconds": 0.0}

    monkeypatch.setattr(script, "measure", measure)
    settings: dict[str, Any] = {"cells": (20,), "seeds": (0, 1), "predictors": ("one-hot, SVR",), "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        script.main(table, **settings)
    measured.append(-1)
    script.main(table, **settings)
    assert measured == [0, -1, 1]


def test_cells_as_written(script: ModuleType) -> None:
    code = [3, 1, 2, 4, 0, 2]
    written = script.plain_graph(code)
    assert sorted(written.ops) == sorted(
        ["input", "sum", "sum", "sum", "output", *(NASBENCH201_OPS[op] for op in code)]
    )
    assert written.num_params == cell_graph(code).num_params
    assert written.macs == cell_graph(code).macs
