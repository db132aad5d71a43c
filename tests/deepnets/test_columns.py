from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_strategies import genotypes, network_configs

from ppuda_like.deepnets import DARTS, PDARTS, DeepNets, Genotype, NetworkConfig, NetworkError, Rejection, ViT
from ppuda_like.deepnets._columns import RAGGED, TABLE, Columns
from ppuda_like.deepnets._plan import plan_network
from ppuda_like.deepnets._record import (
    ARGUMENTS,
    NetRecord,
    decode_arguments,
    decode_genotype,
    encode_arguments,
    encode_genotype,
    make_record,
)
from ppuda_like.deepnets._store import SplitFacts, write_split
from ppuda_like.errors import DataError

FACTS = SplitFacts(split="test", seed=-1, generator=0, deduplicated=False, duplicates=0, source="tests · 試験")
COLUMNS = Columns.pack([make_record(NetworkConfig(C=8, n_cells=1), split="test", index=0)]).to_bytes()


@st.composite
def records(draw: st.DrawFn) -> NetRecord:
    """The record of any connected network, with any number and any counts."""
    config = draw(network_configs(max_cells=4).filter(lambda config: plan_network(config).connected))
    record = make_record(config, split="test", index=draw(st.integers(0, 2**63 - 1)))
    for reason in Rejection:
        record.figures[f"rejected_{reason.name.lower()}"] = draw(st.integers(0, 2**32 - 1))
    return record


def _plain(record: NetRecord) -> dict[str, Any]:
    found = {known.name: getattr(record, known.name) for known in fields(record)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def _stored(parts: list[Columns]) -> list[dict[str, Any]]:
    """The records of a store that is written in some parts."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "nets.h5"
        write_split(path, parts, FACTS)
        dataset = DeepNets(path, "test")
        assert dataset.facts == FACTS
        return [_plain(dataset.record(i)) for i in range(len(dataset))]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(records(), min_size=1, max_size=4), st.integers(0, 4))
def test_round_trip(nets: list[NetRecord], cut: int) -> None:
    parts = [Columns.from_bytes(Columns.pack(part).to_bytes()) for part in (nets[:cut], nets[cut:]) if part]
    assert sum(map(len, parts)) == len(nets)
    assert _stored(parts) == [_plain(net) for net in nets]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(st.tuples(records(), st.booleans()), min_size=1, max_size=4))
def test_select(nets: list[tuple[NetRecord, bool]]) -> None:
    columns = Columns.pack([net for net, _ in nets]).select(np.array([kept for _, kept in nets]))
    assert len(columns) == sum(kept for _, kept in nets)
    assert _stored([columns]) == [_plain(net) for net, kept in nets if kept]


def test_bytes_depend_on_the_networks_alone() -> None:
    nets = [
        make_record(NetworkConfig(C=8, n_cells=2, genotype=genotype), split="test", index=0)
        for genotype in (DARTS, ViT)
    ]
    assert Columns.pack(nets).to_bytes() == Columns.pack(nets).to_bytes()
    assert Columns.pack(nets).to_bytes() != Columns.pack(nets[::-1]).to_bytes()


def test_dtypes_stay() -> None:
    columns = Columns.pack([make_record(NetworkConfig(C=8, n_cells=1), split="test", index=3)])
    again = Columns.from_bytes(columns.to_bytes())
    for column in RAGGED:
        assert getattr(again, column.name).dtype == getattr(columns, column.name).dtype == column.dtype
    assert {name: values.dtype for name, values in again.table.items()} == TABLE
    assert again.names == columns.names


def test_network_with_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_record(NetworkConfig(C=8, n_cells=1), split="test", index=0)
    monkeypatch.setattr(NetRecord, "num_nodes", property(lambda self: 65_536))
    with pytest.raises(NetworkError, match=r"at most 65535 nodes \(got 65536\)"):
        Columns.pack([record])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_columns(data: bytes) -> None:
    with pytest.raises(DataError, match=rf"{len(data)} bytes are no columns of networks"):
        Columns.from_bytes(data)


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 255))
def test_damaged_columns(place: int, mask: int) -> None:
    data = bytearray(COLUMNS)
    data[place % len(data)] ^= mask
    with pytest.raises(DataError, match="no columns of networks, or damaged"):
        Columns.from_bytes(bytes(data))


def test_columns_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "new", np.dtype(np.int64))
    with pytest.raises(DataError, match=r"columns of networks of another version: .*new"):
        Columns.from_bytes(COLUMNS)


# -- genotypes and arguments


@settings(deadline=None)
@given(genotypes(max_steps=6))
def test_genotype_round_trip(genotype: Genotype) -> None:
    assert decode_genotype(encode_genotype(genotype)) == genotype


@pytest.mark.parametrize("genotype", [DARTS, PDARTS, ViT])
def test_damaged_genotypes(genotype: Genotype) -> None:
    code = encode_genotype(genotype)
    for place in range(len(code)):
        with pytest.raises(DataError, match="stored bytes are no genotype"):
            decode_genotype(code[:place])
        for value in range(256):
            _decode_or_refuse(code[:place] + bytes([value]) + code[place + 1 :])
    with pytest.raises(DataError, match="1 bytes follow it"):
        decode_genotype(code + b"\0")


@settings(deadline=None)
@given(st.binary(max_size=30) | st.lists(st.integers(0, 4), max_size=30).map(bytes))
def test_any_bytes_as_a_genotype(code: bytes) -> None:
    _decode_or_refuse(code)


def _decode_or_refuse(code: bytes) -> None:
    try:
        genotype = decode_genotype(code)
    except DataError:
        return
    assert encode_genotype(genotype) == code


@settings(deadline=None)
@given(network_configs())
def test_arguments_round_trip(config: NetworkConfig) -> None:
    found = encode_arguments(config)
    assert set(found) == set(ARGUMENTS)
    columns = {name: np.array([value], dtype=ARGUMENTS[name]) for name, value in found.items()}
    assert decode_arguments({name: column[0].item() for name, column in columns.items()}, config.genotype) == config


@settings(deadline=None)
@given(network_configs(), st.sampled_from(sorted(ARGUMENTS)), st.integers(-(2**31), 2**31 - 1))
def test_damaged_arguments(config: NetworkConfig, name: str, value: int) -> None:
    found = encode_arguments(config) | {name: np.array([value]).astype(ARGUMENTS[name])[0].item()}
    try:
        decoded = decode_arguments(found, config.genotype)
    except DataError:
        return
    assert encode_arguments(decoded) == found
