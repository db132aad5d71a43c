"""A read-only table whose failed lookup names the neighbours."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TypeVar

from ppuda_like.deepnets._error import NetworkError

__all__ = ["Table"]

T = TypeVar("T")


class Table(Mapping[str, T]):
    """Entries by name, in order.

    Args:
        kind: what an entry is called in errors.
        entries: the entries.

    Raises:
        NetworkError: on the lookup of a name that is not there.

    Example:
        >>> Table("fruit", {"apple": 1, "pear": 2})["aple"]
        Traceback (most recent call last):
            ...
        ppuda_like.deepnets._error.NetworkError: unknown fruit 'aple'; did you mean ['apple']?
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self._kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            near = difflib.get_close_matches(str(name), self._entries, n=2)
            hint = f"did you mean {near}?" if near else f"there are {list(self._entries)}"
            raise NetworkError(f"unknown {self._kind} {name!r}; {hint}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Table({self._kind!r}, {list(self._entries)})"
