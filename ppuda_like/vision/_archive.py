"""Data sets that come as a zip or tar file."""

from __future__ import annotations

import hashlib
import logging
import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from ppuda_like.errors import DataError

__all__ = ["ARCHIVE_SUFFIXES", "is_archive", "unpacked"]

_log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

_SPLITS = ("train", "val", "test")
_MOST_BYTES = 256 << 30
_PROGRESS: dict[str, Any] = {"desc": "unpack", "unit": "file", "disable": None, "leave": False}


def is_archive(path: Path) -> bool:
    """Whether the name is that of a zip or tar file."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpacked(archive: Path, root: Path, wanted: tuple[str, ...] = (), *, most_bytes: int = _MOST_BYTES) -> Path:
    """The folder that an archive was unpacked to, now or earlier.

    It lies under ``root`` and is named after the archive, its content and what was wanted of it
    (``NAME-<8 hex digits>``), so that another archive of the same name is not mistaken for it; for this the archive is
    read once at each call.  It appears complete or not at all, and processes that ask for it at the same time wait for
    the first.  No member is written outside of it, and none keeps unusual permissions.

    Args:
        archive: a zip or tar file, the latter compressed with gzip, xz, bzip2 or not.
        root: where to unpack; made if it is missing.
        wanted: patterns of the files to take, compared with the end of their paths (:meth:`pathlib.PurePath.match`);
            everything by default.
        most_bytes: what the files may take up unpacked.

    Returns:
        The folder, or, where all that the archive holds lies in one folder, that one.

    Raises:
        DataError: if the archive is missing, no zip or tar file, damaged, cut short, holds nothing wanted or too much,
            or a member would be written elsewhere.
    """
    if not archive.is_file():
        raise DataError(f"no archive at '{archive}'; give a zip or tar file, or the folder that it holds")
    suffix = next((end for end in ARCHIVE_SUFFIXES if archive.name.lower().endswith(end)), archive.suffix)
    folder = root / f"{archive.name[: len(archive.name) - len(suffix)]}-{_hash(archive, wanted)}"
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{folder.name}.lock"):
            if not folder.is_dir():
                _log.info("unpacking '%s' to '%s'", archive, folder)
                _unpack(archive, folder, wanted, most_bytes)
    return _top(folder)


def _hash(archive: Path, wanted: tuple[str, ...]) -> str:
    found = hashlib.sha256()
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    for pattern in wanted:
        found.update(f"/{pattern}".encode())
    return found.hexdigest()[:8]


def _unpack(archive: Path, folder: Path, wanted: tuple[str, ...], most_bytes: int) -> None:
    temporary = folder.with_name(f".{folder.name}.part")
    _remove(temporary)  # of a process that was killed
    members = _Members(archive, wanted, most_bytes)
    try:
        temporary.mkdir()
        if tarfile.is_tarfile(archive):  # asked first: a tar file whose last member is a zip file ends like one
            _unpack_tar(archive, temporary, members)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(archive, temporary, members)
        else:
            raise tarfile.ReadError("it is neither a zip nor a tar file, or is cut short")
        if not members.files:
            raise DataError(f"'{archive}' holds none of the files wanted; is it the right archive?")
        temporary.rename(folder)
    except tarfile.FilterError as error:
        raise DataError(f"'{archive}' holds what would reach outside its folder ({error}); do not trust it") from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        RuntimeError,  # what zipfile has for a password and an unknown compression
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system: no space left, no permission
        reason = (str(error).splitlines() or ["damaged"])[0].rstrip(":")
        raise DataError(f"cannot unpack '{archive}': {reason}; get the archive again") from error
    finally:
        _remove(temporary)


class _Members:
    """Decides which members of an archive are written, before each of them is.

    Args:
        archive: for messages.
        wanted: patterns of the files to take; everything if there are none.
        most_bytes: what they may take up together.
    """

    def __init__(self, archive: Path, wanted: tuple[str, ...], most_bytes: int) -> None:
        self.archive = archive
        self.wanted = wanted
        self.most_bytes = most_bytes
        self.files = 0
        self.bytes = 0

    def take(self, name: str, size: int, *, is_file: bool) -> bool:
        """Whether to write a member.

        Raises:
            DataError: if it is wanted, but would be written elsewhere, or is too much.
        """
        if self.wanted and not (is_file and any(PurePosixPath(name).match(pattern) for pattern in self.wanted)):
            return False
        path = PureWindowsPath(name)  # which knows both kinds of slashes, and drives
        if path.anchor or ".." in path.parts or "\0" in name:
            raise DataError(f"'{self.archive}' holds {name!r}, which would reach outside its folder; do not trust it")
        self.files += is_file
        self.bytes += size
        if self.bytes > self.most_bytes:
            raise DataError(
                f"'{self.archive}' would take more than {self.most_bytes:,} bytes unpacked; unpack it yourself if it "
                "is what you want, and give the folder"
            )
        return True


def _unpack_zip(archive: Path, folder: Path, members: _Members) -> None:
    with zipfile.ZipFile(archive) as packed:
        for info in tqdm(packed.infolist(), **_PROGRESS):
            if members.take(info.filename, info.file_size, is_file=not info.is_dir()):
                packed.extract(info, folder)  # compares the checksum


def _unpack_tar(archive: Path, folder: Path, members: _Members) -> None:
    with tarfile.open(archive) as taped:
        taken = (
            member
            for member in tqdm(taped, **_PROGRESS)
            if members.take(member.name, member.size if member.isreg() else 0, is_file=member.isreg())
        )
        taped.extractall(folder, taken, filter="data")
        _check_end(taped)


def _check_end(taped: tarfile.TarFile) -> None:
    """All of the tar file was read: tarfile takes a damaged or missing header for the end.

    Raises:
        tarfile.ReadError: if it was not.
    """
    file = taped.fileobj
    if file is None:
        raise tarfile.ReadError("the file is closed")
    file.seek(taped.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends without an end mark")
    if any(block):
        raise tarfile.ReadError(f"damaged at byte {taped.offset}")
    while file.read(1 << 20):  # what compresses it compares its checksum at the very end
        pass


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _top(folder: Path) -> Path:
    """The folder itself, or the one that holds everything; a folder of one class or of one split is not looked into."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].name in _SPLITS:
            return folder
        if not any(entry.is_dir() for entry in entries[0].iterdir()):
            return folder
        folder = entries[0]
