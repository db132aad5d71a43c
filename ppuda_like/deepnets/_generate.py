"""Making a dataset of networks: in parallel, interruptible, the same bytes however it is made."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import filelock
import numpy as np
import torch
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like.deepnets._columns import Columns
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._record import draw_record
from ppuda_like.deepnets._sampler import GENERATOR
from ppuda_like.deepnets._split import SPLITS
from ppuda_like.deepnets._store import VERSION, SplitFacts, open_store, split_facts, split_group, write_split
from ppuda_like.errors import DataError

__all__ = ["Generated", "generate", "locked_parts", "start_worker"]

SHARD = 100
"""Networks that are drawn in one go, and lost at most for each worker when a run is killed."""

_WINDOW = 64  # shards that are under way at the same time
_MANIFEST = "manifest.json"
_LARGEST_SEED = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a call of :func:`generate` came to.

    Attributes:
        path: the store.
        split: the split that was added.
        num_nets: networks in it.
        duplicates: networks that were passed over, their graph having been seen.
        resumed: networks that an earlier call had left, or all if there was nothing to do.
    """

    path: Path
    split: str
    num_nets: int
    duplicates: int
    resumed: int


@dataclass(frozen=True)
class _Run:
    """All that the bytes of a split depend on."""

    split: str
    num_nets: int
    seed: int
    deduplicate: bool
    shard: int
    generator: int = GENERATOR
    version: int = VERSION


def generate(
    split: str,
    num_nets: int,
    path: str | os.PathLike[str],
    *,
    seed: int | None = None,
    executor: Executor | None = None,
    resume: bool = True,
    deduplicate: bool = False,
    progress: bool | None = None,
) -> Generated:
    """Draw networks 0, 1, ... of a split and write them, their graphs and figures to a store.

    A network depends on the split, the seed and its number alone, so that any executor writes the same bytes.  A store
    may hold several splits; each call adds one.  While it runs, what is done is kept in the folder ``<path>.parts``; if
    it is interrupted or killed, the same call goes on from there.  The store appears under its name complete, or stays
    as it was.

    Args:
        split: one of :data:`SPLITS` whose networks are drawn at random.
        num_nets: how many.
        path: the store, a new or an existing one.
        seed: of the random streams; None for that of the split.
        executor: where the work is done: anything that is an ``Executor``, a Dask client's too; None for one process
            per core of this machine.
        resume: go on with what an earlier call left, and accept a split that is there already; otherwise start anew
            and replace it.
        deduplicate: pass networks over whose graph equals that of an earlier one, by :func:`structure_hash`, and count
            them; networks then have gaps in their numbers.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        What has been done.

    Raises:
        NetworkError: if the split is unknown, its networks are not drawn at random, or a number is out of range.
        DataError: if the store holds another version of the split or is damaged, the folder of parts belongs to another
            run, another process is at work on the same path, a worker died, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate("test", 20, Path(folder) / "nets.h5").num_nets
        20
    """
    drawn = SPLITS[split]
    seed = drawn.seed if seed is None else seed
    if split == "predefined":
        raise NetworkError("the networks of split 'predefined' are not drawn at random; see 'sample_network'")
    if num_nets < 1:
        raise NetworkError(f"'num_nets' must be positive (got {num_nets})")
    if not 0 <= seed <= _LARGEST_SEED:
        raise NetworkError(f"'seed' must be in 0..{_LARGEST_SEED} (got {seed})")
    path = Path(path)
    run = _Run(split, num_nets, seed, deduplicate, SHARD)
    with ExitStack() as stack:
        parts = stack.enter_context(locked_parts(path))
        duplicates = _present(path, run, resume)
        if duplicates is not None:
            if _manifest(parts) == asdict(run):
                _discard(parts)
            return Generated(path=path, split=split, num_nets=num_nets, duplicates=duplicates, resumed=num_nets)
        shards = _Shards(parts, run, resume)
        disable = None if progress is None else not progress
        bar = stack.enter_context(tqdm(total=num_nets, desc=f"generate {split}", unit="net", disable=disable))
        if executor is None:
            executor = stack.enter_context(ProcessPoolExecutor(initializer=start_worker))
        kept, duplicates, resumed = _draw(shards, executor, bar.update)
        facts = SplitFacts(
            split=split,
            seed=seed,
            generator=GENERATOR,
            deduplicated=deduplicate,
            duplicates=duplicates,
            source="generated",
        )
        write_split(path, (shards.read(number).select(mask) for number, mask in enumerate(kept)), facts, scratch=parts)
        _discard(parts)
    return Generated(path=path, split=split, num_nets=num_nets, duplicates=duplicates, resumed=resumed)


@contextmanager
def locked_parts(path: Path) -> Iterator[Path]:
    """The folder for the parts of a store, for this run alone; removed on leaving if there is no manifest in it.

    Raises:
        DataError: if another run has it, or it cannot be made.
    """
    parts = path.with_name(path.name + ".parts")
    lock = filelock.FileLock(parts / "lock", timeout=0)
    with _writing(parts):
        parts.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise DataError(f"another process is writing '{path}'; wait for it, or choose another path") from error
    try:
        yield parts
    finally:
        if not (parts / _MANIFEST).exists():
            shutil.rmtree(parts, ignore_errors=True)
        lock.release()


def _manifest(parts: Path) -> dict[str, object] | None:
    """What the run is whose parts are in a folder; None if there is none.

    Raises:
        DataError: if it is damaged.
    """
    path = parts / _MANIFEST
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise DataError(f"'{path}' is damaged; delete the folder, or start anew without 'resume'") from error


def _discard(parts: Path) -> None:
    """Give the parts in a folder up; without a manifest they count for nothing, whenever they are removed."""
    (parts / _MANIFEST).unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to '{folder}': {error.strerror or error}; what is done is kept, run again to go on"
        ) from error


class _Shards:
    """The shards of a run, in a folder.

    Raises:
        DataError: if the folder belongs to another run, or cannot be written to.
    """

    def __init__(self, folder: Path, run: _Run, resume: bool) -> None:
        self.folder = folder
        self.run = run
        self._attempt = uuid.uuid4().hex
        wanted = asdict(run)
        with _writing(folder):
            if not resume:
                _discard(folder)
            found = _manifest(folder)
            if found is None:
                for old in folder.glob("*.shard"):
                    old.unlink()
                with replacing(folder / _MANIFEST) as temporary:
                    temporary.write_text(json.dumps(wanted, indent=2) + "\n")
            elif found != wanted:
                raise DataError(
                    f"'{folder}' holds the parts of another run ({_differences(found, wanted)}); finish that one, or "
                    "delete the folder, or start anew without 'resume'"
                )
            for unfinished in folder.glob(".*"):  # left by a run that was killed
                unfinished.unlink()

    def path(self, number: int) -> Path:
        return self.folder / f"{number:09d}.shard"

    def read(self, number: int) -> Columns:
        """A shard.

        Raises:
            DataError: if it is damaged, or cannot be read.
        """
        path = self.path(number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read '{path}': {error.strerror or error}; run again to draw it anew") from error
        return Columns.from_bytes(data)

    def find(self, number: int) -> Columns | None:
        """A shard, or None if it is yet to be drawn; a damaged one counts for nothing."""
        if not self.path(number).exists():
            return None
        try:
            return self.read(number)
        except DataError:
            return None

    def write(self, number: int, data: bytes) -> None:
        with _writing(self.folder), replacing(self.path(number)) as temporary:
            temporary.write_bytes(data)

    def submit(self, executor: Executor, number: int) -> Future[bytes]:
        start = number * self.run.shard
        return executor.submit(draw_shard, self.run.split, self.run.seed, start, start + self.run.shard, self._attempt)


def draw_shard(split: str, seed: int, start: int, stop: int, attempt: str = "") -> bytes:
    """Networks ``start`` to ``stop - 1`` of a split, as :meth:`Columns.to_bytes` gives them; runs in workers.

    ``attempt`` is to tell the tasks of two runs apart: Dask gives the outcome of an equal task again, be it a failure.
    """
    return Columns.pack([draw_record(split, index, seed) for index in range(start, stop)]).to_bytes()


def _draw(shards: _Shards, executor: Executor, update: Callable[[int], object]) -> tuple[list[np.ndarray], int, int]:
    """Have shards drawn until there are enough networks.

    Returns:
        Which networks of each shard are kept, how many duplicates were passed over, and how many of the networks were
        there already.

    Raises:
        DataError: if a worker died.
    """
    run = shards.run
    kept: list[np.ndarray] = []
    seen: set[int] = set()
    missing, duplicates, resumed = run.num_nets, 0, 0
    ahead: deque[Columns | Future[bytes]] = deque()
    numbers = count()
    try:
        while missing:
            while len(ahead) < min(_WINDOW, -(-missing // run.shard)):
                number = next(numbers)
                there = shards.find(number)
                ahead.append(shards.submit(executor, number) if there is None else there)
            found = ahead.popleft()
            if isinstance(found, Future):
                data = found.result()
                shards.write(len(kept), data)
                columns = Columns.from_bytes(data)
            else:
                columns = found
            mask = np.zeros(len(columns), dtype=bool)
            for place, value in enumerate(columns.table["structure_hash"].tolist()):
                if run.deduplicate and value in seen:
                    duplicates += 1
                    continue
                seen.add(value)
                mask[place] = True
                missing -= 1
                if not missing:
                    break
            kept.append(mask)
            new = int(mask.sum())
            update(new)
            resumed += new if columns is found else 0
    except _losses() as error:
        raise DataError(
            f"shard {len(kept)} was lost: a worker died (killed, or out of memory), or the executor was shut down; "
            f"what is done is kept in '{shards.folder}', run again to go on"
        ) from error
    finally:
        for pending in ahead:
            if isinstance(pending, Future):
                pending.cancel()
    return kept, duplicates, resumed


def _losses() -> tuple[type[BaseException], ...]:
    """What executors raise for work that no worker finished."""
    distributed = sys.modules.get("distributed")  # an executor of Dask has imported it
    dask = () if distributed is None else (distributed.KilledWorker, distributed.CancelledError)
    return (BrokenExecutor, CancelledError, *dask)


def _present(path: Path, run: _Run, resume: bool) -> int | None:
    """Duplicates passed over in a store that holds the split of this run already; None if it is to be written.

    Raises:
        DataError: if there is a file that is no store, or holds another version of the split.
    """
    if not path.exists():
        return None
    with open_store(path) as file:
        if not resume or run.split not in file:
            return None
        group = split_group(file, run.split)
        facts = split_facts(group)
        found = _Run(run.split, len(group["table/index"]), facts.seed, facts.deduplicated, run.shard, facts.generator)
    if found != run:
        raise DataError(
            f"'{path}' holds another version of split '{run.split}' ({_differences(asdict(found), asdict(run))}); "
            "choose another path, or replace it without 'resume'"
        )
    return facts.duplicates


def _differences(found: dict[str, object], wanted: dict[str, object]) -> str:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key} {found.get(key)}, not {wanted.get(key)}" for key in keys)


def start_worker() -> None:
    """Make a process of a pool compute on one thread, and end when the process that started it does."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A worker would otherwise wait for ever for the work of a process that was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
