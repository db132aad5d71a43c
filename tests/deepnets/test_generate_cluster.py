"""Runs on a cluster of Dask: a scheduler and two workers, each a process of its own, one of which is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ppuda_like.deepnets import _generate, generate
from ppuda_like.errors import DataError

distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")

NUM_NETS = 120
PATIENCE = 60


class Cluster:
    """Processes of Dask on this machine."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start("scheduler", "--port", "0", "--no-dashboard")

    def start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", *options]
        process = subprocess.Popen(
            [*command, "--scheduler-file", str(self.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", str(PATIENCE)]
        return self.start("worker", *options, "--local-directory", str(self.file.parent))

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Any]:
    with distributed.Client(scheduler_file=str(cluster.file), timeout=PATIENCE) as made:
        yield made


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_generate, "SHARD", 5)


def _kill_after(shards: int, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker killed when a run has written some shards."""
    write = _generate._Shards.write

    def kill(self: _generate._Shards, number: int, data: bytes) -> None:
        write(self, number, data)
        if number + 1 == shards:
            victim.kill()

    monkeypatch.setattr(_generate._Shards, "write", kill)


def test_lost_workers(cluster: Cluster, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1) as single:
        wanted = generate("test", NUM_NETS, tmp_path / "wanted.h5", executor=single).path.read_bytes()
    path = tmp_path / "nets.h5"
    first, second = cluster.worker(), cluster.worker()
    client.wait_for_workers(2, timeout=PATIENCE)

    # One of two workers is lost: the other one does its work.
    with monkeypatch.context() as patch:
        _kill_after(3, first, patch)
        assert generate("test", NUM_NETS, path, executor=client.get_executor()).resumed == 0
    assert first.wait(PATIENCE) < 0
    assert second.poll() is None
    assert path.read_bytes() == wanted
    path.unlink()

    # The last one is lost, and the scheduler gives up.
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    with monkeypatch.context() as patch:
        _kill_after(4, second, patch)
        with pytest.raises(DataError, match=r"shard 4 was lost: a worker died .* run again to go on"):
            generate("test", NUM_NETS, path, executor=client.get_executor())
    assert not path.exists()

    # A new worker goes on from there.
    cluster.worker()
    assert generate("test", NUM_NETS, path, executor=client.get_executor()).resumed == 20
    assert path.read_bytes() == wanted
    assert sorted(os.listdir(tmp_path)) == ["nets.h5", "wanted.h5"]
