"""Data sets that come as an archive, unpacked beside it."""

from __future__ import annotations

import gzip
import hashlib
import logging
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from ppuda_like.errors import DataError

__all__ = ["unpacked"]

logger = logging.getLogger(__name__)

_MOST_BYTES = 4 << 30


def unpacked(archive: Path, wanted: Callable[[PurePosixPath], bool], *, most_bytes: int = _MOST_BYTES) -> Path:
    """The folder that an archive was unpacked to, now or earlier.

    The folder lies beside the archive and is named after it and its content (``NAME-<8 hex digits>``), so that another
    archive of the same name is not mistaken for it.  It appears complete or not at all.

    Args:
        archive: a zip or tar file, compressed or not.
        wanted: which of its files to take, by their path in it.
        most_bytes: what they may take up unpacked.

    Raises:
        DataError: if it is no such file, is damaged, holds nothing wanted or too much, or a wanted member would be
            written outside the folder.
    """
    folder = archive.with_name(f"{archive.name.split('.')[0]}-{_sha256(archive)[:8]}")
    if folder.is_dir():
        logger.info("%s was unpacked before, to %s", archive, folder)
        return folder
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=archive.parent))
    try:
        _extract(archive, temporary, wanted, most_bytes)
        temporary.chmod(0o755)  # mkdtemp makes folders for the owner alone
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    logger.info("%s was unpacked to %s", archive, folder)
    return folder


def _extract(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool], most_bytes: int) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                files = [info for info in packed.infolist() if not info.is_dir()]
                infos = [info for info in files if wanted(PurePosixPath(info.filename))]
                _check(archive, [(info.filename, info.file_size) for info in infos], most_bytes)
                packed.extractall(folder, infos)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as taped:
                members = [member for member in taped if member.isfile() and wanted(PurePosixPath(member.name))]
                _check_end(taped)
                _check(archive, [(member.name, member.size) for member in members], most_bytes)
                taped.extractall(folder, members, filter="data")
        else:
            raise DataError(f"'{archive}' is neither a folder nor a zip or tar file; give one of these")
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        RuntimeError,
    ) as error:
        # zipfile has no error of its own for a password and an unknown compression: RuntimeError
        raise DataError(f"cannot unpack '{archive}' ({type(error).__name__}: {error}); download it again") from error


def _check_end(taped: tarfile.TarFile) -> None:
    """The tar file ends after its last member: tarfile takes a damaged header for the end.

    Raises:
        tarfile.ReadError: if it does not.
    """
    file = taped.fileobj
    if file is None:
        raise tarfile.ReadError("the file is closed")
    file.seek(taped.offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"damaged at byte {taped.offset}")
    while file.read(1 << 20):  # to the end, where compressed files have their checksum
        pass


def _check(archive: Path, members: Iterable[tuple[str, int]], most_bytes: int) -> None:
    """Before anything is written: no member leaves the folder, and together they are not too large."""
    total = 0
    for name, size in members:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise DataError(f"'{archive}' holds '{name}', which would be written outside its folder; do not trust it")
        total += size
    if not total:
        raise DataError(f"'{archive}' holds none of the files wanted; is it the right archive?")
    if total > most_bytes:
        raise DataError(
            f"'{archive}' would take {total:,} bytes unpacked, more than {most_bytes:,}; unpack it yourself if it is "
            "what you want, and give the folder"
        )


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
