"""Files that come with the package, by name."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from ppuda_like.errors import CheckpointError

__all__ = ["Bundled"]


@dataclass(frozen=True)
class Bundled:
    """The .safetensors files of one folder of the package.

    Attributes:
        folder: where they are.
        kind: what they are, for messages.
    """

    folder: Path
    kind: str

    def names(self) -> list[str]:
        """Names of the files, without suffix."""
        return sorted(path.stem for path in self.folder.glob("*.safetensors"))

    def resolve(self, path_or_name: str | os.PathLike[str]) -> Path:
        """The file of a name, or the path itself where it is one; the caller checks whether it is there.

        Raises:
            CheckpointError: if it looks like a name, and no file is called so.
        """
        path = Path(path_or_name)
        name = os.fspath(path_or_name)
        if path.exists() or path.suffix or os.sep in name:
            return path
        names = self.names()
        if name in names:
            return self.folder / f"{name}.safetensors"
        near = difflib.get_close_matches(name, names)
        hint = f"did you mean {near}?" if near else f"there are {names}"
        raise CheckpointError(f"no bundled {self.kind} is called '{name}' and there is no such file; {hint}")
