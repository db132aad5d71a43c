"""Results that come one by one, kept on disk until all are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppuda_like.errors import DataError

__all__ = ["PartialResults"]


class PartialResults:
    """A file of results so far, one JSON line each, that a later call continues.

    Args:
        path: of the final result; the file beside it has the suffix ``.part``.  None to keep nothing.
        identity: what the results depend on, as text.

    Attributes:
        found: the results that an earlier call left, by key.

    Raises:
        DataError: if the file is of other work.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path = None if path is None else path.with_name(path.name + ".part")
        self.found: dict[str, dict[str, Any]] = {}
        if self.path is None:
            return
        self._head = json.dumps({"identity": identity})
        lines = self._lines(self.path)
        if lines and lines[0] != self._head:
            raise DataError(
                f"'{self.path}' holds results of other work (another checkpoint, data set or choice of networks); "
                "delete it, or write to another file"
            )
        self.found = {entry["key"]: entry["value"] for entry in map(json.loads, lines[1:])}
        if lines:
            self.path.write_text("".join(line + "\n" for line in lines))  # without the incomplete last one

    def add(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a result."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            if not file.tell():
                file.write(self._head + "\n")
            file.write(json.dumps({"key": key, "value": dict(value)}) + "\n")

    def close(self) -> None:
        """Remove the file, the final result being written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    @staticmethod
    def _lines(path: Path) -> list[str]:
        """The complete lines; a call that was killed while writing leaves an incomplete last one."""
        if not path.exists():
            return []
        text = path.read_text()
        return text[: text.rfind("\n") + 1].splitlines()
