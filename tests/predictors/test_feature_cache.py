import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ppuda_like.errors import DataError
from ppuda_like.predictors import _feature_cache
from ppuda_like.predictors._feature_cache import CacheFacts, FeatureCache

FACTS = CacheFacts(kind="sizes", source="counting", identity="a" * 64, columns=("nodes", "edges"))


def key(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "cache.h5"


def test_rows_come_back(path):
    cache = FeatureCache(path, FACTS)
    assert cache.read() == {}
    cache.add({})
    assert not path.exists()
    cache.add({key(2): [1.5, 2], key(1): np.array([1 / 3, -4])})
    cache.add({key(2): [0, 7]})
    found = FeatureCache(path).read()
    assert {number: row.tolist() for number, row in found.items()} == {key(1): [1 / 3, -4.0], key(2): [0.0, 7.0]}
    assert FeatureCache(path).facts == FACTS


def test_equal_rows_make_equal_files(tmp_path):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, order in zip(paths, (range(5), reversed(range(5))), strict=True):
        for number in order:
            FeatureCache(path, FACTS).add({key(number): [number, 1]})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_writers_at_the_same_time_lose_nothing(path):
    def write(number: int) -> None:
        FeatureCache(path, FACTS).add({key(number): [number, -number]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert FeatureCache(path).read().keys() == {key(number) for number in range(40)}


def test_a_failed_write_changes_nothing(path, monkeypatch):
    cache = FeatureCache(path, FACTS)
    cache.add({key(1): [1, 1]})
    before = path.read_bytes()

    class Full(_feature_cache.Output):
        def check(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_feature_cache, "Output", Full)
    with pytest.raises(DataError, match=r"cannot write .*No space left"):
        cache.add({key(2): [2, 2]})
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == [".cache.h5.lock", "cache.h5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"identity": "b" * 64, "source": "guessing"},
            r"counting \[a{12}\], not sizes of guessing \[b{12}\]; keep these",
        ),
        ({"columns": ("nodes", "depth")}, r"\(nodes, edges\), not .* \(nodes, depth\); keep these in a file"),
    ],
)
def test_rows_of_something_else_are_refused(path, change, message):
    FeatureCache(path, FACTS).add({key(1): [1, 1]})
    with pytest.raises(DataError, match=message):
        FeatureCache(path, replace(FACTS, **change))


def test_a_file_that_was_replaced_by_another_is_refused(path):
    cache = FeatureCache(path, FACTS)
    FeatureCache(path, replace(FACTS, identity="b" * 64)).add({key(1): [1, 1]})
    with pytest.raises(DataError, match="holds sizes of counting"):
        cache.add({key(1): [2, 2]})


def test_bad_files_are_named(path):
    with pytest.raises(DataError, match="there is no file"):
        FeatureCache(path)
    path.parent.mkdir()
    path.write_text("no HDF5")
    with pytest.raises(DataError, match="is no HDF5 file, or damaged"):
        FeatureCache(path, FACTS)
    path.unlink()
    with h5py.File(path, "w"):
        pass
    with pytest.raises(DataError, match="holds no features of graphs"):
        FeatureCache(path)
    path.unlink()
    FeatureCache(path, FACTS).add({key(1): [1, 1]})
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(DataError, match="has format version 2"):
        FeatureCache(path)


def test_damage_is_found(path):
    FeatureCache(path, FACTS).add({key(number): [number, number] for number in range(50)})
    data = bytearray(path.read_bytes())
    place = data.index(np.array([17.0, 17.0]).tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        FeatureCache(path).read()
