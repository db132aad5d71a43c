"""The released DeepNets-1M, read into a store, and written from one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

import h5py
import numpy as np
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like.deepnets._columns import Columns
from ppuda_like.deepnets._dataset import DeepNets
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._generate import locked_parts
from ppuda_like.deepnets._record import NetRecord, make_record
from ppuda_like.deepnets._released_file import (
    MOST_NODES,
    ReleasedSplit,
    about,
    open_released,
    read_json,
    splits_to_read,
)
from ppuda_like.deepnets._released_report import Difference, ImportReport, compare
from ppuda_like.deepnets._released_terms import NAMED, extended_names, path_lengths, stated_params, to_config
from ppuda_like.deepnets._store import Output, SplitFacts, open_store, reading, split_facts, split_group, write_split
from ppuda_like.errors import DataError

__all__ = ["export_ppuda", "import_ppuda"]

_TITLE = "DeepNets-1M"
_CHUNK = 100  # networks that are held in memory at a time


def import_ppuda(
    hdf5: str | os.PathLike[str],
    meta_json: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    split: str | None = None,
    progress: bool | None = None,
) -> ImportReport:
    """Read networks of the released DeepNets-1M into a store (arXiv:2110.13100, section 3.1).

    The arguments of a network are taken for the truth: its graph and figures are rebuilt from them, and all that the
    files say otherwise is reported.  That is a lot: the published generator lists the nodes of a network cell by cell,
    but their adjacency in topological order, so that rows and adjacency do not match where cells interleave; it counts
    nodes without parameters to the wrong cells; and it leaves out many ``msa`` and ``cse`` nodes.

    A store may hold several splits; each appears complete, one after the other.  Nothing of a file is executed.

    Args:
        hdf5: ``deepnets1m_*.hdf5``.
        meta_json: ``deepnets1m_*_meta.json``, which belongs to it.
        out: the store, a new or an existing one.
        split: the split to read; None for all that the file holds.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        All differences between the files and the networks as rebuilt.

    Raises:
        DataError: if a file is missing, damaged or none of the released format, the two do not belong together, a
            network is not valid, the store holds another version of the split, cannot be written, or is being written
            by another process.

    Example:
        >>> import tempfile
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from ppuda_like.deepnets import generate
        >>> with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as executor:
        ...     folder = Path(name)
        ...     made = generate("test", 3, folder / "nets.h5", executor=executor)
        ...     export_ppuda(made.path, folder / "nets.hdf5", folder / "nets_meta.json")
        ...     import_ppuda(folder / "nets.hdf5", folder / "nets_meta.json", folder / "again.h5").differences
        ()
    """
    source, meta_path, path = Path(hdf5), Path(meta_json), Path(out)
    differences: list[Difference] = []
    with open_released(source) as file:
        names = splits_to_read(file, source, split)
        meta = read_json(meta_path)
        parts = [ReleasedSplit.open(file, source, meta, meta_path, name) for name in names]
        facts = [_facts(name, source) for name in names]
        with locked_parts(path) as scratch:
            for fact in facts:
                _check_vacant(path, fact)
            for part, fact in zip(parts, facts, strict=True):
                write_split(path, _rebuilt(part, differences, progress), fact, scratch=scratch)
    num_nets = {part.split: len(part.numbers) for part in parts}
    return ImportReport(path=path, num_nets=num_nets, differences=tuple(differences))


def export_ppuda(
    store: str | os.PathLike[str],
    hdf5: str | os.PathLike[str],
    meta_json: str | os.PathLike[str],
    *,
    split: str | None = None,
    progress: bool | None = None,
) -> None:
    """Write the networks of a store as the released DeepNets-1M is written.

    :func:`import_ppuda` reads back the same networks, graphs, figures and numbers, all but the columns ``rejected_*``,
    which become zero: the format has no place for them.  Nodes and adjacency are in the same order, topological and
    cell by cell.  A network is stored under its number; the published loader counts on numbers without gaps, so leave
    ``deduplicate`` off when generating for it.  Both files appear under their names only when complete.

    Args:
        store: what :func:`generate` or :func:`import_ppuda` wrote.
        hdf5: the file for the graphs.
        meta_json: the file for the arguments; the published loader looks for ``<name>_meta.json`` beside
            ``<name>.hdf5``.
        split: the split to write; None for all.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        DataError: if the store is missing or damaged, does not hold the split, a network has arguments that the format
            has no place for, or a file cannot be written.
    """
    paths = [Path(path) for path in (store, hdf5, meta_json)]
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError(f"'{store}', '{hdf5}' and '{meta_json}' must be three different files; choose other names")
    with open_store(store) as file, reading(store):
        names = sorted(file) if split is None else [split]
    datasets = [DeepNets(store, name) for name in names]
    try:
        with ExitStack() as stack:
            bar = stack.enter_context(_bar("export", sum(map(len, datasets)), progress))
            meta = stack.enter_context(replacing(meta_json))
            output = stack.enter_context(Output(stack.enter_context(replacing(hdf5))))
            text = stack.enter_context(meta.open("w", encoding="utf-8"))
            with h5py.File(output, "w") as file:
                file.attrs["title"] = _TITLE
                text.write("{")
                for place, dataset in enumerate(datasets):
                    text.write(", " if place else "")
                    for _ in _write_released(dataset, file.create_group(dataset.split), text):
                        output.check()
                        bar.update()
                text.write("}")
            output.check()
    except (OSError, RuntimeError) as error:  # h5py raises either for a full disk
        raise DataError(f"cannot write '{hdf5}' and '{meta_json}': {error}; nothing was changed") from error


def _rebuilt(part: ReleasedSplit, differences: list[Difference], progress: bool | None) -> Iterator[Columns]:
    """The networks of a split from their arguments; what the files say otherwise goes to ``differences``."""
    with _bar(f"import {part.split}", len(part.numbers), progress) as bar:
        for start in range(0, len(part.numbers), _CHUNK):
            records = []
            for place in range(start, min(start + _CHUNK, len(part.numbers))):
                index, config, net = part.numbers[place], part.config(place), part.read(place)
                with about(part.where(place, part.meta_path)):
                    record = make_record(config, split=part.split, index=index)
                    if record.num_nodes > MOST_NODES:
                        raise DataError(f"its graph has {record.num_nodes} nodes, at most {MOST_NODES} are read")
                differences.extend(
                    Difference(part.split, index, what, in_file, rebuilt)
                    for what, in_file, rebuilt in compare(net, record)
                    if in_file != rebuilt
                )
                records.append(record)
                bar.update()
            yield Columns.pack(records)


def _write_released(dataset: DeepNets, group: h5py.Group, text: TextIO) -> Iterator[None]:
    """Write a split to both files, one network per step."""
    primitives: dict[str, int] = {}
    names: dict[str, int] = {}
    text.write(f'{json.dumps(dataset.split)}: {{"nets": [')
    for i in range(len(dataset)):
        record = dataset.record(i)
        stated = _to_stated(record, dataset)
        kinds = [primitives.setdefault(name, len(primitives)) for name in extended_names(record)]
        numbers = [names.setdefault(name, len(names)) for name in record.name]
        nodes = np.stack((kinds, record.cell, numbers), axis=1).astype(np.uint16)
        place = group.create_group(str(record.figures["index"]))
        lengths = path_lengths(record.edge_index, record.num_nodes)
        place.create_dataset("adj", data=lengths, compression="gzip", shuffle=True, track_times=False)
        place.create_dataset("nodes", data=nodes, track_times=False)
        text.write((", " if i else "") + json.dumps(stated))
        yield
    tables = {"primitives_ext": primitives, "unique_op_names": names}
    meta = {title: {number: name for name, number in table.items()} for title, table in tables.items()}
    text.write(f'], "meta": {json.dumps(meta)}}}')


def _to_stated(record: NetRecord, dataset: DeepNets) -> dict[str, Any]:
    """What the JSON file says of a network."""
    config = record.config
    found = config.to_dict()
    stated = {name: found[name] for name in NAMED}
    stated |= {"num_nodes": record.num_nodes, "num_params": stated_params(config)}
    where = f"network {record.figures['index']} of split '{dataset.split}' in '{dataset.path}'"
    try:
        read = to_config(stated, dataset.split)
    except NetworkError as error:
        raise DataError(f"{where} is beyond the released format: {error}; export another split") from error
    if read != config:
        lost = {known.name: (getattr(config, known.name), getattr(read, known.name)) for known in fields(config)}
        text = ", ".join(
            f"{name}={value!r} (always {other!r})" for name, (value, other) in lost.items() if value != other
        )
        raise DataError(f"{where} cannot be told in the released format, which has no place for {text}; leave it out")
    return stated


def _facts(split: str, path: Path) -> SplitFacts:
    source = f"imported from {path.name}"
    return SplitFacts(split=split, seed=-1, generator=0, deduplicated=False, duplicates=0, source=source)


def _check_vacant(path: Path, facts: SplitFacts) -> None:
    """That a store has no such split, or one of the same origin, which may be replaced."""
    if not path.exists():
        return
    with open_store(path) as file:
        if facts.split not in file:
            return
        found = split_facts(split_group(file, facts.split))
    if found != facts:
        raise DataError(f"'{path}' holds a split '{facts.split}' already ({found.source}); choose another path")


def _bar(title: str, total: int, progress: bool | None) -> Any:
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=title, unit="net", disable=disable)
