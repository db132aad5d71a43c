"""Options of commands that read images or share out work."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ppuda_like._files import replacing
from ppuda_like.deepnets._generate import start_worker
from ppuda_like.deepnets._store import open_store
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, draw
from ppuda_like.vision import ImageSource, load_images, subset

__all__ = ["Images", "only_split", "shared_work", "write_graph"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Which images."""

    data: str = "digits"
    """digits (the handwritten digits in scikit-learn), cifar10, cifar100, imagenet, tiny-imagenet, or the path of an
    image folder or of a .zip, .tar, .tar.gz, .tar.xz of one."""
    data_root: Path = Path("data")
    """Folder of data sets."""
    download: bool = False
    """Download CIFAR if it is not there."""
    image_size: int = 32
    """Height and width that images are brought to."""

    def load(self, split: str, num_images: int | None = None) -> ImageSource:
        """The images of a split: train, val or test; ``num_images`` of them, at random but the same each time."""
        found = load_images(self.data, split, self.image_size, root=self.data_root, download=self.download)  # type: ignore[arg-type]
        if num_images is None or num_images >= len(found):
            return found
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
        return subset(found, order[:num_images])


@contextmanager
def shared_work(workers: int, scheduler: str | None, start: str | None = None) -> Iterator[Executor]:
    """Where work is shared out to.

    Args:
        workers: processes; 0 for one per core.
        scheduler: address of a Dask scheduler, or "local" for a cluster of this machine; None for plain processes.
        start: how these start, "spawn" where this one has computed on several threads already.

    Raises:
        DataError: if Dask is not installed, or no scheduler answers.
    """
    if scheduler is None:
        with ProcessPoolExecutor(workers or os.cpu_count(), get_context(start), initializer=start_worker) as executor:
            yield executor
        return
    try:
        from dask import distributed
    except ImportError as error:
        raise DataError("--scheduler needs Dask; install it with: pip install 'ppuda-like[distributed]'") from error
    logging.getLogger("distributed").setLevel(logging.WARNING)  # it tells of every connection
    with ExitStack() as stack:
        address: Any = scheduler
        if scheduler == "local":
            count = workers or os.cpu_count()
            address = stack.enter_context(
                distributed.LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0")  # type: ignore[no-untyped-call]
            )
        try:
            client = distributed.Client(address, timeout=10)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise DataError(
                f"no Dask scheduler answers at '{scheduler}': {error}; start one with: dask scheduler"
            ) from error
        yield stack.enter_context(client).get_executor()


def only_split(path: Path) -> str:
    """The split of a store that holds one.

    Raises:
        DataError: if the file is no store, or holds several splits.
    """
    with open_store(path) as file:
        splits = list(file)
    if len(splits) != 1:
        raise DataError(f"'{path}' holds the splits {', '.join(splits)}; choose one with --split")
    return str(splits[0])


def write_graph(graph: ComputationalGraph, path: Path) -> None:
    """Write a graph as JSON, or draw it."""
    if path.suffix == ".json":
        with replacing(path) as temporary:
            temporary.write_text(graph.to_json())
    else:
        draw(graph, path)
