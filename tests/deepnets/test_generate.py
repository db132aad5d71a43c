import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np
import pytest

from ppuda_like.deepnets import SPLITS, DeepNets, Generated, NetworkError, generate, sample_network
from ppuda_like.deepnets import _generate as module
from ppuda_like.deepnets._record import NetRecord, draw_record
from ppuda_like.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

DRAWN = [split for split in SPLITS if split != "predefined"]
NUM_NETS = 23  # five shards, the last one half full


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", 5)


@pytest.fixture
def one() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "nets.h5"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The store of 23 networks of split test."""
    path = tmp_path_factory.mktemp("undisturbed") / "nets.h5"
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(module, "SHARD", 5)
        assert generate("test", NUM_NETS, path, executor=executor) == Generated(
            path=path, split="test", num_nets=NUM_NETS, duplicates=0, resumed=0
        )
    return path.read_bytes()


class Idle(Executor):
    """There must be nothing to do."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("drawn again")


class Stopping(ThreadPoolExecutor):
    """Fails at a task of some number."""

    def __init__(self, task: int) -> None:
        super().__init__(1)
        self.left = task

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        return super().submit(_stop) if self.left < 0 else super().submit(fn, *args)


class Dying(ProcessPoolExecutor):
    """The worker dies that gets the third task."""

    def __init__(self) -> None:
        super().__init__(1)
        self.left = 3

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        return super().submit(os._exit, 1) if self.left == 0 else super().submit(fn, *args)


def _stop() -> None:
    raise RuntimeError("stopped")


def _interrupt(path: Path, shards: int = 2, split: str = "test", **arguments: Any) -> Path:
    """Have a run fail after some shards; its folder of parts."""
    with Stopping(shards) as executor, pytest.raises(RuntimeError, match="stopped"):
        generate(split, NUM_NETS, path, executor=executor, **arguments)
    parts = path.with_name(path.name + ".parts")
    assert len(list(parts.glob("*.shard"))) == shards
    return parts


def _same(found: NetRecord, wanted: NetRecord) -> bool:
    return all(
        np.array_equal(getattr(found, known.name), getattr(wanted, known.name))
        if isinstance(getattr(wanted, known.name), np.ndarray)
        else getattr(found, known.name) == getattr(wanted, known.name)
        for known in fields(NetRecord)
    )


def _chunks(path: Path, split: str) -> dict[str, Any]:
    """All that a group holds, columns as they are on disk."""
    found: dict[str, Any] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        attributes = dict(item.attrs)
        if isinstance(item, h5py.Dataset):
            places = [item.id.get_chunk_info(i).chunk_offset for i in range(item.id.get_num_chunks())]
            found[name] = (attributes, item.shape, [item.id.read_direct_chunk(place) for place in places])
        else:
            found[name] = attributes

    with h5py.File(path) as file:
        visit(split, file[split])
        file[split].visititems(visit)
    return found


# -- the same bytes however made


@pytest.mark.parametrize("pool", [lambda: ThreadPoolExecutor(3), lambda: ProcessPoolExecutor(2)])
def test_any_executor_gives_the_same_bytes(store: Path, undisturbed: bytes, pool: Callable[[], Executor]) -> None:
    with pool() as executor:
        generate("test", NUM_NETS, store, executor=executor)
    assert store.read_bytes() == undisturbed
    assert os.listdir(store.parent) == [store.name]


def test_makes_an_executor_of_its_own(store: Path, undisturbed: bytes) -> None:
    generate("test", NUM_NETS, store)
    assert store.read_bytes() == undisturbed


@pytest.mark.parametrize("split", DRAWN)
def test_networks_are_those_of_the_random_stream(store: Path, one: Executor, split: str) -> None:
    generate(split, 3, store, executor=one)
    dataset, seed = DeepNets(store, split), SPLITS[split].seed
    assert len(dataset) == 3
    assert dataset.facts.seed == seed
    for i in range(3):
        record = dataset.record(i)
        assert _same(record, draw_record(split, i, seed))
        assert record.config == sample_network(split, i)
        assert record.figures["index"] == i


def test_seed(store: Path, one: Executor) -> None:
    generate("test", 3, store, seed=5, executor=one)
    dataset = DeepNets(store, "test")
    assert dataset.facts.seed == 5
    assert all(_same(dataset.record(i), draw_record("test", i, 5)) for i in range(3))


def test_progress(store: Path, one: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    generate("test", 3, store, executor=one)
    assert capsys.readouterr() == ("", "")
    generate("val", 3, store, executor=one, progress=True)
    assert "generate val" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "predefined"}, "split 'predefined' are not drawn at random; see 'sample_network'"),
        ({"split": "tets"}, r"unknown split 'tets'; did you mean \['test'\]"),
        ({"num_nets": 0}, r"'num_nets' must be positive \(got 0\)"),
        ({"seed": -1}, r"'seed' must be in 0\.\.9223372036854775807 \(got -1\)"),
        ({"seed": 2**63}, r"'seed' must be in 0\.\.9223372036854775807"),
    ],
)
def test_arguments(store: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        generate(**({"split": "test", "num_nets": 5, "path": store, "executor": Idle()} | arguments))
    assert os.listdir(store.parent) == []


# -- several splits


def test_other_splits_stay(store: Path, one: Executor, undisturbed: bytes) -> None:
    generate("val", 12, store, executor=one)
    val = _chunks(store, "val")
    store.write_bytes(undisturbed)
    test = _chunks(store, "test")
    for split in ("val", "bnfree"):
        generate(split, 12, store, executor=one)
    generate("bnfree", 3, store, seed=9, executor=one, resume=False)
    assert _chunks(store, "test") == test
    assert _chunks(store, "val") == val
    with h5py.File(store) as file:
        assert sorted(file) == ["bnfree", "test", "val"]
    assert DeepNets(store, "bnfree").facts.seed == 9
    assert len(DeepNets(store, "bnfree")) == 3


# -- resuming


def test_goes_on_where_it_was(store: Path, one: Executor, undisturbed: bytes) -> None:
    _interrupt(store, 2)
    with Stopping(1) as executor, pytest.raises(RuntimeError, match="stopped"):
        generate("test", NUM_NETS, store, executor=executor)
    assert not store.exists()
    assert generate("test", NUM_NETS, store, executor=one).resumed == 15
    assert store.read_bytes() == undisturbed
    assert os.listdir(store.parent) == [store.name]


def test_assembles_what_is_drawn(store: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("stopped")

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(module, "write_split", fail)
        with pytest.raises(RuntimeError, match="stopped"):
            generate("test", NUM_NETS, store, executor=executor)
    assert generate("test", NUM_NETS, store, executor=Idle()).resumed == NUM_NETS
    assert store.read_bytes() == undisturbed


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        lambda data: bytes(len(data)),
    ],
)
def test_damaged_shard_is_drawn_again(
    store: Path, one: Executor, undisturbed: bytes, damage: Callable[[bytes], bytes]
) -> None:
    shard = _interrupt(store, 3) / "000000001.shard"
    shard.write_bytes(damage(shard.read_bytes()))
    assert generate("test", NUM_NETS, store, executor=one).resumed == 10
    assert store.read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda shard: shard.write_bytes(b"x"), "1 bytes are no columns of networks, or damaged"),
        (lambda shard: shard.unlink(missing_ok=True), r"cannot read '.*\.shard': No such file .*; run again"),
    ],
)
def test_shard_that_is_spoiled_later(
    store: Path, one: Executor, undisturbed: bytes, spoil: Callable[[Path], object], message: str
) -> None:
    shard = _interrupt(store, 3) / "000000000.shard"

    class Spoiling(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            spoil(shard)  # which was found to be sound by now
            return super().submit(fn, *args)

    with Spoiling(1) as executor, pytest.raises(DataError, match=message):
        generate("test", NUM_NETS, store, executor=executor)
    assert not store.exists()
    assert generate("test", NUM_NETS, store, executor=one).resumed == NUM_NETS - 5
    assert store.read_bytes() == undisturbed


def test_parts_of_another_run_are_refused(store: Path, undisturbed: bytes, one: Executor) -> None:
    parts = _interrupt(store, 2, seed=7)
    before = {path.name: path.read_bytes() for path in parts.iterdir()}
    with pytest.raises(DataError, match=r"parts of another run \(seed 7, not 1\); finish that one, or delete"):
        generate("test", NUM_NETS, store, executor=Idle())
    with pytest.raises(DataError, match=r"\(split test, not val, seed 7, not 0\)"):
        generate("val", NUM_NETS, store, executor=Idle())
    assert {path.name: path.read_bytes() for path in parts.iterdir()} == before
    assert generate("test", NUM_NETS, store, executor=one, resume=False).resumed == 0
    assert store.read_bytes() == undisturbed


def test_parts_without_a_manifest_count_for_nothing(store: Path, undisturbed: bytes, one: Executor) -> None:
    # Left where a run was killed while it removed its folder, or while it gave that of another run up.
    (_interrupt(store, 2, seed=7) / "manifest.json").unlink()
    assert generate("test", NUM_NETS, store, executor=one).resumed == 0
    assert store.read_bytes() == undisturbed


@pytest.mark.parametrize("text", ["", "{", "3"])
def test_damaged_manifest(store: Path, undisturbed: bytes, one: Executor, text: str) -> None:
    parts = _interrupt(store, 2)
    (parts / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json' is damaged; delete the folder, or start anew"):
        generate("test", NUM_NETS, store, executor=Idle())
    generate("test", NUM_NETS, store, executor=one, resume=False)
    assert store.read_bytes() == undisturbed


def test_manifest_says_what_the_run_is(store: Path) -> None:
    parts = _interrupt(store, 1, seed=3)
    assert json.loads((parts / "manifest.json").read_text()) == {
        "split": "test",
        "num_nets": NUM_NETS,
        "seed": 3,
        "deduplicate": False,
        "shard": 5,
        "generator": 1,
        "version": 1,
    }


# -- what is there already


def test_complete_split_is_left_alone(store: Path, undisturbed: bytes) -> None:
    store.write_bytes(undisturbed)
    done = generate("test", NUM_NETS, store, executor=Idle())
    assert done == Generated(path=store, split="test", num_nets=NUM_NETS, duplicates=0, resumed=NUM_NETS)
    assert store.read_bytes() == undisturbed
    assert os.listdir(store.parent) == [store.name]


def test_complete_split_leaves_the_parts_of_another(store: Path, undisturbed: bytes, one: Executor) -> None:
    store.write_bytes(undisturbed)
    _interrupt(store, 2, split="val")
    generate("test", NUM_NETS, store, executor=Idle())
    assert generate("val", NUM_NETS, store, executor=one).resumed == 10


def test_parts_of_a_complete_split_are_removed(store: Path, undisturbed: bytes) -> None:
    _interrupt(store, 2)
    store.write_bytes(undisturbed)
    generate("test", NUM_NETS, store, executor=Idle())
    assert os.listdir(store.parent) == [store.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 7}, r"another version of split 'test' \(seed 1, not 7\); choose another path, or replace it"),
        ({"num_nets": 24}, r"\(num_nets 23, not 24\)"),
        ({"deduplicate": True}, r"\(deduplicate False, not True\)"),
    ],
)
def test_another_version_is_kept(store: Path, undisturbed: bytes, arguments: dict[str, Any], message: str) -> None:
    store.write_bytes(undisturbed)
    with pytest.raises(DataError, match=message):
        generate(**({"split": "test", "num_nets": NUM_NETS, "path": store, "executor": Idle()} | arguments))
    assert store.read_bytes() == undisturbed
    assert os.listdir(store.parent) == [store.name]


@pytest.mark.parametrize("resume", [True, False])
def test_file_that_is_no_store_is_kept(store: Path, resume: bool) -> None:
    store.write_text("mine")
    with pytest.raises(DataError, match=r"nets\.h5' is no HDF5 file"):
        generate("test", 5, store, executor=Idle(), resume=resume)
    assert store.read_text() == "mine"
    assert os.listdir(store.parent) == [store.name]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to '.*nets.h5.parts': Not a directory"):
        generate("test", 5, tmp_path / "file" / "nets.h5", executor=Idle())


# -- duplicates


def _draw_twice(split: str, index: int, seed: int) -> NetRecord:
    """Networks 2k and 2k + 1 are the same."""
    drawn = draw_record(split, index // 2, seed)
    return replace(drawn, figures=drawn.figures | {"index": index})


def test_passes_duplicates_over(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_record", _draw_twice)
    pools: list[Callable[[], Executor]] = [
        lambda: ThreadPoolExecutor(1),
        lambda: ThreadPoolExecutor(3),
        lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")),
    ]
    stores = set()
    for pool in pools:
        with pool() as executor:
            done = generate("test", 17, store, executor=executor, deduplicate=True)
        assert (done.num_nets, done.duplicates) == (17, 16)
        stores.add(store.read_bytes())
        assert generate("test", 17, store, executor=Idle(), deduplicate=True).duplicates == 16
        dataset = DeepNets(store, "test")
        assert (dataset.facts.deduplicated, dataset.facts.duplicates) == (True, 16)
        assert dataset.table()["index"].tolist() == list(range(0, 34, 2))
        store.unlink()
    assert len(stores) == 1
    assert len(set(dataset.table()["structure_hash"].tolist())) == 17
    assert all(_same(dataset.record(i), _draw_twice("test", 2 * i, 1)) for i in range(17))


def test_goes_on_with_duplicates(store: Path, monkeypatch: pytest.MonkeyPatch, one: Executor) -> None:
    monkeypatch.setattr(module, "draw_record", _draw_twice)
    generate("test", 25, store, executor=one, deduplicate=True)
    wanted = store.read_bytes()
    store.unlink()
    with Stopping(3) as executor, pytest.raises(RuntimeError, match="stopped"):
        generate("test", 25, store, executor=executor, deduplicate=True)
    with pytest.raises(DataError, match=r"\(deduplicate True, not False\)"):
        generate("test", 25, store, executor=Idle())
    assert generate("test", 25, store, executor=one, deduplicate=True).duplicates == 24
    assert store.read_bytes() == wanted


def test_draws_no_more_than_needed(store: Path, monkeypatch: pytest.MonkeyPatch, one: Executor) -> None:
    drawn = []

    def draw(split: str, index: int, seed: int) -> NetRecord:
        drawn.append(index)
        return draw_record(split, index, seed)

    monkeypatch.setattr(module, "draw_record", draw)
    generate("test", 12, store, executor=one, deduplicate=True)
    assert sorted(drawn) == list(range(15))


def test_keeps_duplicates_otherwise(store: Path, monkeypatch: pytest.MonkeyPatch, one: Executor) -> None:
    monkeypatch.setattr(module, "draw_record", _draw_twice)
    assert generate("test", 5, store, executor=one).duplicates == 0
    assert DeepNets(store, "test").table()["index"].tolist() == [0, 1, 2, 3, 4]


# -- faults of workers


def test_worker_that_dies(store: Path, one: Executor, undisturbed: bytes) -> None:
    with Dying() as executor, pytest.raises(DataError, match=r"shard \d was lost: a worker died.*run again to go on"):
        generate("test", NUM_NETS, store, executor=executor)
    assert not store.exists()
    generate("test", NUM_NETS, store, executor=one)
    assert store.read_bytes() == undisturbed
    assert os.listdir(store.parent) == [store.name]


def test_pool_that_is_broken(store: Path) -> None:
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(os._exit, 1).exception() is not None
        with pytest.raises(DataError, match="shard 0 was lost: a worker died"):
            generate("test", NUM_NETS, store, executor=executor)


def test_work_that_is_cancelled(store: Path, one: Executor, undisturbed: bytes) -> None:
    class Cancelling(Stopping):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.left -= 1
            if self.left >= 0:
                return ThreadPoolExecutor.submit(self, fn, *args)
            lost: Future[Any] = Future()
            lost.cancel()
            return lost

    with Cancelling(2) as executor, pytest.raises(DataError, match=r"shard 2 was lost: .* or the executor was shut"):
        generate("test", NUM_NETS, store, executor=executor)
    assert generate("test", NUM_NETS, store, executor=one).resumed == 10
    assert store.read_bytes() == undisturbed


# -- two runs at once


def test_one_run_at_a_time(store: Path, undisturbed: bytes) -> None:
    started, go = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        go.wait()

    with ThreadPoolExecutor(1) as caller, ThreadPoolExecutor(1) as executor:
        executor.submit(wait)
        first = caller.submit(generate, "test", NUM_NETS, store, executor=executor)
        try:
            started.wait()
            while not (store.parent / "nets.h5.parts" / "manifest.json").exists():
                assert not first.done(), first.result()
            for split in ("test", "val"):
                with pytest.raises(DataError, match=r"another process is writing '.*'; wait for it"):
                    generate(split, NUM_NETS, store, executor=Idle(), resume=False)
        finally:
            go.set()
        assert first.result().num_nets == NUM_NETS
    assert store.read_bytes() == undisturbed


def test_lock_that_is_left_does_no_harm(store: Path, undisturbed: bytes, one: Executor) -> None:
    parts = store.parent / "nets.h5.parts"
    parts.mkdir()
    with filelock.FileLock(parts / "lock"), pytest.raises(DataError, match="another process is writing"):
        generate("test", NUM_NETS, store, executor=Idle())
    assert (parts / "lock").exists()
    generate("test", NUM_NETS, store, executor=one)
    assert store.read_bytes() == undisturbed
