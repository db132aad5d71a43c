"""Checking a store: every invariant of the format, and every network against its arguments."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from ppuda_like.deepnets._columns import EDGES, NODES, RAGGED, TABLE
from ppuda_like.deepnets._dataset import DeepNets
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._generate import start_worker
from ppuda_like.deepnets._record import ARGUMENTS, FIGURES, NetRecord, draw_record, make_record
from ppuda_like.deepnets._sampler import GENERATOR
from ppuda_like.deepnets._store import SplitFacts, open_store, read_column, reading, row_bytes, split_facts, split_group
from ppuda_like.errors import DataError

__all__ = ["Checked", "check"]

_RANGE = 100  # networks that one task compares
_ROWS = 1 << 20  # rows of a column that are in memory at the same time
_AHEAD = 64  # tasks under way at the same time


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What :func:`check` found.

    Attributes:
        path: the store.
        num_nets: networks by split.
        problems: one line for each thing that is wrong; empty for a sound store.
    """

    path: Path
    num_nets: dict[str, int]
    problems: tuple[str, ...]


def check(
    path: str | os.PathLike[str],
    split: str | None = None,
    *,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> Checked:
    """Verify a store: checksums, pointers, ranges of numbers, and each network.

    Networks that were generated are drawn anew from their split, seed and number, others rebuilt from their arguments;
    graph and figures must be what is stored.

    Args:
        path: the store.
        split: the split to verify; None for all.
        executor: where networks are compared; None for one process per core of this machine.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        All that is wrong; a split whose columns are damaged is not looked at further.

    Raises:
        DataError: if the file is missing or no store, or does not hold the split.
    """
    path = Path(path)
    problems: list[str] = []
    sizes: dict[str, int] = {}
    with open_store(path) as file:
        splits = [split] if split is not None else sorted(file)
        for name in splits:
            group = split_group(file, name)
            sizes[name] = len(group["table/index"])
            found = [*_check_columns(group)] or [*_check_numbers(group, split_facts(group))]
            problems += [f"{name}: {problem}" for problem in found]
    sound = [name for name in splits if not any(problem.startswith(f"{name}: ") for problem in problems)]
    with ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(ProcessPoolExecutor(initializer=start_worker))
        total = sum(sizes[name] for name in sound)
        disable = None if progress is None else not progress
        bar = stack.enter_context(tqdm(total=total, desc="check", unit="net", disable=disable))
        for name in sound:
            starts = iter(range(0, sizes[name], _RANGE))
            pending: deque[tuple[int, Future[list[str]]]] = deque()
            while True:
                while len(pending) < _AHEAD and (start := next(starts, None)) is not None:
                    stop = min(start + _RANGE, sizes[name])
                    pending.append((stop - start, executor.submit(compare_nets, path, name, start, stop)))
                if not pending:
                    break
                count, future = pending.popleft()
                problems += [f"{name}: {problem}" for problem in future.result()]
                bar.update(count)
    return Checked(path=path, num_nets=sizes, problems=tuple(problems))


def _check_columns(group: h5py.Group) -> Iterator[str]:
    """Checksums and lengths."""
    num_nets = len(group["table/index"])
    for name in [*(column.name for column in RAGGED), *(column.pointer for column in RAGGED), "names", "shapes"]:
        yield from _check_digest(group, name)
    for name in TABLE:
        yield from _check_digest(group, f"table/{name}")
        if len(group[f"table/{name}"]) != num_nets:
            yield f"column 'table/{name}' has {len(group[f'table/{name}'])} rows for {num_nets} networks"


def _check_digest(group: h5py.Group, name: str) -> Iterator[str]:
    dataset = group[name]
    digest = hashlib.sha256()
    try:
        with reading(group.file.filename):
            stated = dataset.attrs.get("sha256")
        for start in range(0, dataset.shape[-1], _ROWS):
            digest.update(row_bytes(read_column(dataset, slice(start, start + _ROWS))))
    except DataError as error:
        yield str(error)
        return
    if digest.hexdigest() != stated:
        yield f"column '{name}' is not what its checksum says"


def _check_numbers(group: h5py.Group, facts: SplitFacts) -> Iterator[str]:
    """Pointers, numbers of names and shapes, edges, numbers of networks."""
    num_nets = len(group["table/index"])
    for column in RAGGED:
        pointer = read_column(group[column.pointer])
        rows = group[column.name].shape[-1]
        if len(pointer) != num_nets + 1 or pointer[0] != 0 or pointer[-1] != rows or (np.diff(pointer) < 0).any():
            yield f"'{column.pointer}' does not divide the {rows} rows of '{column.name}' among {num_nets} networks"
            return
    limits = {0: len(group["primitives"]), 2: len(group["names"]), 3: group["shapes"].shape[-1]}
    degrees = 0
    for start in range(0, group[NODES.name].shape[-1], _ROWS):
        nodes = read_column(group[NODES.name], slice(start, start + _ROWS))
        degrees += int(nodes[4].sum(dtype=np.int64))
        for place, limit in limits.items():
            if int(nodes[place].max()) >= limit:
                yield f"column '{NODES.name}' holds number {int(nodes[place].max())} at place {place}, of {limit}"
    if degrees != len(group[EDGES.name]):
        yield f"column '{EDGES.name}' has {len(group[EDGES.name])} rows, nodes have {degrees} incoming edges"
    index = read_column(group["table/index"])
    if (np.diff(index) <= 0).any() or (num_nets and index[0] < 0):
        yield "the numbers of networks do not increase"
    hashes = read_column(group["table/structure_hash"])
    if facts.deduplicated and len(np.unique(hashes)) < num_nets:
        yield "networks were to be distinct, but share hashes"


def compare_nets(path: Path, split: str, start: int, stop: int) -> list[str]:
    """What is wrong with some networks of a sound file; runs in workers."""
    dataset = DeepNets(path, split)
    drawn = dataset.facts.generator == GENERATOR
    problems = []
    for i in range(start, stop):
        try:
            stored = dataset.record(i)
            index = stored.figures["index"]
            if drawn:
                wanted = draw_record(split, index, dataset.facts.seed)
            else:
                rejected = {name: stored.figures[name] for name in FIGURES if name.startswith("rejected_")}
                wanted = make_record(stored.config, split=split, index=index)
                wanted.figures.update(rejected)
        except (DataError, NetworkError) as error:
            problems.append(f"network {i}: {error}")
            continue
        problems += [f"network {i}: {what}" for what in _differences(stored, wanted)]
    return problems


def _differences(stored: NetRecord, wanted: NetRecord) -> Iterator[str]:
    for name in ARGUMENTS:
        if getattr(stored.config, name) != getattr(wanted.config, name):
            yield f"argument '{name}' is {getattr(stored.config, name)!r}, should be {getattr(wanted.config, name)!r}"
    if stored.config.genotype != wanted.config.genotype:
        yield f"genotype is {stored.config.genotype}, should be {wanted.config.genotype}"
    for name in FIGURES:
        if stored.figures[name] != wanted.figures[name]:
            yield f"'{name}' is {stored.figures[name]}, should be {wanted.figures[name]}"
    if stored.name != wanted.name:
        yield "names of nodes are not those of its graph"
    for name in ("primitive", "cell", "shape", "edge_index"):
        if not np.array_equal(getattr(stored, name), getattr(wanted, name)):
            yield f"'{name}' is not that of its graph"
