"""Decoded images kept in a file, for folders that take long to decode."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ppuda_like._files import replacing

__all__ = ["files_key", "read_decoded", "write_decoded"]

_log = logging.getLogger(__name__)

_FORMAT = 1


def files_key(root: Path, files: Sequence[str], size: int) -> str:
    """What decoded images depend on, hashed: names, lengths and times of the files, and the size asked for."""
    states = ((root / file).stat() for file in files)
    facts = [_FORMAT, size, *((file, s.st_size, s.st_mtime_ns) for file, s in zip(files, states, strict=True))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_decoded(path: Path, key: str) -> dict[str, Tensor] | None:
    """The tensors kept under a key; None where there are none, or those of other files."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                _log.info("the images kept in '%s' are out of date", path)
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        _log.warning("'%s' is damaged (%s); the images are decoded again", path, error)
        return None


def write_decoded(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep tensors under a key, in place of what the file held before."""
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"key": key})
