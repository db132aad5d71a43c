import json
from pathlib import Path

import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.search.dna import Cell, CellRatings, Ratings, Space, cifar_space, import_published, mobile_operations

SPACE = cifar_space(depths=(1, 2, 1, 1))
RNG = np.random.default_rng(0)


def cell(stage: int = 1, space: Space = SPACE, **kwargs: object) -> CellRatings:
    paths = space.stages[stage].cells[0].num_paths
    values: dict[str, object] = {
        "measures": {"relative_l1": RNG.uniform(size=paths), "mse": RNG.uniform(size=paths)},
        "standard_errors": {"mse": RNG.uniform(size=paths)},
        "meta": {"images": 512, "teacher": "resnet18"},
    }
    return CellRatings(space=space, stage=stage, **{**values, **kwargs})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    before = cell()
    path = tmp_path / f"ratings{suffix}"
    before.save(path)
    after = CellRatings.load(path, SPACE)
    assert (after.stage, after.cell, dict(after.meta)) == (1, 0, dict(before.meta))
    for key in ("measures", "standard_errors"):
        kept, found = getattr(before, key), getattr(after, key)
        assert kept.keys() == found.keys()
        assert all(np.array_equal(kept[name], found[name]) for name in kept)


@pytest.mark.parametrize(
    "bad", [np.zeros(16), np.full(16, np.nan), np.full(16, np.inf), np.full(16, -1.0), np.ones(15)]
)
def test_bad_values_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="stage 1, cell 0 of 'dna-cifar'"):
        cell(measures={"relative_l1": bad})


def test_values_cannot_be_changed() -> None:
    values = np.ones(16)
    found = cell(measures={"mse": values})
    values[0] = np.nan
    assert np.isfinite(found.measures["mse"]).all()
    with pytest.raises(ValueError, match="read-only"):
        found.measures["mse"][0] = 0


def test_bad_cells() -> None:
    for arguments, match in (
        ({"stage": 4}, "no stage 4"),
        ({"cell": 1}, "with a cell 1"),
        ({"measures": {}, "standard_errors": {}}, "has no measure"),
        ({"standard_errors": {"l1": np.ones(16)}}, r"standard errors of \['l1'\]"),
    ):
        with pytest.raises(DataError, match=match):
            CellRatings(**{"space": SPACE, "stage": 1, "measures": {"mse": np.ones(16)}, **arguments})  # type: ignore[arg-type]


def test_ratings_of_another_space_are_refused(tmp_path: Path) -> None:
    cell().save(tmp_path / "one.npz")
    others = {
        "depth 2, not 3": cifar_space(depths=(1, 3, 1, 1)),
        "operations": cifar_space(depths=(1, 2, 1, 1), operations=mobile_operations((3, 7))),
        "width 24, not 48": SPACE.with_cells(1, [Cell(depth=2, width=48, operations=mobile_operations((3, 5)))]),
    }
    for difference, space in others.items():
        with pytest.raises(DataError, match=f"of another space: .*{difference}"):
            CellRatings.load(tmp_path / "one.npz", space)
    # the choice of another stage does not matter
    assert CellRatings.load(tmp_path / "one.npz", cifar_space(depths=(3, 2, 1, 1))).stage == 1


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "ratings.json"
    cell().save(path)
    good = json.loads(path.read_text())
    short = {**good["arrays"], "measure:mse": [1.0]}
    text = {**good["arrays"], "measure:mse": ["x"] * 16}
    for values, match in (
        ({**good, "format": "other"}, "holds no ratings"),
        ({**good, "version": 2}, "version 2"),
        ({**good, "identity": None}, "does not say what was rated"),
        ({**good, "identity": {"stage": 9}}, "rates stage 9"),
        ({**good, "arrays": {"other": [1.0]}}, "which is no measure"),
        ({**good, "arrays": short}, "must have one value for each of 16 paths"),
        ({**good, "arrays": text}, "could not convert"),
        ([], "an object was expected"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(DataError, match=match):
            CellRatings.load(path, SPACE)
    path.write_text("{")
    with pytest.raises(DataError, match="damaged"):
        CellRatings.load(path, SPACE)
    with pytest.raises(DataError, match="cannot read"):
        CellRatings.load(tmp_path / "missing.npz", SPACE)
    with pytest.raises(DataError, match=r"\.npz or \.json"):
        cell().save(tmp_path / "ratings.txt")
    whole = tmp_path / "ratings.npz"
    cell().save(whole)
    content = whole.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes(byte ^ 255 for byte in content[middle : middle + 8]) + content[middle + 8 :]
    for cut in (b"", content[:100], content[:middle], b"nonsense", flipped):
        whole.write_bytes(cut)
        with pytest.raises(DataError, match="damaged"):
            CellRatings.load(whole, SPACE)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "ratings.npz"
    np.savez(path, head=np.array({"format": "x"}, dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        CellRatings.load(path, SPACE)


def test_ratings_of_a_space(tmp_path: Path) -> None:
    cells = [cell(stage) for stage in (2, 0, 3, 1)]
    ratings = Ratings(space=SPACE, cells=tuple(cells), measure="mse")
    ratings.save(tmp_path)
    after = Ratings.load(tmp_path, SPACE, "mse")
    for stage in range(4):
        assert np.array_equal(after.values(stage), ratings.values(stage))
        assert np.array_equal(after.errors(stage), ratings.errors(stage))
    with pytest.raises(DataError, match="not known for stage 0"):
        Ratings.load(tmp_path, SPACE).errors(0)
    (tmp_path / "stage2-cell0.npz").unlink()
    with pytest.raises(DataError, match="missing for stage 2, cell 0; rate these first"):
        Ratings.load(tmp_path, SPACE)
    with pytest.raises(DataError, match="there are no ratings"):
        Ratings.load(tmp_path / "empty", SPACE)


def test_bad_collections() -> None:
    cells = tuple(cell(stage) for stage in range(4))
    with pytest.raises(DataError, match="rated twice"):
        Ratings(space=SPACE, cells=(*cells, cell(0)))
    with pytest.raises(DataError, match=r"not rated by 'l1', only by \['mse', 'relative_l1'\]"):
        Ratings(space=SPACE, cells=cells, measure="l1")
    with pytest.raises(DataError, match="in another space"):
        Ratings(space=cifar_space(), cells=cells)
    with pytest.raises(DataError, match="one value for each path"):
        Ratings.from_arrays(SPACE, [np.ones(4)] * 4)


def test_cells_of_a_stage_are_numbered_through() -> None:
    operations = mobile_operations((3, 5))
    space = SPACE.with_cells(0, [Cell(depth=depth, width=16, operations=operations) for depth in (2, 1)])
    values = [RNG.uniform(size=paths) for paths in space.num_paths]
    ratings = Ratings.from_arrays(space, values, [0.1 * found for found in values])
    assert [(found.stage, found.cell) for found in ratings.cells][:3] == [(0, 0), (0, 1), (1, 0)]
    for stage in range(4):
        assert np.array_equal(ratings.values(stage), values[stage])
        assert np.array_equal(ratings.errors(stage), 0.1 * values[stage])
    assert np.array_equal(ratings.cells[1].measures["relative_l1"], values[0][16:])


def published_file(path: Path, **lists: list[float] | str) -> Path:
    """A file as the published program writes it."""
    lines = []
    for name, values in lists.items():
        lines += [f"{name}: {values}"] if isinstance(values, str) else [f"{name}:", *(f"- {value}" for value in values)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_published_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = RNG.uniform(size=16).tolist()
    path = published_file(
        tmp_path / "potential-1.yaml",
        cl_loss=values,
        gr_loss=[1e-7] * 16,
        loss=[2] * 16,
        prec1=[0] * 16,
        rela_loss=[0.0] * 16,
        top_index=list(range(16)),
    )
    found = import_published(path, SPACE, 1)
    assert found.measures["relative_l1"].tolist() == values
    assert found.measures.keys() == {"relative_l1", "l1_over_mean", "mse"}
    assert "'relative_mse' is 0 for every path" in caplog.text
    with pytest.raises(DataError, match="each of 64 paths"):
        import_published(path, cifar_space(), 1)
    with pytest.raises(DataError, match="not rated by 'top1'"):
        import_published(path, SPACE, 1, measure="top1")


def test_files_of_runs_in_a_single_process_are_refused(tmp_path: Path) -> None:
    path = published_file(tmp_path / "p.yaml", cl_loss=[0.0] * 16, loss=[0.5] * 16)
    with pytest.raises(DataError, match=r"0 for every path.*outside of distributed mode"):
        import_published(path, SPACE, 1)
    assert import_published(path, SPACE, 1, measure="mse").measures.keys() == {"mse"}


@pytest.mark.parametrize(
    "line",
    [
        "- !!python/object/apply:os.system [ls]",
        "x: !!python/tuple [1]",
        "- nonsense",
        "- 1 # comment",
        "- [1]",
        "cl_loss: 3",
        "- &a 1",
        "- *a",
        "---",
        "cl_loss:",
        "- 1_000",
        "- '1'",
    ],
)
def test_only_lists_of_numbers_are_read(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("cl_loss:\n- 0.5\n" + line + "\n")
    with pytest.raises(DataError, match=r"line 3: .*only lists of numbers"):
        import_published(path, SPACE, 1)


def test_published_values_must_be_finite(tmp_path: Path) -> None:
    for bad in (".nan", ".inf", "-.inf", "-1.0e-05"):
        path = published_file(tmp_path / "p.yaml", loss=[1.0] * 16, cl_loss=[0.5] * 15 + [bad])  # type: ignore[list-item]
        with pytest.raises(DataError, match="finite and not negative"):
            import_published(path, SPACE, 1)
    with pytest.raises(DataError, match="cannot read"):
        import_published(tmp_path / "missing.yaml", SPACE, 1)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no list of numbers"):
        import_published(tmp_path / "binary.yaml", SPACE, 1)
