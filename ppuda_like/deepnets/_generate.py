"""Making a dataset of networks: in parallel, interruptible, the same bytes however it is made."""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
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
from ppuda_like.deepnets._store import SplitFacts, open_store, split_facts, write_split
from ppuda_like.errors import DataError

__all__ = ["Generated", "generate"]

SHARD = 100
"""Networks that are drawn in one go, and lost at most for each worker when a run is killed."""

_WINDOW = 64  # shards that are under way at the same time
_MANIFEST = "manifest.json"


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
    generator: int = GENERATOR
    shard: int = SHARD


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
        NetworkError: if the split is unknown, or its networks are not drawn at random.
        DataError: if the store holds another version of the split, the folder of parts belongs to another run, another
            process is at work on the same path, a worker died, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate("test", 20, Path(folder) / "nets.h5").num_nets
        20
    """
    drawn = SPLITS[split]
    if split == "predefined":
        raise NetworkError("the networks of split 'predefined' are not drawn at random; see 'sample_network'")
    if num_nets < 1:
        raise NetworkError(f"'num_nets' must be positive (got {num_nets})")
    path = Path(path)
    run = _Run(split, num_nets, drawn.seed if seed is None else seed, deduplicate)
    parts = path.with_name(path.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(parts / "lock", timeout=0))
        except filelock.Timeout as error:
            raise DataError(f"another process is writing '{path}'; wait for it, or choose another path") from error
        if resume:
            duplicates = _present(path, run)
            if duplicates is not None:
                shutil.rmtree(parts)
                return Generated(path=path, split=split, num_nets=num_nets, duplicates=duplicates, resumed=num_nets)
        shards = _Shards(parts, run, resume)
        bar = stack.enter_context(
            tqdm(
                total=num_nets, desc=f"generate {split}", unit="net", disable=None if progress is None else not progress
            )
        )
        if executor is None:
            executor = stack.enter_context(ProcessPoolExecutor(initializer=_start_worker))
        kept, duplicates = _draw(shards, executor, bar.update)
        facts = SplitFacts(
            split=split,
            seed=run.seed,
            generator=GENERATOR,
            deduplicated=deduplicate,
            duplicates=duplicates,
            source="generated",
        )
        write_split(path, (shards.read(number).select(mask) for number, mask in enumerate(kept)), facts)
        shutil.rmtree(parts)
    return Generated(
        path=path, split=split, num_nets=num_nets, duplicates=duplicates, resumed=min(num_nets, shards.resumed * SHARD)
    )


class _Shards:
    """The shards of a run, in a folder.

    Raises:
        DataError: if the folder belongs to another run.
    """

    def __init__(self, folder: Path, run: _Run, resume: bool) -> None:
        self.folder = folder
        self.run = run
        manifest = folder / _MANIFEST
        wanted = asdict(run)
        if not resume:
            for old in [manifest, *folder.glob("*.npz")]:
                old.unlink(missing_ok=True)
        if manifest.exists():
            found = json.loads(manifest.read_text())
            if found != wanted:
                raise DataError(
                    f"'{folder}' holds the parts of another run ({_differences(found, wanted)}); finish that one, or "
                    "delete the folder, or start anew without 'resume'"
                )
        else:
            with replacing(manifest) as temporary:
                temporary.write_text(json.dumps(wanted, indent=2) + "\n")
        self.resumed = len(list(folder.glob("[0-9]*.npz")))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:09d}.npz"

    def read(self, number: int) -> Columns:
        """A shard.

        Raises:
            DataError: if it is damaged.
        """
        return Columns.from_bytes(self.path(number).read_bytes())

    def find(self, number: int) -> Columns | None:
        """A shard, or None if it is yet to be drawn; a damaged one is removed."""
        path = self.path(number)
        if not path.exists():
            return None
        try:
            return self.read(number)
        except DataError:
            path.unlink()
            return None

    def write(self, number: int, data: bytes) -> None:
        try:
            with replacing(self.path(number)) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise DataError(
                f"cannot write to '{self.folder}': {error.strerror}; what is done is kept, run again to go on"
            ) from error

    def submit(self, executor: Executor, number: int) -> Future[bytes]:
        return executor.submit(draw_shard, self.run.split, self.run.seed, number * SHARD, (number + 1) * SHARD)


def draw_shard(split: str, seed: int, start: int, stop: int) -> bytes:
    """Networks ``start`` to ``stop - 1`` of a split, as :meth:`Columns.to_bytes` gives them; runs in workers."""
    return Columns.pack([draw_record(split, index, seed) for index in range(start, stop)]).to_bytes()


def _draw(shards: _Shards, executor: Executor, update: Callable[[int], object]) -> tuple[list[np.ndarray], int]:
    """Have all shards drawn; which networks of each are kept, and how many duplicates were passed over."""
    run = shards.run
    kept: list[np.ndarray] = []
    seen: set[int] = set()
    missing, duplicates = run.num_nets, 0
    found = _in_order(shards, executor)
    try:
        while missing:
            hashes = next(found).table["structure_hash"].tolist()
            mask = np.zeros(len(hashes), dtype=bool)
            for place, value in enumerate(hashes):
                if run.deduplicate and value in seen:
                    duplicates += 1
                    continue
                seen.add(value)
                mask[place] = True
                missing -= 1
                if not missing:
                    break
            kept.append(mask)
            update(int(mask.sum()))
    finally:
        found.close()
    return kept, duplicates


def _in_order(shards: _Shards, executor: Executor) -> Generator[Columns, None, None]:
    """All shards one after the other, drawn ahead where they are not there; endless where duplicates leave gaps."""
    run = shards.run
    last = None if run.deduplicate else -(-run.num_nets // SHARD)
    ahead: deque[tuple[int, Columns | Future[bytes]]] = deque()
    numbers = count() if last is None else iter(range(last))
    try:
        while True:
            while len(ahead) < _WINDOW and (number := next(numbers, None)) is not None:
                ahead.append((number, shards.find(number) or shards.submit(executor, number)))
            if not ahead:
                return
            number, found = ahead.popleft()
            if isinstance(found, Future):
                try:
                    data = found.result()
                except BrokenExecutor as error:
                    raise DataError(
                        f"a worker died while drawing shard {number} (killed, or out of memory); what is done is kept "
                        f"in '{shards.folder}', run again to go on"
                    ) from error
                shards.write(number, data)
                found = Columns.from_bytes(data)
            yield found
    finally:
        for _, pending in ahead:
            if isinstance(pending, Future):
                pending.cancel()


def _present(path: Path, run: _Run) -> int | None:
    """Duplicates passed over in a store that holds the split of this run already; None if it does not."""
    if not path.exists():
        return None
    with open_store(path) as file:
        if run.split not in file:
            return None
        group = file[run.split]
        facts = split_facts(group)
        found = _Run(
            run.split, len(group["table/index"]), facts.seed, facts.deduplicated, facts.generator, shard=run.shard
        )
    if found != run:
        raise DataError(
            f"'{path}' holds another version of split '{run.split}' ({_differences(asdict(found), asdict(run))}); "
            "choose another path, or replace it without 'resume'"
        )
    return facts.duplicates


def _differences(found: dict[str, object], wanted: dict[str, object]) -> str:
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key} {found.get(key)}, not {wanted.get(key)}" for key in keys)


def _start_worker() -> None:
    torch.set_num_threads(1)
