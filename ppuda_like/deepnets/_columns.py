"""Records of networks, column by column."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._record import ARGUMENTS, FIGURES, NetRecord, encode_arguments, encode_genotype
from ppuda_like.errors import DataError

__all__ = ["EDGES", "GENOTYPES", "NODES", "RAGGED", "TABLE", "Columns", "RaggedColumn"]

TABLE: dict[str, np.dtype] = {**FIGURES, **ARGUMENTS}
"""The columns with one number per network, and how they are stored."""


class RaggedColumn(NamedTuple):
    """A column with several rows per network, those of all networks in a row.

    Attributes:
        name: of the column.
        pointer: name of the column that says where the rows of each network start.
        dtype: of the entries.
        width: entries per row; those of several rows are stored field by field, which compresses better.
        chunk: rows that are read at a time.
    """

    name: str
    pointer: str
    dtype: np.dtype
    width: int
    chunk: int


NODES = RaggedColumn("nodes", "node_ptr", np.dtype("<u2"), 5, 1024)
"""Per node: primitive, cell, number of its name, number of its shape, number of incoming edges."""
EDGES = RaggedColumn("edges", "edge_ptr", np.dtype("<u2"), 1, 2048)
"""Per edge: how far before its target its source is; ordered by target and then by source."""
GENOTYPES = RaggedColumn("genotypes", "genotype_ptr", np.dtype("u1"), 1, 1024)
"""Per network: its genotype in bytes."""
RAGGED = (NODES, EDGES, GENOTYPES)

_DIGEST = hashlib.sha256().digest_size
_LARGEST = np.iinfo(np.uint16).max


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Some networks in a row, as a store keeps them.

    Attributes:
        table: a column of numbers for each of :data:`TABLE`.
        lengths: how many rows each network has in each of :data:`RAGGED`; ``(3, num_nets)``.
        nodes: rows of :data:`NODES`, field by field; ``(5, num_nodes)``.
        edges: rows of :data:`EDGES`.
        genotypes: rows of :data:`GENOTYPES`.
        names: of nodes, in the order of their numbers.
        shapes: of nodes, in the order of their numbers; ``(num_shapes, 4)``.
    """

    table: dict[str, np.ndarray]
    lengths: np.ndarray
    nodes: np.ndarray
    edges: np.ndarray
    genotypes: np.ndarray
    names: tuple[str, ...]
    shapes: np.ndarray

    def __len__(self) -> int:
        return int(self.lengths.shape[1])

    @classmethod
    def pack(cls, records: Sequence[NetRecord]) -> Columns:
        """Records as columns.

        Raises:
            NetworkError: if a network is too large for the format, which numbers nodes in 16 bits.
        """
        names: dict[str, int] = {}
        shapes: dict[tuple[int, ...], int] = {}
        nodes, edges = [], []
        for record in records:
            if record.num_nodes > _LARGEST:
                raise NetworkError(f"a network of a store has at most {_LARGEST} nodes (got {record.num_nodes})")
            source, target = record.edge_index
            rows = np.empty((NODES.width, record.num_nodes), dtype=NODES.dtype)
            rows[0] = record.primitive
            rows[1] = record.cell
            rows[2] = [names.setdefault(name, len(names)) for name in record.name]
            rows[3] = [shapes.setdefault(tuple(shape), len(shapes)) for shape in record.shape.tolist()]
            rows[4] = np.bincount(target, minlength=record.num_nodes)
            nodes.append(rows)
            edges.append((target - source).astype(EDGES.dtype))
        genotypes = [
            np.frombuffer(encode_genotype(record.config.genotype), dtype=GENOTYPES.dtype) for record in records
        ]
        rows_of = [{**encode_arguments(record.config), **record.figures} for record in records]
        return cls(
            table={name: np.array([row[name] for row in rows_of], dtype=dtype) for name, dtype in TABLE.items()},
            lengths=np.array(
                [[rows.shape[-1] for rows in parts] for parts in (nodes, edges, genotypes)], dtype=np.int64
            ),
            nodes=np.concatenate(nodes, axis=-1),
            edges=np.concatenate(edges),
            genotypes=np.concatenate(genotypes),
            names=tuple(names),
            shapes=np.array(list(shapes), dtype=np.int32).reshape(-1, 4),
        )

    def select(self, kept: np.ndarray) -> Columns:
        """Some of the networks.

        Args:
            kept: for each network, whether it stays.
        """
        if kept.all():
            return self
        ragged = {
            column.name: getattr(self, column.name)[..., np.repeat(kept, lengths)]
            for column, lengths in zip(RAGGED, self.lengths, strict=True)
        }
        names, ragged["nodes"][2] = _in_use(ragged["nodes"][2])
        shapes, ragged["nodes"][3] = _in_use(ragged["nodes"][3])
        return Columns(
            table={name: values[kept] for name, values in self.table.items()},
            lengths=self.lengths[:, kept],
            names=tuple(self.names[number] for number in names.tolist()),
            shapes=self.shapes[shapes],
            **ragged,
        )

    def to_bytes(self) -> bytes:
        """The columns as a compressed archive, after its SHA-256; :meth:`from_bytes` is the inverse."""
        buffer = io.BytesIO()
        arrays = {known.name: getattr(self, known.name) for known in fields(self) if known.name != "table"}
        arrays["names"] = np.array([name.encode() for name in self.names])
        arrays |= {f"table.{name}": values for name, values in self.table.items()}
        np.savez_compressed(buffer, **arrays)
        archive = buffer.getvalue()
        return hashlib.sha256(archive).digest() + archive

    @classmethod
    def from_bytes(cls, data: bytes) -> Columns:
        """The columns that :meth:`to_bytes` wrote.

        Raises:
            DataError: if the bytes are none, or damaged.
        """
        digest, archive = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(archive).digest() != digest:
            raise DataError(f"{len(data)} bytes are no columns of networks, or damaged")
        try:
            with np.load(io.BytesIO(archive), allow_pickle=False) as found:
                ragged = {column.name: found[column.name] for column in RAGGED}
                return cls(
                    table={name: found[f"table.{name}"] for name in TABLE},
                    lengths=found["lengths"],
                    names=tuple(name.decode() for name in found["names"].tolist()),
                    shapes=found["shapes"],
                    **ragged,
                )
        except KeyError as error:
            raise DataError(f"columns of networks of another version: {error}") from error


def _in_use(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers in the order in which they come, and the place of each number among them."""
    different, first, place = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return different[order], np.argsort(order)[place]
