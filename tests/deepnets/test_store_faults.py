import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ppuda_like.deepnets import DeepNets, generate
from ppuda_like.deepnets import _generate as module
from ppuda_like.deepnets._store import Output
from ppuda_like.errors import DataError

NUM_NETS = 6
SHARD = 2

LIMITED = f"""
import json, os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ppuda_like.deepnets import _generate, generate

_generate.SHARD = {SHARD}
path, limits, outcomes = Path(sys.argv[1]), json.loads(sys.argv[2]), []
parts = path.with_name(path.name + ".parts")
for limit in limits:  # Python ignores the signal, so that a larger file is an error of writing, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    kept = len(list(parts.glob("*.shard")))
    with ThreadPoolExecutor(1) as executor:
        try:
            generate("test", {NUM_NETS}, path, executor=executor)
            message = None
        except Exception as error:
            message = f"{{type(error).__name__}}: {{error}}"
    shards = len(list(parts.glob("*.shard")))
    outcomes.append((message, path.exists(), shards - kept, len(os.listdir("/proc/self/fd"))))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 6 networks."""
    path = tmp_path_factory.mktemp("sound") / "nets.h5"
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(module, "SHARD", SHARD)
        generate("test", NUM_NETS, path, executor=executor)
    return path


def _everything(path: Path) -> Any:
    """All that can be read from a store, in a form that can be compared."""
    dataset = DeepNets(path, "test")
    records = [dataset.record(i) for i in range(len(dataset))]
    return (
        dataset.facts,
        {name: (values.dtype, values.tolist()) for name, values in dataset.table().items()},
        [(record.config, record.figures, record.name) for record in records],
        [
            (record.primitive.tolist(), record.cell.tolist(), record.shape.tolist(), record.edge_index.tolist())
            for record in records
        ],
    )


# -- full disks


DRAWING = (
    r"cannot write to '.*nets\.h5\.parts': (File too large|No space left on device); what is done is kept, run again"
)
WRITING = r"cannot write '.*nets\.h5': .*(File too large|No space left on device); nothing was changed"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of Linux")
def test_file_size_limit(tmp_path: Path, sound: Path) -> None:
    size, path = sound.stat().st_size, tmp_path / "nets.h5"
    assembly = np.linspace(size // 2, size - 1, 20, dtype=int).tolist()
    limits = [10, 3000, *assembly, size]
    command = [sys.executable, "-W", "ignore", "-c", LIMITED, str(path), json.dumps(limits)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outcomes = json.loads(done.stdout)
    for limit, (message, there, new, _) in zip(limits[:-1], outcomes, strict=False):
        assert re.search(WRITING if limit in assembly else DRAWING, message)
        assert not there
        assert new == (NUM_NETS // SHARD if limit == assembly[0] else 0)
    assert outcomes[-1][0] is None
    assert path.read_bytes() == sound.read_bytes()
    assert os.listdir(tmp_path) == ["nets.h5"]
    assert len({opened for *_, opened in outcomes}) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=12k", "none", str(folder)):
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _mount(*options: str) -> int:
    """Exit status of mount; 1 where there is none."""
    command = shutil.which("mount") if sys.platform == "linux" else None
    return subprocess.run([command, *options], stderr=subprocess.DEVNULL).returncode if command else 1


def test_full_disk(small_disk: Path, sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", SHARD)
    path, kept = small_disk / "nets.h5", 0
    messages = []
    with ThreadPoolExecutor(1) as executor:
        for size in range(12, 1000, 8):
            assert _mount("-o", f"remount,size={size}k", str(small_disk)) == 0
            try:
                done = generate("test", NUM_NETS, path, executor=executor)
            except DataError as error:
                messages.append(str(error))
            else:
                break
            assert not path.exists()
            shards = len(list(small_disk.glob("nets.h5.parts/*.shard")))
            assert shards >= kept
            kept = shards
    counts = [sum(re.search(known, message) is not None for message in messages) for known in (DRAWING, WRITING)]
    assert min(counts) > 0
    assert sum(counts) == len(messages)
    assert done.resumed == NUM_NETS
    assert path.read_bytes() == sound.read_bytes()
    assert os.listdir(small_disk) == ["nets.h5"]


def test_disk_full_while_a_split_is_added(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nets.h5"
    shutil.copy(sound, path)
    write = Output.write

    def fail(self: Output, data: Any) -> int:
        if self.tell() > 50_000 and self.failure is None:
            self.failure = OSError(28, "No space left on device")
        return write(self, data)

    with ThreadPoolExecutor(1) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(Output, "write", fail)
            with pytest.raises(DataError, match=r"cannot write '.*nets\.h5': .*No space left.*; nothing was changed"):
                generate("val", NUM_NETS, path, executor=executor)
        assert path.read_bytes() == sound.read_bytes()
        assert generate("val", NUM_NETS, path, executor=executor).resumed == NUM_NETS
    assert _everything(path) == _everything(sound)


def test_output_reads_what_could_not_be_written(tmp_path: Path) -> None:
    output = Output(tmp_path / "file")
    output.write(b"abcdef")
    output.check()
    output.failure = OSError("full")
    output.seek(4)
    output.write(b"EFGH")
    output.seek(7)
    output.write(b"h")
    output.truncate(3)
    output.seek(0)
    found = bytearray(b"..........")
    assert output.readinto(found) == 10
    assert bytes(found) == b"abcdEFGh\0\0"
    with output, pytest.raises(OSError, match="full"):
        output.check()
    assert (tmp_path / "file").read_bytes() == b"abcdef"


# -- damaged files


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.002, 0.02, 0.2, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(tmp_path: Path, sound: Path, part: float) -> None:
    data, path = sound.read_bytes(), tmp_path / "nets.h5"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(DataError, match=r"nets\.h5' is no HDF5 file, or damaged"):
        DeepNets(path, "test")


@pytest.mark.parametrize("mask", [1, 128, 255])
def test_flipped_bits(tmp_path: Path, sound: Path, mask: int) -> None:
    data, path = sound.read_bytes(), tmp_path / "nets.h5"
    wanted, outcomes = _everything(sound), Counter[str]()
    for place in range(mask % 7, len(data), len(data) // 100):
        path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
        try:
            found = _everything(path)
        except DataError:
            outcomes["refused"] += 1
        else:
            assert found == wanted, place
            outcomes["of no effect"] += 1
    assert outcomes["refused"] > 50


@pytest.mark.parametrize("value", [0, 255])
def test_lost_blocks(tmp_path: Path, sound: Path, value: int) -> None:
    data, path, block = sound.read_bytes(), tmp_path / "nets.h5", 512
    wanted, outcomes = _everything(sound), Counter[str]()
    for start in range(0, len(data), 2 * block):
        path.write_bytes(data[:start] + bytes([value] * len(data[start : start + block])) + data[start + block :])
        try:
            found = _everything(path)
        except DataError:
            outcomes["refused"] += 1
        else:
            assert found == wanted, start
            outcomes["of no effect"] += 1
    assert outcomes["refused"] > 20


def test_damage_of_one_column_leaves_the_others(tmp_path: Path, sound: Path) -> None:
    path = tmp_path / "nets.h5"
    data = bytearray(sound.read_bytes())
    with h5py.File(sound) as file:
        chunk = file["test/edges"].id.get_chunk_info(0)
    data[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(data)
    dataset = DeepNets(path, "test")
    assert dataset.table()["depth"].tolist() == DeepNets(sound, "test").table()["depth"].tolist()
    assert dataset.config(0) == DeepNets(sound, "test").config(0)
    with pytest.raises(DataError, match=r"column '/test/edges' of '.*' is damaged: .*'ppuda-like dataset check'"):
        dataset[0]


# -- files that are something else


def _foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _newer(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 2


def _without(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            del file[name]

    return change


def _without_attribute(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["test"].attrs["seed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Path.unlink, r"there is no file '.*nets\.h5'; 'ppuda-like dataset generate' makes one"),
        (lambda path: path.write_text("text"), r"nets\.h5' is no HDF5 file, or damaged: .*signature not found"),
        (
            _foreign,
            r"an HDF5 file, but no store of networks \(its attribute 'format' is None, not 'ppuda-like networks'",
        ),
        (_newer, "has format version 2; this package reads version 1, update it"),
        (_without("test/table/depth"), r"split 'test' of '.*' lacks table/depth; the file is damaged"),
        (_without("test/nodes"), "lacks nodes; the file is damaged"),
        (_without("test/edge_ptr"), "lacks edge_ptr; the file is damaged"),
        (_without_attribute, "lacks seed; the file is damaged"),
        (_without("test"), "holds no split 'test'; it holds none"),
    ],
)
def test_one_clear_error(tmp_path: Path, sound: Path, change: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "nets.h5"
    shutil.copy(sound, path)
    change(path)
    with pytest.raises(DataError, match=message):
        DeepNets(path, "test")


def test_unknown_split(sound: Path) -> None:
    with pytest.raises(DataError, match=r"nets\.h5' holds no split 'tets'; it holds test"):
        DeepNets(sound, "tets")


@pytest.mark.parametrize("i", [6, -7])
def test_number_out_of_range(sound: Path, i: int) -> None:
    dataset = DeepNets(sound, "test")
    for read in (dataset.__getitem__, dataset.record, dataset.config, dataset.genotype, dataset.graph, dataset.network):
        with pytest.raises(IndexError, match=rf"the dataset has networks 0\.\.5 \(got {i}\)"):
            read(i)
