"""Runs that are killed at random moments, over and over; ``PPUDA_LIKE_KILLS`` says how often."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ppuda_like.deepnets import _generate, generate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="groups of processes are those of POSIX")

KILLS = int(os.environ.get("PPUDA_LIKE_KILLS", "5"))
NUM_NETS = 120
SHARD = 4  # small parts: many moments at which to be killed
PATIENCE = 60.0

SCRIPT = f"""
import sys
from concurrent.futures import ProcessPoolExecutor
from ppuda_like.deepnets import _generate, generate
_generate.SHARD = {SHARD}
if __name__ == "__main__":
    with ProcessPoolExecutor(2, initializer=_generate.start_worker) as executor:
        generate("test", {NUM_NETS}, sys.argv[1], executor=executor)
"""


def _start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _wait(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Until a run is where it should be, or over."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not reached():
        assert time.monotonic() < end, "the run hangs"
        time.sleep(0.002)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)  # ends when the last worker has gone


def _drawn(path: Path) -> int:
    return len(list(path.with_name(path.name + ".parts").glob("*.shard")))


def _unfinished(path: Path) -> set[Path]:
    """Files that are or were the store in the making."""
    return set(path.with_name(path.name + ".parts").glob(f".{path.stem}-*"))


def _undisturbed(path: Path, before: bytes | None, monkeypatch: pytest.MonkeyPatch) -> bytes:
    if before is not None:
        path.write_bytes(before)
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(_generate, "SHARD", SHARD)
        generate("test", NUM_NETS, path, executor=executor)
    return path.read_bytes()


def test_store_is_complete_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wanted").mkdir()
    with ThreadPoolExecutor(1) as executor:
        older = generate("val", 5, tmp_path / "wanted" / "val.h5", executor=executor).path.read_bytes()
    wanted = {
        before: _undisturbed(tmp_path / "wanted" / f"{len(before or b'')}.h5", before, monkeypatch)
        for before in (None, older)
    }
    path = tmp_path / "runs" / "nets.h5"
    path.parent.mkdir()
    path.write_bytes(older)
    before: bytes | None = older
    rng = random.Random(0)
    seen: Counter[str] = Counter()
    for kill in range(KILLS):
        moment = ("start", "drawing", "assembly")[kill % 3]
        target, old = _drawn(path) + rng.randint(1, NUM_NETS // SHARD // 3), _unfinished(path)
        process = _start(path)
        try:
            if moment == "drawing":
                _wait(process, lambda target=target, old=old: _drawn(path) >= target or bool(_unfinished(path) - old))
            elif moment == "assembly":
                _wait(process, lambda old=old: bool(_unfinished(path) - old))
            time.sleep(rng.uniform(0, {"start": 3, "drawing": 0.02, "assembly": 1.5}[moment]))
        finally:
            _kill(process)
        found = path.read_bytes() if path.exists() else None
        assert found in (before, wanted[before])
        assert found == wanted[before] or process.returncode != 0
        assert set(os.listdir(path.parent)) <= {"nets.h5", "nets.h5.parts"}
        outcome = "too late" if process.returncode == 0 else "complete" if found == wanted[before] else "as it was"
        seen[f"{moment}: {outcome}"] += 1
        if found == wanted[before]:  # begin anew, with a new or an existing store
            before = rng.choice([None, older])
            path.unlink()
            if before is not None:
                path.write_bytes(before)
    print(dict(seen))
    last = _start(path)
    last.communicate(timeout=PATIENCE)
    assert last.returncode == 0
    assert path.read_bytes() == wanted[before]
    assert os.listdir(path.parent) == ["nets.h5"]


def test_workers_end_with_their_run(tmp_path: Path) -> None:
    path = tmp_path / "nets.h5"
    process = _start(path)
    try:
        _wait(process, lambda: _drawn(path) > 0)
        process.kill()
        process.communicate(timeout=PATIENCE)  # ends when the last worker has gone
    finally:
        _kill(process)
    assert process.returncode == -signal.SIGKILL
