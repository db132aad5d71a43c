"""A memory of weights at states that training passes through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ppuda_like._runs import checkpoint_file
from ppuda_like.errors import CheckpointError, PpudaLikeError

__all__ = ["Evict", "Snapshot", "WeightMemory"]

Evict = Literal["oldest", "worst"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A state of training.

    Attributes:
        step: how many steps it has seen.
        error: of its classification, for the eviction of the worst; lower is better.
        tensors: weights and all else that changes, by name.
    """

    step: int
    error: float
    tensors: Mapping[str, Tensor]


class WeightMemory:
    """States of training, from which SEDONA's search draws the weights it starts an update from (ICLR 2021).

    Elements are numbered in the order they were added, and copied in and out: no element shares storage with what is
    trained.  With a folder, :meth:`commit` makes the elements at that moment survive the process, each in a file
    ``<number>.safetensors``; files of elements that were drawn are removed by the next commit only, so that
    :meth:`load_state_dict` can go back to the last.

    Args:
        capacity: elements at most.
        evict: what a full memory drops: the ``"oldest"`` element or the ``"worst"``, of the highest error, which may be
            the one just added; of equally bad ones the oldest.
        folder: where elements are written; None for nowhere.
        on_disk: whether elements are in their files only, from the start.

    Raises:
        PpudaLikeError: if the capacity is not positive, or elements shall be on disk without a folder.

    Example:
        >>> memory = WeightMemory(2)
        >>> for step in range(3):
        ...     memory.add(Snapshot(step=step, error=0.5, tensors={"w": torch.ones(1)}))
        >>> memory.steps, memory.sample(torch.Generator().manual_seed(0)).step, len(memory)
        ((1, 2), 1, 1)
    """

    def __init__(
        self, capacity: int = 50, *, evict: Evict = "oldest", folder: Path | None = None, on_disk: bool = False
    ) -> None:
        if capacity < 1:
            raise PpudaLikeError(f"'capacity' must be at least 1 element (got {capacity})")
        if on_disk and folder is None:
            raise PpudaLikeError("elements on disk need a 'folder'")
        self._capacity, self._evict, self._folder, self._on_disk = capacity, evict, folder, on_disk
        self._entries: dict[int, tuple[int, float]] = {}  # step and error by number, in ascending order
        self._held: dict[int, dict[str, Tensor]] = {}
        self._next = 0

    def __len__(self) -> int:
        """Number of elements."""
        return len(self._entries)

    @property
    def steps(self) -> tuple[int, ...]:
        """How many steps each element has seen, the oldest first."""
        return tuple([step for step, _ in self._entries.values()])

    def add(self, snapshot: Snapshot) -> None:
        """Put in an element; a full memory drops one then.

        Raises:
            CheckpointError: if its file cannot be written.
        """
        number = self._next
        self._next += 1
        self._entries[number] = snapshot.step, snapshot.error
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in snapshot.tensors.items()}
        if len(self._entries) > self._capacity:
            dropped = next(iter(self._entries))
            if self._evict == "worst":
                dropped = max(self._entries, key=lambda other: (self._entries[other][1], -other))
            del self._entries[dropped]
            self._held.pop(dropped, None)
        if number not in self._entries:
            return
        if self._on_disk:
            self._write(number, tensors)
        else:
            self._held[number] = tensors

    def sample(self, generator: torch.Generator) -> Snapshot:
        """Draw an element, each as likely, and remove it.

        Args:
            generator: source of the randomness, on the CPU.

        Raises:
            PpudaLikeError: if there is none.
            CheckpointError: if its file cannot be read.
        """
        if not self._entries:
            raise PpudaLikeError("the memory of weights is empty; add an element first")
        number = list(self._entries)[int(torch.randint(len(self._entries), (), generator=generator))]
        tensors = self._held.pop(number, None)
        if tensors is None:
            tensors = self._read(number)
        step, error = self._entries.pop(number)
        return Snapshot(step=step, error=error, tensors=tensors)

    def commit(self) -> dict[str, Any]:
        """Write the elements that have no file yet; what :meth:`load_state_dict` takes.

        Raises:
            PpudaLikeError: if there is no folder.
            CheckpointError: if a file cannot be written.
        """
        home = self._home
        written = {path.name for path in home.iterdir()} if home.exists() else set()
        for number, tensors in self._held.items():
            if self._path(number).name not in written:
                self._write(number, tensors)
        return {"entries": [[n, step, error] for n, (step, error) in self._entries.items()], "next": self._next}

    def prune(self) -> None:
        """Remove the files of all but the present elements: once the state that :meth:`commit` gave is in safety."""
        for path in self._home.glob("*.safetensors"):
            if not path.stem.isdecimal() or int(path.stem) not in self._entries:
                path.unlink()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what there was at a :meth:`commit`, and remove the files of later elements.

        Raises:
            CheckpointError: if a file is missing or damaged.
        """
        self._entries = {number: (step, error) for number, step, error in state["entries"]}
        self._next = state["next"]
        missing = [number for number in self._entries if not self._path(number).exists()]
        if missing:
            raise CheckpointError(
                f"the memory of weights in '{self._home}' lacks {len(missing)} of its {len(self._entries)} "
                f"elements, such as '{self._path(missing[0]).name}'; bring them back, or start anew in another folder"
            )
        self._held = {} if self._on_disk else {number: self._read(number) for number in self._entries}
        self.prune()

    @property
    def _home(self) -> Path:
        if self._folder is None:
            raise PpudaLikeError("a memory of weights without a 'folder' cannot be written")
        return self._folder

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.safetensors"

    def _write(self, number: int, tensors: dict[str, Tensor]) -> None:
        step, error = self._entries[number]
        with checkpoint_file(self._path(number)) as path:
            save_file(tensors, path, {"step": str(step), "error": json.dumps(error)})

    def _read(self, number: int) -> dict[str, Tensor]:
        path = self._path(number)
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it has no other
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot read '{path}' of the memory of weights ({type(error).__name__}: {error}); bring it back, or "
                "start anew in another folder"
            ) from error
