"""Rows of numbers by graph, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ppuda_like._files import replacing
from ppuda_like.deepnets._store import Output, reading
from ppuda_like.errors import DataError

__all__ = ["CacheFacts", "FeatureCache"]

_FORMAT = "ppuda-like features"
_VERSION = 1
_TEXTS = ("kind", "source", "identity")


@dataclass(frozen=True, kw_only=True)
class CacheFacts:
    """What the rows of a cache are.

    Attributes:
        kind: what they hold, in the plural, for messages: ``"embeddings"``.
        source: what they were computed with, for people to read.
        identity: hash of all that they depend on besides the graph.
        columns: name of each column.
    """

    kind: str
    source: str
    identity: str
    columns: tuple[str, ...]


class FeatureCache:
    """A file of rows of numbers, one per graph: HDF5, keyed by the graph's content hash.

    Several processes may read the file and add to it at the same time.  It is replaced as a whole, so that it is
    complete at any time, also if a process is killed; what others added in the meantime is kept.

    Args:
        path: of the file, which need not exist.
        facts: what the rows are; None for whatever the file holds, which then must exist.

    Attributes:
        facts: what the rows are.

    Raises:
        DataError: if the file is missing though it must exist, damaged, no such file, or holds rows of another kind or
            source.

    Example:
        >>> import tempfile
        >>> facts = CacheFacts(kind="sizes", source="counting", identity="1", columns=("nodes", "edges"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = FeatureCache(Path(folder) / "sizes.h5", facts)
        ...     cache.add({"ab" * 32: [3, 2]})
        ...     cache.read()["ab" * 32].tolist()
        [3.0, 2.0]
    """

    def __init__(self, path: str | os.PathLike[str], facts: CacheFacts | None = None) -> None:
        self.path = Path(path)
        found = self._facts() if facts is None or self.path.exists() else facts
        self.facts = found if facts is None else facts
        self._check(found)

    def read(self) -> dict[str, NDArray[np.float64]]:
        """The rows that are there, float64 of shape ``(columns,)``, by the content hash of their graphs."""
        if not self.path.exists():
            return {}
        self._check(self._facts())
        with self._open() as file, reading(self.path):
            keys, values = file["key"][()], file["value"][()]
            if keys.ndim != 2 or values.shape != (len(keys), len(self.facts.columns)):
                raise DataError(f"'{self.path}' is damaged: keys {keys.shape} and rows {values.shape} do not match")
        rows = values.astype(np.float64)
        return {key.tobytes().hex(): row for key, row in zip(keys, rows, strict=True)}

    def add(self, rows: Mapping[str, Sequence[float] | NDArray[np.floating]]) -> None:
        """Keep rows, by the content hash of their graphs; one that is there already is replaced.

        Raises:
            DataError: as of the class, or if the file cannot be written.
        """
        if not rows:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock")):
                self._write({**self.read(), **{key: np.asarray(row, np.float64) for key, row in rows.items()}})
        except (OSError, RuntimeError) as error:  # h5py raises either for a full disk
            raise DataError(f"cannot write '{self.path}': {error}; it is as it was before") from error

    def _write(self, rows: dict[str, NDArray[np.float64]]) -> None:
        keys = sorted(rows)  # equal rows make equal files, in whatever order they came
        options = {"fletcher32": True, "track_times": False, "chunks": True}
        with replacing(self.path) as temporary, Output(temporary) as output:
            with h5py.File(output, "w", libver=("v110", "v110")) as file:
                texts = {name: getattr(self.facts, name) for name in _TEXTS}
                for name, text in {"format": _FORMAT, **texts}.items():
                    file.attrs[name] = np.bytes_(text.encode())
                file.attrs["version"] = _VERSION
                file["columns"] = np.array([name.encode() for name in self.facts.columns])
                packed = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), -1)
                file.create_dataset("key", data=packed, **options)
                file.create_dataset("value", data=np.stack([rows[key] for key in keys]).astype("<f8"), **options)
            output.check()

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except FileNotFoundError as error:
            raise DataError(f"there is no file '{self.path}'") from error
        except OSError as error:
            raise DataError(f"'{self.path}' is no HDF5 file, or damaged: {error}") from error

    def _facts(self) -> CacheFacts:
        """What the rows of the file are."""
        with self._open() as file, reading(self.path):
            form = bytes(file.attrs.get("format", b"")).decode(errors="replace")
            if form != _FORMAT:
                raise DataError(f"'{self.path}' holds no features of graphs (its attribute 'format' is {form!r})")
            if file.attrs["version"] != _VERSION:
                raise DataError(
                    f"'{self.path}' has format version {file.attrs['version']}; this package reads version {_VERSION}"
                )
            texts = {name: bytes(file.attrs[name]).decode() for name in _TEXTS}
            return CacheFacts(columns=tuple(name.decode() for name in file["columns"][()].tolist()), **texts)

    def _check(self, found: CacheFacts) -> None:
        wanted = self.facts
        if (found.kind, found.identity, found.columns) != (wanted.kind, wanted.identity, wanted.columns):
            names = [f"{facts.kind} of {facts.source} [{facts.identity[:12]}]" for facts in (found, wanted)]
            if names[0] == names[1]:
                names = [
                    f"{name} ({', '.join(facts.columns)})" for name, facts in zip(names, (found, wanted), strict=True)
                ]
            raise DataError(f"'{self.path}' holds {names[0]}, not {names[1]}; keep these in a file of their own")
