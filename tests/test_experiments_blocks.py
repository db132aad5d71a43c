import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.experiment_modules import experiment


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return experiment("blocks")


def test_a_trial_makes_tables_and_pictures_and_is_not_run_again(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.main(stages=("digits", "async"), out=tmp_path, smoke=True)
    for name in ("digits", "async"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = [json.loads(line) for line in (tmp_path / "digits.jsonl").read_text().splitlines()]
    assert [one["way"] for one in found] == [way.name for way in run.recipes.WAYS]
    steps = {one["way"]: one["steps"] for one in found}
    assert steps.pop("sequential: uniform cuts, mlp-sr") == 2 * 2  # as many for each block
    assert set(steps.values()) == {2}
    table = (tmp_path / "digits.md").read_text()
    assert all(f"| {way.name} |" in table for way in run.recipes.WAYS)
    assert "| in sync |" in (tmp_path / "async.md").read_text()

    for name in ("train_blocks", "search_blocks"):
        monkeypatch.setattr(run, name, None)
    run.main(stages=("digits", "async"), out=tmp_path, smoke=True)
    assert (tmp_path / "digits.md").read_text() == table


def test_published_table(run: ModuleType) -> None:
    rows = run.published.decode_table(run.published.load(run.FIXTURES))
    assert len(rows) == 2 + 4 * 5
    assert "| VGG-19 | 4 | 5, 12, 13 | 6, 7, 1, 2 | 4, 1, 1 | 0.0074 | 3, 7, 11 |" in rows
    noise = [tuple(row.split(" | ")[:2]) for row in rows if "noise" in row]
    assert noise == [("| ResNet-50", "8"), ("| ResNet-101", "8"), ("| ResNet-152", "4"), ("| ResNet-152", "8")]


def test_means_and_deviations_over_seeds(run: ModuleType) -> None:
    way, task = run.recipes.WAYS[4], run.recipes.DIGITS
    record = {"way": way.name, "blocks": 2, "of_blocks": [0.5, 0.9], "ensemble": 0.9, "steps": 7, "cpu_seconds": 2.0}
    record |= {"ideal_speedup": 1.5, "overhead": 0.01}
    [*_, row] = run.figures.comparison_table([record | {"top1": top1} for top1 in (0.8, 0.9)], run.recipes.WAYS, task)
    assert "| 2 | 85.00 ± 7.07 | 90.00 ± 0.00 | 50.00 ± 0.00 | 1.50 | 1.0 | 7 | 2 | 2 |" in row


def test_paces_are_slow_downs(run: ModuleType) -> None:
    assert run.recipes.Pace(size=3).replay.paces(3) == (1.0, 1.0, 1.0)
    assert run.recipes.Pace(size=3, slow_down=2.5).replay.paces(3) == pytest.approx((1.0, 0.4, 1.0))
    found = [(pace.size, pace.slow_down) for pace in run.recipes.Study(sizes=(1, 5), slow_downs=(1, 2), size=5).paces()]
    assert found == [(1, 1.0), (5, 1.0), (1, 2), (5, 2)]
