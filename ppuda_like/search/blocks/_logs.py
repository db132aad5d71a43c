"""The logs that come with the code of DGL."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ppuda_like.errors import DataError

__all__ = ["DglLog", "LogRow", "read_dgl_log"]

_ROW = re.compile(
    r"n:\s*(?P<n>\d+),\s*epoch\s+(?P<epoch>\d+),\s*loss:\s*(?P<loss>\S+),"
    r"\s*train top1:\s*(?P<train>\S+)\s+test top1:\s*(?P<test>\S+)\s*"
)


@dataclass(frozen=True, kw_only=True)
class LogRow:
    """What was measured after an epoch.

    Attributes:
        n: number of the block as the log has it: from 1 in most, always 3 in those with synthetic gradients.
        epoch: number of the epoch as the log has it: from 0 or 1.
        loss: mean training loss.
        train_top1: accuracy on the training images, 0..1; some logs have 0 in its place.
        test_top1: accuracy on the test images, 0..1.
    """

    n: int
    epoch: int
    loss: float
    train_top1: float
    test_top1: float


@dataclass(frozen=True, kw_only=True)
class DglLog:
    """A log of DGL's studies on CIFAR-10.

    Attributes:
        arguments: of the program that wrote it.
        rows: in the order of the file.
    """

    arguments: Mapping[str, Any]
    rows: tuple[LogRow, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks, ascending."""
        return tuple(sorted({row.n for row in self.rows}))

    def of_block(self, n: int) -> tuple[LogRow, ...]:
        """The rows of a block, by epoch.

        Raises:
            DataError: if there are none.
        """
        found = sorted((row for row in self.rows if row.n == n), key=lambda row: row.epoch)
        if not found:
            raise DataError(f"the log has no block {n}; it has {', '.join(map(str, self.blocks)) or 'none'}")
        return tuple(found)

    def best(self, n: int) -> LogRow:
        """The row of a block with the highest test accuracy, the first of several."""
        return max(self.of_block(n), key=lambda row: row.test_top1)


def read_dgl_log(path: str | PathLike[str]) -> DglLog:
    r"""Read a log of the code of DGL (arXiv:1901.08164): arguments, the printed network, a line per epoch and block.

    Nothing in the file is run.

    Raises:
        DataError: if it cannot be read, or is no such log.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "x.log")
        ...     _ = path.write_text("Namespace(lr=0.1)\nn: 1, epoch 1, loss: 1.5, train top1:40.5 test top1:50.0\n")
        ...     log = read_dgl_log(path)
        >>> log.arguments, log.best(1).test_top1
        ({'lr': 0.1}, 0.5)
    """
    path = Path(path)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the log '{path}' ({type(error).__name__}: {error})") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.startswith("n:"):
            continue
        rows.append(_row(line, f"line {number} of '{path}'"))
    if not lines or not rows:
        raise DataError(
            f"'{path}' must be a log with a line 'n: ..., epoch ..., loss: ...' per epoch and block (got none)"
        )
    return DglLog(arguments=_arguments(lines[0], path), rows=tuple(rows))


def _row(line: str, where: str) -> LogRow:
    found = _ROW.fullmatch(line)
    wanted = "'n: N, epoch E, loss: L, train top1:A test top1:B', with per cents"
    if found is None:
        raise DataError(f"{where} must be {wanted} (got {line[:80]!r})")
    try:
        loss, train, test = float(found["loss"]), float(found["train"]) / 100, float(found["test"]) / 100
    except ValueError as error:
        raise DataError(f"{where} must be {wanted} (got {line[:80]!r})") from error
    if not all(math.isfinite(top1) and 0 <= top1 <= 1 for top1 in (train, test)):
        raise DataError(f"{where} must have accuracies of 0 to 100 (got {line[:80]!r})")
    return LogRow(n=int(found["n"]), epoch=int(found["epoch"]), loss=loss, train_top1=train, test_top1=test)


def _arguments(line: str, path: Path) -> dict[str, Any]:
    refused = DataError(f"the first line of '{path}' must be 'Namespace(key=value, ...)' (got {line[:80]!r})")
    try:
        call = ast.parse(line, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Namespace":
            return {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise refused from error
    raise refused
