import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from ppuda_like.deepnets import Checked, check, generate
from ppuda_like.errors import DataError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "nets.h5"
    with ThreadPoolExecutor(1) as executor:
        for split in ("test", "wide"):
            generate(split, 12, path, executor=executor)
    return path


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "nets.h5"))


def _check(path: Path, split: str | None = None) -> Checked:
    with ThreadPoolExecutor(1) as executor:
        return check(path, split, executor=executor)


def _change(path: Path, column: str, row: object, value: object, *, honest: bool = True) -> None:
    """Overwrite part of a column of split ``test``; an honest change keeps its checksum up to date."""
    with h5py.File(path, "r+") as file:
        dataset = file["test"][column]
        dataset[row] = value
        if honest:
            dataset.attrs["sha256"] = hashlib.sha256(np.ascontiguousarray(dataset[:].T).tobytes()).hexdigest()


def test_sound_store(store: Path) -> None:
    found = _check(store)
    assert found.problems == ()
    assert found.num_nets == {"test": 12, "wide": 12}


def test_one_split(store: Path) -> None:
    _change(store, "table/depth", 3, 5)
    assert _check(store, "wide").problems == ()


def test_checksum(store: Path) -> None:
    _change(store, "table/depth", 3, 5, honest=False)
    assert [problem for problem in _check(store).problems if "checksum" in problem] == [
        "test: column 'table/depth' is not what its checksum says"
    ]


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("table/depth", 3, 5, "network 3: 'depth' is 5, should be"),
        ("table/ks", 2, 9, "network 2: argument 'ks' is 9, should be"),
        ("table/norm", 2, 77, "network 2: stored network arguments are not valid"),
        ("table/rejected_many_cse", 0, 1000, "network 0: 'rejected_many_cse' is 1000, should be"),
        ("nodes", (0, 40), 1, "'primitive' is not that of its graph"),
        ("nodes", (2, 40), 60_000, "holds number 60000 at place 2"),
        ("nodes", (4, 40), 9, "incoming edges"),
        ("edges", 7, 3, "'edge_index' is not that of its graph"),
        ("genotypes", 1, 200, "network 0: stored bytes are no genotype"),
        ("node_ptr", 3, 0, "'node_ptr' does not divide"),
        ("table/index", 5, 0, "the numbers of networks do not increase"),
    ],
)
def test_each_invariant(store: Path, column: str, row: object, value: object, told: str) -> None:
    _change(store, column, row, value)
    problems = _check(store, "test").problems
    assert any(told in problem for problem in problems), problems


def test_networks_that_were_to_be_distinct(store: Path) -> None:
    with h5py.File(store, "r+") as file:
        file["test"].attrs["deduplicated"] = True
    _change(store, "table/structure_hash", slice(0, 2), 1)
    assert any("share hashes" in problem for problem in _check(store, "test").problems)


def test_no_such_split(store: Path) -> None:
    with pytest.raises(DataError, match="holds no split 'train'; it holds test, wide"):
        _check(store, "train")
