import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ppuda_like.errors import DataError
from ppuda_like.vision import _archive
from ppuda_like.vision._archive import unpacked

MODES = {"a.zip": "", "a.tar": "w", "a.tar.gz": "w:gz", "a.tgz": "w:gz", "a.tar.xz": "w:xz", "a.TAR.BZ2": "w:bz2"}
KINDS = ["a.zip", "a.tar"]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(file, "png")
    return file.getvalue()


def pack(path: Path, names: list[str], mode: str = "w") -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for i, name in enumerate(names):
                packed.writestr(name, png(i))
        return path
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


@pytest.mark.parametrize("name", KINDS)
def test_the_content_and_what_is_wanted_of_it_name_the_folder(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / name, CLASSES)
    before, state = unpacked(archive, tmp_path / "data"), archive.stat()
    os.utime(archive, (1, 1))
    assert unpacked(archive, tmp_path / "data") == before
    cats = unpacked(archive, tmp_path / "data", ("cat/*.png",))
    assert cats != before
    assert sorted(str(file.relative_to(cats)) for file in cats.rglob("*.png")) == CLASSES[:2]
    pack(archive, [*CLASSES[:2], "cow/0.png"])
    os.utime(archive, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert archive.stat().st_size == state.st_size
    assert (unpacked(archive, tmp_path / "data") / "cow").is_dir()


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
    length = 512 * 7 if name == "a.tar" else len(whole)  # the rest is padding
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


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "evil", ["../evil.png", "cat/../../evil.png", "cat\\..\\..\\evil.png", "/evil.png", "C:evil.png"]
)
def test_no_member_is_written_elsewhere(tmp_path: Path, name: str, evil: str) -> None:
    archive = pack(tmp_path / name, ["cat/0.png", evil])
    with pytest.raises(DataError, match="would reach outside its folder; do not trust it"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []
    assert list(tmp_path.rglob("*evil.png")) == []


@pytest.mark.parametrize("name", ["./cat/0.png", "ab:c/d/0.png", "...", "a..b"])
def test_unusual_names(tmp_path: Path, name: str) -> None:
    folder = unpacked(pack(tmp_path / "a.tar", [name, "dog/0.png", "cow/0.png"]), tmp_path / "data")
    assert (folder / name).read_bytes() == png(0)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("cat")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        tar.addfile(link)
    with pytest.raises(DataError, match=r"would reach outside its folder \(.*\); do not trust it"):
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

    def counted(archive: Path, folder: Path, *arguments: Any) -> None:
        calls.append(folder)
        real(archive, folder, *arguments)

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


@pytest.mark.parametrize("name", MODES)
def test_no_more_is_written_than_allowed(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / name, CLASSES, MODES[name])
    total = sum(len(png(i)) for i in range(3))
    with pytest.raises(DataError, match=f"more than {total - 1} bytes unpacked; unpack it yourself"):
        unpacked(archive, tmp_path / "data", most_bytes=total - 1)
    assert left(tmp_path / "data") == []
    assert unpacked(archive, tmp_path / "data", most_bytes=total).is_dir()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("names", "wanted"), [([], ()), (CLASSES, ("cow/*.png",))])
def test_nothing_wanted(tmp_path: Path, name: str, names: list[str], wanted: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="holds none of the files wanted"):
        unpacked(pack(tmp_path / name, names), tmp_path / "data", wanted)
    assert left(tmp_path / "data") == []


def test_a_tar_file_that_ends_with_a_zip_file_is_a_tar_file(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.zip", CLASSES)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(inner, "b/inner.zip")
    assert zipfile.is_zipfile(tmp_path / "a.tar")
    assert [file.name for file in unpacked(tmp_path / "a.tar", tmp_path / "data").rglob("*.*")] == ["inner.zip"]


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", CLASSES)
    whole = bytearray(archive.read_bytes())
    whole[2 * 512 + 148] ^= 0x01  # the checksum of the second member's header
    archive.write_bytes(whole)
    with pytest.raises(DataError, match="damaged at byte 1024"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_a_damaged_member_of_a_zip_file(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", CLASSES)
    archive.write_bytes(archive.read_bytes().replace(png(1), png(1)[:-1] + b"?"))
    with pytest.raises(DataError, match=r"cannot unpack .*CRC"):
        unpacked(archive, tmp_path / "data")
    assert left(tmp_path / "data") == []
