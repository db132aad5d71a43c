"""Image folders that come as a tar file."""

from __future__ import annotations

import hashlib
import logging
import lzma
import shutil
import tarfile
import zlib
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from ppuda_like.errors import DataError

__all__ = ["ARCHIVE_SUFFIXES", "is_archive", "unpacked"]

_log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

_SPLITS = ("train", "val", "test")


def is_archive(path: Path) -> bool:
    """Whether the name is that of a tar file."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpacked(archive: Path, root: Path) -> Path:
    """The folder of images that an archive was unpacked to, now or earlier.

    It lies under ``root`` and is named after the archive's name, length and time, so that a changed archive is unpacked
    anew.  It appears complete or not at all, and processes that ask for it at the same time wait for the first.
    No member is written outside of it, and none keeps unusual permissions (the filter ``"data"`` of :mod:`tarfile`).

    Args:
        archive: a tar file, compressed with gzip, xz, bzip2 or not.
        root: where to unpack; made if it is missing.

    Returns:
        The folder, or, where all that the archive holds lies in one folder, that one.

    Raises:
        DataError: if the archive is missing, damaged, cut short, or a member would be written elsewhere.
    """
    if not archive.is_file():
        raise DataError(f"no archive at '{archive}'; give a tar file of an image folder, or the folder")
    state = archive.stat()
    name = next(archive.name[: -len(suffix)] for suffix in ARCHIVE_SUFFIXES if archive.name.lower().endswith(suffix))
    facts = f"{archive.name}/{state.st_size}/{state.st_mtime_ns}"
    folder = root / f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{folder.name}.lock"):
            if not folder.is_dir():
                _log.info("unpacking '%s' to '%s'", archive, folder)
                _unpack(archive, folder)
    return _top(folder)


def _unpack(archive: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.part")
    _remove(temporary)  # of a process that was killed
    try:
        with tarfile.open(archive) as tar:
            progress = tqdm(tar, desc="unpack", unit="file", disable=None, leave=False)
            tar.extractall(temporary, members=progress, filter="data")
            # A tar file ends with a block of zeros, which is read but not counted; one that was cut between two
            # members, or in the header of one, reads like a whole one but for that.
            if tar.fileobj is None or tar.fileobj.tell() < tar.offset + tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it ends without an end mark")
            while tar.fileobj.read(1 << 20):  # what compresses it compares its checksum at the very end
                pass
        temporary.rename(folder)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system: no space left, no permission
        reason = (str(error).splitlines() or ["damaged"])[0].rstrip(":")
        raise DataError(f"cannot unpack '{archive}': {reason}; get the archive again") from error
    finally:
        _remove(temporary)


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
