"""The properties of many networks, measured by training each of them briefly."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ppuda_like._memory import keep_freed_memory
from ppuda_like._partial import PartialResults
from ppuda_like._seeds import derived_seed
from ppuda_like.deepnets import DeepNets, NetworkConfig, count_parameters, network_graph
from ppuda_like.errors import DataError
from ppuda_like.ghn import GHN
from ppuda_like.graph import structure_hash
from ppuda_like.predictors._measure_net import MeasureConfig, PropertyImages, measure_network
from ppuda_like.predictors._network_source import NetworkSource, network_source
from ppuda_like.predictors._property_files import table_suffix
from ppuda_like.predictors._property_table import PropertyTable
from ppuda_like.vision import ImageSource, evaluate

__all__ = ["measure_properties"]

_VERSION = 1  # of the measurement; to rise when the same config would give other values
_ALONE = threading.Lock()  # one network at a time in each process: torch has one random stream and number of threads
_LARGE = 64  # images below this size are for the networks' small form


def measure_properties(
    split: str | DeepNets | Sequence[NetworkConfig],
    nets: int | Sequence[int] | None,
    images: PropertyImages,
    config: MeasureConfig | None = None,
    *,
    width: int | None = None,
    ghn: GHN | None = None,
    ghn_name: str = "",
    seed: int | None = None,
    executor: Executor | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
) -> PropertyTable:
    """Train networks briefly, and measure the properties of each (arXiv:2110.13100, section 5.2).

    The columns are the fields of :class:`Measured`, besides ``num_params``, ``macs`` of one image, and, with a
    hypernetwork, ``ghn_test_acc``, the accuracy with predicted parameters and no training.  A network that diverges has
    its row, with status ``"diverged"``.

    All values but times depend on the config, the images and the network alone, whatever the executor.  With ``out``,
    what is measured is kept beside that file: the same call goes on after an interruption, and a finished file is
    extended by the networks that it lacks.

    Args:
        split: a split of DeepNets-1M whose networks are drawn, a dataset of stored networks, or arguments of networks.
        nets: which of them: so many, from the first; or these numbers; None for all of a dataset or a list.
        images: to train and evaluate on.
        config: how the properties are measured; None for the defaults.
        width: channels of the first cells; None for the networks' own.
        ghn: a hypernetwork for ``ghn_test_acc``.
        ghn_name: what it is called, for people to read.
        seed: of the drawing of a split; None for the split's own.
        executor: where the networks are shared out to, processes or a cluster; None for this process.
        out: a ``.csv`` or ``.h5`` file to write the table to.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        A row for each network, in the order asked for; for a file that is extended, those it held come first.

    Raises:
        DataError: if there is no such network, the images do not go together, or ``out`` or what is kept beside it
            holds the results of another measurement.

    Example:
        >>> from ppuda_like.vision import digits
        >>> images = PropertyImages(digits("train"), digits("val"), digits("test"))
        >>> net = NetworkConfig(C=4, n_cells=1)
        >>> table = measure_properties([net], None, images, MeasureConfig(steps=2, checks=1), progress=False)
        >>> table["num_params"].tolist() == [count_parameters(net)]
        True
    """
    config = config or MeasureConfig()
    out = None if out is None else Path(out)
    if out is not None:
        table_suffix(out)
    classes = {tuple(data.class_names) for data in images}
    if len(classes) > 1 or len({data.image_size for data in images}) > 1:
        raise DataError("the images to train, validate and test on must have the same classes and the same size")
    source = network_source(
        split,
        seed=seed,
        width=width,
        num_classes=len(images.train.class_names),
        is_imagenet_input=images.train.image_size >= _LARGE,
    )
    job = _Job(source=source, images=images, config=config, ghn=None if ghn is None else ghn.cpu().eval())
    meta = job.meta(ghn_name)
    kept = PartialResults(out, json.dumps(meta, sort_keys=True))
    found = {**_finished(out, source.split, meta), **{int(key): value for key, value in kept.found.items()}}
    numbers = _numbers(source, nets)
    order = [*found, *(index for index in numbers if index not in found)]
    rest = {number: index for index, number in numbers.items() if index not in found}
    done = len(numbers) - len(rest)
    disable = None if progress is None else not progress
    with tqdm(desc="measure", unit="net", total=len(numbers), initial=done, disable=disable) as bar:
        for number, row in _results(job, list(rest), executor):
            found[rest[number]] = row
            kept.add(str(rest[number]), row)
            bar.update()
    if out is None:
        order = list(numbers)
    table = _table(source.split, {index: found[index] for index in order}, meta)
    if out is not None:
        table.save(out)
        kept.close()
    return table


def _finished(path: Path | None, split: str, meta: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The rows of a file that is there already, by the network's index.

    Raises:
        DataError: if it holds another measurement.
    """
    if path is None or not path.exists():
        return {}
    table = PropertyTable.load(path)
    if table.split != split or table.meta != json.loads(json.dumps(meta)):
        raise DataError(
            f"'{path}' holds the results of another measurement (other images, networks, settings or hypernetwork); "
            "write to another file, or delete it"
        )
    hashes = np.asarray(table.structure_hash).tolist()
    return {
        index: {
            "status": status,
            "structure_hash": number,
            **{name: table[name].tolist()[row] for name in table.columns},
        }
        for row, (index, status, number) in enumerate(
            zip(np.asarray(table.index).tolist(), table.status or (), hashes, strict=True)
        )
    }


def _numbers(source: NetworkSource, nets: int | Sequence[int] | None) -> dict[int, int]:
    """Which networks: their numbers in the source, by their index in the random stream."""
    most = None if isinstance(source.nets, str) else len(source)
    if nets is None:
        nets = len(source)
    if isinstance(nets, int):
        nets = range(nets if most is None else min(nets, most))
    if not len(nets):
        raise DataError(f"there must be at least one network to measure (got {nets!r} of split '{source.split}')")
    outside = [number for number in nets if number < 0 or (most is not None and number >= most)]
    if outside:
        raise DataError(f"there is no network {outside[0]} in split '{source.split}'; networks are numbered from 0")
    return {source.index(number): number for number in nets}


def _table(split: str, rows: dict[int, dict[str, Any]], meta: dict[str, Any]) -> PropertyTable:
    names = [name for name in next(iter(rows.values())) if name not in ("status", "structure_hash")]
    return PropertyTable(
        split=split,
        index=list(rows),
        status=[row["status"] for row in rows.values()],
        structure_hash=np.array([row["structure_hash"] for row in rows.values()], dtype=np.uint64),
        columns={name: [row[name] for row in rows.values()] for name in names},
        meta=meta,
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What the measurement of one network needs; it travels to other processes."""

    source: NetworkSource
    images: PropertyImages
    config: MeasureConfig
    ghn: GHN | None

    def meta(self, ghn_name: str) -> dict[str, Any]:
        """All that the values depend on, for the table."""
        return {
            "measurement": _VERSION,
            "networks": self.source.facts,
            "images": {name: _identity(data) for name, data in self.images._asdict().items()},
            "config": self.config.to_dict(),
            "ghn": None if self.ghn is None else f"{ghn_name or 'hypernetwork'} {_weights(self.ghn)}",
        }

    def __call__(self, number: int) -> dict[str, Any]:
        """Measure one network."""
        with _ALONE:
            return self._measured(number)

    def _measured(self, number: int) -> dict[str, Any]:
        if parent_process() is not None:  # a worker, whose memory serves this work alone
            keep_freed_memory()
        network = self.source.config(number)
        graph = network_graph(network)
        index = self.source.index(number)
        model = self._build(network, index)
        row = {"structure_hash": structure_hash(graph), **asdict(measure_network(model, self.images, self.config))}
        row |= {"num_params": float(count_parameters(network)), "macs": float(graph.macs)}
        if self.ghn is not None:
            model = self._build(network, index)
            self.ghn.fill(model, graph=graph)
            batch_size = self.config.eval_batch_size
            row["ghn_test_acc"] = evaluate(model, self.images.test, batch_size=batch_size, progress=False).top1
        return row

    def _build(self, network: NetworkConfig, index: int) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.config.seed, "init", self.source.split, index))
            return network.build("cpu")


def _identity(data: ImageSource) -> str:
    return f"{getattr(data, 'name', '')}: {len(data)} of {data.image_size} pixels"


def _weights(ghn: GHN) -> str:
    digest = hashlib.sha256()
    for name, tensor in ghn.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _results(job: _Job, numbers: list[int], executor: Executor | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as they come, with the number of the network."""
    if executor is None:
        for number in numbers:
            yield number, job(number)
        return
    futures = {executor.submit(job, number): number for number in numbers}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()
