"""What a search for blocks found."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.search.blocks._auxiliary import LIGHT
from ppuda_like.search.blocks._decode import Decoded, decode

__all__ = ["BlockSearchResult"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockSearchResult:
    """Searched logits.

    Attributes:
        alpha: for a cut at each boundary, shape (B - 1,).
        beta: of the candidates for the auxiliary network at each boundary, shape (B - 1, candidates).
        candidates: names of the columns of ``beta``.
        units: names of the B units; empty if not known.
        iterations: updates done so far.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped: steps and updates without a finite loss and gradient.
        seconds: time that the call took.

    Raises:
        DataError: if the shapes differ from these, or a logit is not finite.

    Example:
        >>> found = BlockSearchResult(alpha=[0.5, -1.0], beta=[[0, 1], [2, 0]], candidates=("mlp", "linear"))
        >>> found.decode(2).boundaries, found.decode(2).auxiliaries
        ((0,), ('linear',))
    """

    alpha: Floats
    beta: Floats
    candidates: tuple[str, ...] = LIGHT
    units: tuple[str, ...] = ()
    iterations: int = 0
    finished: bool = True
    skipped: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        alpha, beta = np.asarray(self.alpha, dtype=np.float64), np.asarray(self.beta, dtype=np.float64)
        if alpha.ndim == 2 and alpha.shape[1] == 2:
            alpha = alpha[:, 0] - alpha[:, 1]
        candidates, units = tuple(self.candidates), tuple(self.units)
        if alpha.ndim != 1 or beta.shape != (len(alpha), len(candidates)):
            raise DataError(
                f"'alpha' must have shape (boundaries,) or (boundaries, 2), and 'beta' (boundaries, candidates) with "
                f"{len(candidates)} candidates (got {alpha.shape}, {beta.shape})"
            )
        if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
            raise DataError("'alpha' and 'beta' must be finite")
        if units and len(units) != len(alpha) + 1:
            raise DataError(f"'units' must name {len(alpha) + 1} units, one more than boundaries (got {len(units)})")
        for name, value in (("alpha", alpha), ("beta", beta), ("candidates", candidates), ("units", units)):
            object.__setattr__(self, name, value)

    def decode(
        self,
        num_blocks: int = 0,
        *,
        costs: Sequence[float] | None = None,
        weight: float = 0.0,
        tolerance: float = 1e-4,
    ) -> Decoded:
        """The blocks that the logits stand for; see :func:`decode`."""
        return decode(
            self.alpha,
            self.beta,
            num_blocks,
            costs=costs,
            weight=weight,
            candidates=self.candidates,
            tolerance=tolerance,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file with ``alpha``, ``beta`` and, as JSON, all else.

        Raises:
            DataError: if the file is called otherwise.
        """
        if Path(path).suffix != ".npz":
            raise DataError(f"searched logits are in an .npz file (got '{path}')")
        head = {"candidates": self.candidates, "units": self.units, "iterations": self.iterations}
        head |= {"finished": self.finished, "skipped": self.skipped}
        with replacing(path) as temporary:
            np.savez(temporary, alpha=self.alpha, beta=self.beta, head=np.array(json.dumps(head)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BlockSearchResult:
        """What :meth:`save` wrote, or a file of the published logits; no code in it is run.

        Raises:
            DataError: if there is no such file, or it is damaged.
        """
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            head: Any = json.loads(str(arrays.pop("head", "{}")))
            return cls(**{"alpha": arrays["alpha"], "beta": arrays["beta"]} | head)
        except OSError as error:
            raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
        except (BadZipFile, zlib.error, KeyError, EOFError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"'{path}' is damaged or holds no searched logits: {error}") from error
