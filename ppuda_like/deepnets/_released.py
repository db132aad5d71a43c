"""The files of the released DeepNets-1M: read into a store, and written from one."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import h5py
import numpy as np
import torch
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like.deepnets._columns import Columns
from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._count import count_parameters
from ppuda_like.deepnets._dataset import DeepNets
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import Genotype
from ppuda_like.deepnets._record import ARGUMENTS, NetRecord, make_record
from ppuda_like.deepnets._split import SPLITS
from ppuda_like.deepnets._store import Output, SplitFacts, open_store, reading, split_facts, split_group, write_split
from ppuda_like.errors import DataError
from ppuda_like.graph import PPUDA, ComputationalGraph, all_pairs_distance, structure_hash

__all__ = ["Difference", "ImportReport", "export_ppuda", "import_ppuda"]

_TITLE = "DeepNets-1M"
_CUTOFF = 250  # longest path that the files tell
_CHUNK = 100  # networks that are held in memory at a time
_NAMED = tuple("stem_type stem_pool norm preproc fc_layers glob_avg genotype n_cells ks C_mult fc_dim".split())
"""The arguments that the files name, in their order; the others follow from the split."""
# Far beyond any network of the dataset: a file is not to be trusted with the memory and time that it asks for.
_LIMITS = {"n_cells": 256, "ks": 63, "C_mult": 8, "fc_layers": 16, "fc_dim": 1 << 16}
_MOST_OPS = 64
_MOST_NODES = 10_000
_KERNELS = re.compile(r"(_\d+x\d+)+$")
_OLD_PRIMITIVES = {"fc-b": "bias"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a released file says of a network and that the network rebuilt from its arguments is not.

    Attributes:
        split: split of the network.
        index: number of the network.
        what: kind of difference.  Of the figures in the JSON file: ``num_params cifar10``, ``num_params imagenet`` (at
            C=32 and with ten classes for both) and ``num_nodes``.  Of the graph: ``nodes``, ``nodes: <primitive>``,
            ``edges``; ``shape``, where the numbers of nodes and edges agree, but the graph without the primitives does
            not, by :func:`structure_hash`; ``distances``, entries of the adjacency matrix that are not the shortest
            paths along its own edges.  Of the rows of nodes: ``parameters``, names of parameters; ``cells``, nodes
            without parameters in the cell they belong to; ``rows``, edges of the rebuilt graph found between the rows
            that the adjacency matrix joins, so fewer if rows and matrix are in different orders.  Primitives of which
            there are more or fewer nodes do not count as ``cells`` or ``rows``.
        in_file: in the file; for ``parameters``, ``cells`` and ``rows``, how many agree.
        rebuilt: by the arguments; for ``parameters``, ``cells`` and ``rows``, how many there are.
    """

    split: str
    index: int
    what: str
    in_file: int | str
    rebuilt: int | str


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What :func:`import_ppuda` read, and how it differs from what the arguments of the networks say.

    Attributes:
        path: the store.
        num_nets: networks by split.
        differences: all that differs, in the order of the networks.
    """

    path: Path
    num_nets: dict[str, int]
    differences: tuple[Difference, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of networks by kind of difference, the most frequent first."""
        return dict(Counter(found.what for found in self.differences).most_common())

    @property
    def num_equal(self) -> int:
        """Number of networks that differ in nothing."""
        differing = {(found.split, found.index) for found in self.differences}
        return sum(self.num_nets.values()) - len(differing)

    def table(self) -> str:
        """The kinds of differences, how many networks show each, and one of them, as text.

        Example:
            >>> found = Difference("test", 7, "edges", in_file=120, rebuilt=124)
            >>> print(ImportReport(path=Path("nets.h5"), num_nets={"test": 500}, differences=(found,)).table())
            nets.h5: 500 networks of split test, 499 of them exactly as in the file
            difference  networks  for example
            edges       1         network 7 of test: 120 in the file, 124 rebuilt
        """
        first = {found.what: found for found in reversed(self.differences)}
        rows = [("difference", "networks", "for example")]
        rows += [(what, f"{count:,}", _example(first[what])) for what, count in self.counts.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        sizes = ", ".join(f"{size:,} networks of split {split}" for split, size in self.num_nets.items())
        lines = [f"{self.path}: {sizes}, {self.num_equal:,} of them exactly as in the file"]
        if self.differences:
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


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
            network is not valid, or the store cannot be written or holds another version of the split.

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
    with _open_released(source) as file:
        names = _splits(file, source, split)
        meta = _read_json(meta_path)
        parts = [_Released.open(file, source, meta, meta_path, name) for name in names]
        facts = [_facts(name, source) for name in names]
        for fact in facts:
            _check_vacant(path, fact)
        for part, fact in zip(parts, facts, strict=True):
            write_split(path, _rebuilt(part, differences, progress), fact)
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


def _example(found: Difference) -> str:
    both = f"{found.in_file} in the file, {found.rebuilt} rebuilt"
    return f"network {found.index} of {found.split}: {both}"


@dataclass(frozen=True, eq=False)
class _Net:
    """One network as the files have it; nodes and edges as in :class:`NetRecord`."""

    num_nodes: int
    num_params: dict[str, int]
    primitive: np.ndarray
    cell: np.ndarray
    name: tuple[str, ...]
    adjacency: np.ndarray
    edge_index: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class _Released:
    """A split of the released files.

    Attributes:
        split: its name.
        path: the HDF5 file.
        meta_path: the JSON file.
        group: its group in the HDF5 file.
        numbers: of its networks, in ascending order.
        nets: what the JSON file says of them, in the same order.
        primitives: for each number of a primitive in the file, its number in the vocabulary.
        names: for each number of a name in the file, the name.
    """

    split: str
    path: Path
    meta_path: Path
    group: h5py.Group
    numbers: list[int]
    nets: list[Any]
    primitives: dict[int, int]
    names: dict[int, str]

    @classmethod
    def open(cls, file: h5py.File, path: Path, meta: Mapping[str, Any], meta_path: Path, split: str) -> _Released:
        """A split, once it is clear that both files belong together."""
        try:
            nets, tables = meta[split]["nets"], meta[split]["meta"]
            primitives = {int(key): str(name) for key, name in tables["primitives_ext"].items()}
            names = {int(key): str(name) for key, name in tables["unique_op_names"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"'{meta_path}' does not describe split '{split}' as the released files do, by 'nets', "
                f"'meta/primitives_ext' and 'meta/unique_op_names'; choose the JSON file that belongs to '{path}'"
            ) from error
        unknown = sorted(name for name in primitives.values() if _primitive(name) not in PPUDA.index)
        if unknown:
            raise DataError(
                f"'{meta_path}' names the primitives {unknown} in split '{split}'; there are {list(PPUDA.primitives)}, "
                "with kernel sizes like 'conv_1x1'"
            )
        with reading(path):
            keys = list(file[split])
        odd = next((key for key in keys if not re.fullmatch("0|[1-9][0-9]{0,17}", key)), None)
        if odd is not None or not keys:
            raise DataError(
                f"split '{split}' of '{path}' holds {'nothing' if odd is None else repr(odd)} where networks are "
                "numbered '0', '1', ...; it is no file of the released DeepNets-1M (a store needs no import)"
            )
        if not isinstance(nets, list) or len(nets) != len(keys):
            count = len(nets) if isinstance(nets, list) else "no"
            raise DataError(
                f"'{path}' holds {len(keys)} networks of split '{split}', '{meta_path}' {count}; the files do not "
                "belong together, or one was cut short"
            )
        return cls(
            split=split,
            path=path,
            meta_path=meta_path,
            group=file[split],
            numbers=sorted(map(int, keys)),
            nets=nets,
            primitives={key: PPUDA.index[_primitive(name)] for key, name in primitives.items()},
            names=names,
        )

    def config(self, place: int) -> NetworkConfig:
        """The arguments of a network."""
        with _context(self.where(place, self.meta_path)):
            return _to_config(self.nets[place], self.split)

    def read(self, place: int) -> _Net:
        """What the files say of a network whose arguments are valid."""
        with _context(self.where(place, self.path)):
            adjacency = self._array(place, "adj")
            nodes = self._array(place, "nodes")
            num_nodes = len(adjacency)
            if adjacency.shape != (num_nodes, num_nodes):
                raise DataError(f"'adj' must be a square matrix (got {adjacency.shape})")
            if nodes.shape != (num_nodes, 3):
                raise DataError(f"'nodes' must have three columns and {num_nodes} rows as 'adj' (got {nodes.shape})")
            target, source = np.nonzero(adjacency.T == 1)
            backward = np.flatnonzero(source >= target)
            if len(backward):
                edge = f"{source[backward[0]]} to {target[backward[0]]}"
                raise DataError(f"'adj' must be in topological order (got an edge from {edge})")
            primitive, cell, name = nodes.T.tolist()
            for kind, numbers, known in (("primitive", primitive, self.primitives), ("name", name, self.names)):
                unknown = set(numbers) - known.keys()
                if unknown:
                    raise DataError(f"'nodes' has {kind} {min(unknown)}, which '{self.meta_path}' does not know")
        stated = self.nets[place]
        return _Net(
            num_nodes=stated["num_nodes"],
            num_params=stated["num_params"],
            primitive=np.array([self.primitives[number] for number in primitive], dtype=np.int64),
            cell=np.array(cell, dtype=np.int64),
            name=tuple(self.names[number] for number in name),
            adjacency=adjacency,
            edge_index=np.stack((source, target)),
        )

    def where(self, place: int, path: Path) -> str:
        """A network of one of the files, for errors."""
        return f"network {self.numbers[place]} of split '{self.split}' in '{path}'"

    def _array(self, place: int, name: str) -> np.ndarray:
        """A matrix of whole numbers that lies in the file itself, and is of a size that can be."""
        with reading(self.path):
            number = str(self.numbers[place])
            key = f"{number}/{name}"
            links = [self.group.get(path, getlink=True) for path in (number, key)]
            if not all(isinstance(link, h5py.HardLink) for link in links):
                raise DataError(f"'{name}' is missing, or lies in another place")
            dataset = self.group[key]
            if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
                raise DataError(f"'{name}' must be an array in this file")
            kind, shape = dataset.dtype, dataset.shape
            if kind.kind not in "iu" or kind.itemsize > 4 or len(shape) != 2 or not 0 < max(shape) <= _MOST_NODES:
                raise DataError(
                    f"'{name}' must be a matrix of integers, 32 bits at most, for 1..{_MOST_NODES} nodes "
                    f"(got {kind} of shape {shape})"
                )
            values: np.ndarray = dataset[()]
        return values


def _rebuilt(part: _Released, differences: list[Difference], progress: bool | None) -> Iterator[Columns]:
    """The networks of a split from their arguments; what the files say otherwise goes to ``differences``."""
    with _bar(f"import {part.split}", len(part.numbers), progress) as bar:
        for start in range(0, len(part.numbers), _CHUNK):
            records = []
            for place in range(start, min(start + _CHUNK, len(part.numbers))):
                index, config, net = part.numbers[place], part.config(place), part.read(place)
                with _context(part.where(place, part.meta_path)):
                    record = make_record(config, split=part.split, index=index)
                    if record.num_nodes > _MOST_NODES:
                        raise DataError(f"its graph has {record.num_nodes} nodes, at most {_MOST_NODES} are read")
                differences.extend(
                    Difference(part.split, index, what, in_file, rebuilt)
                    for what, in_file, rebuilt in _compare(net, record)
                    if in_file != rebuilt
                )
                records.append(record)
                bar.update()
            yield Columns.pack(records)


def _compare(net: _Net, record: NetRecord) -> Iterator[tuple[str, int | str, int | str]]:
    """For each kind of difference, what the files say of a network and what it is; see :class:`Difference`."""
    for inputs, count in _num_params(record.config).items():
        yield f"num_params {inputs}", net.num_params[inputs], count
    yield "num_nodes", net.num_nodes, record.num_nodes
    yield "nodes", len(net.primitive), record.num_nodes
    listed, made = (np.bincount(graph.primitive, minlength=len(PPUDA.primitives)) for graph in (net, record))
    for primitive, *counts in zip(PPUDA.primitives, listed.tolist(), made.tolist(), strict=True):
        yield f"nodes: {primitive}", *counts
    yield "edges", net.edge_index.shape[1], record.edge_index.shape[1]
    if (len(net.primitive), net.edge_index.shape) == (record.num_nodes, record.edge_index.shape):
        yield "shape", _shape(net.edge_index, len(net.primitive)), _shape(record.edge_index, record.num_nodes)
    yield "distances", int((_distances(net.edge_index, len(net.primitive)) != net.adjacency).sum()), 0
    complete = set(np.flatnonzero(listed == made).tolist())
    for what in ("parameters", "cells", "rows"):
        found, sought = (_told(what, graph, complete) for graph in (net, record))
        yield what, (found & sought).total(), sought.total()


def _told(what: str, graph: _Net | NetRecord, complete: set[int]) -> Counter[Hashable]:
    """What the rows of a graph say, in no order: its parameters, cells of other nodes, or edges."""
    primitives = graph.primitive.tolist()
    nodes = list(zip(primitives, graph.cell.tolist(), map(_name, graph.name), strict=True))
    if what == "parameters":
        return Counter((cell, name) for _, cell, name in nodes if "." in name)
    if what == "cells":
        return Counter((cell, kind) for kind, cell, name in nodes if "." not in name and kind in complete)
    # Nodes without parameters are known by their primitives alone, as their cells may be wrong.
    labels = [(cell, name) if "." in name else kind for kind, cell, name in nodes]
    return Counter(
        (labels[source], labels[target])
        for source, target in graph.edge_index.T.tolist()
        if primitives[source] in complete and primitives[target] in complete
    )


def _write_released(dataset: DeepNets, group: h5py.Group, text: TextIO) -> Iterator[None]:
    """Write a split to both files, one network per step."""
    primitives: dict[str, int] = {}
    names: dict[str, int] = {}
    text.write(f'{json.dumps(dataset.split)}: {{"nets": [')
    for i in range(len(dataset)):
        record = dataset.record(i)
        stated = _to_stated(record, dataset)
        kinds = [primitives.setdefault(name, len(primitives)) for name in _extended(record)]
        numbers = [names.setdefault(name, len(names)) for name in record.name]
        nodes = np.stack((kinds, record.cell, numbers), axis=1).astype(np.uint16)
        place = group.create_group(str(record.figures["index"]))
        distances = _distances(record.edge_index, record.num_nodes)
        place.create_dataset("adj", data=distances, compression="gzip", shuffle=True, track_times=False)
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
    stated = {name: found[name] for name in _NAMED}
    stated |= {"num_nodes": record.num_nodes, "num_params": _num_params(config)}
    where = f"network {record.figures['index']} of split '{dataset.split}' in '{dataset.path}'"
    try:
        read = _to_config(stated, dataset.split)
    except NetworkError as error:
        raise DataError(f"{where} is beyond the released format: {error}; export another split") from error
    if read != config:
        lost = {known.name: (getattr(config, known.name), getattr(read, known.name)) for known in fields(config)}
        text = ", ".join(
            f"{name}={value!r} (always {other!r})" for name, (value, other) in lost.items() if value != other
        )
        raise DataError(f"{where} cannot be told in the released format, which has no place for {text}; leave it out")
    return stated


def _to_config(stated: object, split: str) -> NetworkConfig:
    """The network of arguments as the JSON file has them.

    Raises:
        NetworkError: if they are not valid.
    """
    if not isinstance(stated, Mapping):
        raise NetworkError(f"they must be a table of names and values (got {stated!r})")
    wanted = {*_NAMED, "num_nodes", "num_params"}
    missing, unknown = sorted(wanted - set(stated)), sorted(set(stated) - wanted)
    if missing or unknown:
        raise NetworkError(f"they must be {sorted(wanted)} (missing {missing}, unknown {unknown})")
    for name in _NAMED:
        kind = {"i": int, "b": bool}.get(ARGUMENTS[name].kind) if name in ARGUMENTS else dict
        if kind is not None and not _is_a(stated[name], kind):
            raise NetworkError(f"'{name}' must be of type {kind.__name__} (got {stated[name]!r})")
    num_params = stated["num_params"]
    if not isinstance(num_params, dict) or set(num_params) != {"cifar10", "imagenet"}:
        raise NetworkError(f"'num_params' must be given for 'cifar10' and 'imagenet' (got {num_params!r})")
    for value in (stated["num_nodes"], *num_params.values()):
        if not _is_a(value, int):
            raise NetworkError(f"'num_nodes' and 'num_params' must be whole numbers (got {value!r})")
    for name, limit in _LIMITS.items():
        if stated[name] > limit:
            raise NetworkError(f"'{name}' must be at most {limit} (got {stated[name]})")
    genotype = Genotype.from_dict(stated["genotype"])
    if 2 * genotype.num_steps > _MOST_OPS:
        raise NetworkError(f"a cell must have at most {_MOST_OPS} operations (got {2 * genotype.num_steps})")
    arguments = {name: stated[name] for name in _NAMED if name != "genotype"}
    return NetworkConfig(C=128 if split == "wide" else 32, genotype=genotype, **arguments)


def _num_params(config: NetworkConfig) -> dict[str, int]:
    """Numbers of parameters as the JSON file has them: at C=32 and with ten classes, whatever the split and images."""
    plain = config.replace(C=32, num_classes=10)
    kinds = {"cifar10": False, "imagenet": True}
    return {inputs: count_parameters(plain.replace(is_imagenet_input=large)) for inputs, large in kinds.items()}


def _extended(record: NetRecord) -> list[str]:
    """The primitives of nodes as the files name them: 1x1 convolutions and linear layers have a name of their own."""
    names = [PPUDA.primitives[number] for number in record.primitive.tolist()]
    plain = (record.shape[:, 2:] == 1).all(axis=1).tolist()
    return ["conv_1x1" if name == "conv" and one else name for name, one in zip(names, plain, strict=True)]


def _primitive(name: str) -> str:
    """The primitive that files call ``name``: ``conv`` for ``conv_1x1``."""
    return _OLD_PRIMITIVES.get(name, _KERNELS.sub("", name))


def _name(name: str) -> str:
    """The name of a node, in either spelling of the output layer of an attention."""
    return name.replace("to_out.0.", "to_out.")


def _distances(edge_index: np.ndarray, num_nodes: int) -> np.ndarray:
    """Lengths of the shortest paths as the files have them: 0 where there is none, or a longer one."""
    pairs = all_pairs_distance(torch.from_numpy(edge_index), num_nodes, _CUTOFF)
    distances = np.zeros((num_nodes, num_nodes), dtype=np.uint8)
    distances[tuple(pairs.edge_index.numpy())] = pairs.distance.numpy()
    return distances


def _shape(edge_index: np.ndarray, num_nodes: int) -> str:
    """A hash of a graph whose nodes are all alike."""
    edges = torch.from_numpy(edge_index)
    graph = ComputationalGraph(ops=("sum",) * num_nodes, edge_index=edges, inputs=(0,), outputs=(num_nodes - 1,))
    return f"{structure_hash(graph):016x}"


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


@contextmanager
def _open_released(path: Path) -> Iterator[h5py.File]:
    """A file that is not trusted, open for reading."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'; the released ones are called deepnets1m_*.hdf5") from error
    except OSError as error:
        raise DataError(f"'{path}' is no HDF5 file, or cut short: {error}; fetch or unpack it anew") from error
    try:
        yield file
    finally:
        with suppress(RuntimeError):  # a damaged file may refuse to be closed
            file.close()


def _splits(file: h5py.File, path: Path, split: str | None) -> Sequence[str]:
    """The splits to read."""
    with reading(path):
        found = sorted(file)
        groups = [name for name in found if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        groups = [name for name in groups if name in SPLITS and isinstance(file[name], h5py.Group)]
    if split is not None and split not in groups:
        raise DataError(f"'{path}' holds no split '{split}'; it holds {', '.join(groups) or 'none'}")
    if split is None and (not found or groups != found):
        raise DataError(
            f"'{path}' is no file of the released DeepNets-1M: it holds {', '.join(found) or 'nothing'}, not groups "
            f"named as the splits {', '.join(SPLITS)}"
        )
    return groups if split is None else [split]


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'; the released ones are called deepnets1m_*_meta.json") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{path}' is no JSON file, or cut short: {error}; fetch it anew") from error
    if not isinstance(found, dict):
        raise DataError(f"'{path}' must hold a table of splits (got {type(found).__name__})")
    return found


@contextmanager
def _context(where: str) -> Iterator[None]:
    """Say which network an error is about."""
    try:
        yield
    except (DataError, NetworkError) as error:
        raise DataError(f"{where} cannot be read: {error}; fetch the file anew, or leave the network out") from error


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _bar(title: str, total: int, progress: bool | None) -> Any:
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=title, unit="net", disable=disable)
