import io
import os
import tarfile
import threading
from pathlib import Path

import pytest
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import _archive
from ppuda_like.vision._archive import unpacked

MODES = {"a.tar": "w", "a.tar.gz": "w:gz", "a.tgz": "w:gz", "a.tar.xz": "w:xz", "a.TAR.BZ2": "w:bz2"}


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "png")
    return file.getvalue()


def pack(path: Path, names: list[str], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for i, name in enumerate(names):
            member = tarfile.TarInfo(name)
            data = png(i)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


CLASSES = ["cat/0.png", "cat/1.png", "dog/0.png"]


@pytest.mark.parametrize("name", MODES)
def test_archives_are_unpacked_once(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / name, CLASSES, MODES[name])
    folder = unpacked(archive, tmp_path / "data")
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.png")) == CLASSES
    assert (folder / "dog" / "0.png").read_bytes() == png(2)
    (folder / "cat" / "0.png").unlink()
    assert unpacked(archive, tmp_path / "data") == folder
    assert not (folder / "cat" / "0.png").exists()


def test_a_changed_archive_is_unpacked_anew(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", CLASSES)
    before = unpacked(archive, tmp_path)
    os.utime(archive, (1, 1))
    assert unpacked(archive, tmp_path) != before


@pytest.mark.parametrize(
    ("names", "top"),
    [
        (["x/cat/0.png", "x/dog/0.png"], "x"),
        (["x/y/cat/0.png", "x/y/dog/0.png"], "x/y"),
        (["x/cat/0.png", "x/dog/0.png", "._x", "__MACOSX/x/._cat"], "x"),
        (["train/cat/0.png", "train/dog/0.png"], ""),
        (["cat/0.png"], ""),
        (["x/cat/0.png", "readme.txt"], ""),
    ],
)
def test_a_single_top_folder_is_looked_into(tmp_path: Path, names: list[str], top: str) -> None:
    folder = unpacked(pack(tmp_path / "a.tar", names), tmp_path / "data")
    (only,) = (entry for entry in (tmp_path / "data").iterdir() if not entry.name.startswith("."))
    assert folder == only / top


def left(root: Path) -> list[Path]:
    return [entry for entry in root.glob("*") if entry.suffix != ".lock"] if root.exists() else []


@pytest.mark.parametrize("name", MODES)
def test_an_archive_cut_anywhere_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    whole = pack(tmp_path / name, CLASSES, MODES[name]).read_bytes()
    length = len(whole) if MODES[name] != "w" else 512 * 6  # the rest is padding
    for end in sorted({*range(0, length, max(1, length // 12)), *range(0, length, 512)}):
        archive = tmp_path / name
        archive.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"cannot unpack '.*'.*get the archive again"):
            unpacked(archive, tmp_path / "data")
        assert left(tmp_path / "data") == []


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_damaged_bytes_are_noticed(tmp_path: Path, mode: str) -> None:
    archive = pack(tmp_path / "a.tar.gz", CLASSES, mode)
    whole = bytearray(archive.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    archive.write_bytes(whole)
    with pytest.raises(DataError, match="cannot unpack"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []


@pytest.mark.parametrize("name", ["../evil.png", "cat/../../evil.png"])
def test_no_member_is_written_elsewhere(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "a.tar", ["cat/0.png", name])
    with pytest.raises(DataError, match="cannot unpack"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []
    assert list(tmp_path.rglob("evil.png")) == []


def test_absolute_names_are_taken_as_relative(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", ["cat/0.png", "dog/0.png", f"{tmp_path}/evil.png"])
    folder = unpacked(archive, tmp_path / "data")
    assert [folder in file.parents for file in tmp_path.rglob("evil.png")] == [True]


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("cat")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        tar.addfile(link)
    with pytest.raises(DataError, match="cannot unpack"):
        unpacked(archive, tmp_path / "data")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", CLASSES)
    folder = unpacked(archive, tmp_path / "data")
    part = folder.with_name(f".{folder.name}.part")
    folder.rename(part)
    (part / "cat" / "half.png").touch()
    assert not (unpacked(archive, tmp_path / "data") / "cat" / "half.png").exists()
    assert not part.exists()


def test_processes_that_ask_together_unpack_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.tar", CLASSES)
    calls = []
    real = _archive._unpack

    def counted(archive: Path, folder: Path) -> None:
        calls.append(folder)
        real(archive, folder)

    monkeypatch.setattr(_archive, "_unpack", counted)
    threads = [threading.Thread(target=unpacked, args=(archive, tmp_path / "data")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    archive = pack(tmp_path / "a.tar", CLASSES)
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no archive at '.*a.tar'"):
        unpacked(tmp_path / "a.tar", tmp_path)
