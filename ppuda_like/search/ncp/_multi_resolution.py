"""Codes of multi-resolution networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.search.ncp._layout import LAST, STAGES, STEM
from ppuda_like.search.ncp._multi_resolution_costs import IMAGE_SIZE
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION
from ppuda_like.search.ncp._network import Head, MultiResolutionNet
from ppuda_like.search.ncp._settings import Module, from_modules, to_modules
from ppuda_like.search.ncp._text import multi_resolution_text, parse_multi_resolution

__all__ = ["MultiResolutionCode"]


@dataclass(frozen=True)
class MultiResolutionCode:
    """A network of NAS-Bench-MR (arXiv:2103.13253) as 27 numbers, valid by construction.

    Stage s = 1..4 repeats a module of s parallel branches; the numbers are the channels of the two convolutions of the
    stem, then for each stage the number of modules, residual blocks of each branch and channels of each branch, from
    the highest resolution down, and the channels of the projection at the end.  Counts are 1..4, channels 8..128 in
    steps of 8.  ``numpy.asarray(code)`` is the array of the numbers.

    Attributes:
        numbers: the code.

    Raises:
        CodeError: if it is no such code.

    Example:
        >>> text = "64_64-2_1_2_64-2_2_2_2_64_64-2_3_2_2_2_64_64_64-2_4_2_2_2_2_64_64_64_64-64"
        >>> code = MultiResolutionCode.from_text(text)
        >>> code.modules, code.params, code.flops
        ((2, 2, 2, 2), 4128754, 1959638194)
        >>> code.text == text
        True
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        (numbers,) = MULTI_RESOLUTION.check([self.numbers]).tolist()
        object.__setattr__(self, "numbers", tuple(numbers))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.numbers, dtype=np.int64 if dtype is None else dtype)

    # --------------------------------------------------------------------------------------------------- forms

    @classmethod
    def from_text(cls, text: str) -> MultiResolutionCode:
        """The code of a text: 31 numbers as :attr:`text`, or the 27 with ``_``, ``,`` or spaces between.

        Raises:
            CodeError: if it is neither, tells another number of branches than a stage has, or is off the grid.
        """
        return cls(tuple(parse_multi_resolution(text)))

    @classmethod
    def from_settings(
        cls, stem: Sequence[int], settings: Sequence[Sequence[object]], last_channel: int
    ) -> MultiResolutionCode:
        """The code of a list of layers, ``settings`` being as :attr:`settings`, lists or tuples.

        Raises:
            CodeError: if the modules are not those of four stages with 1, 2, 3 and 4 branches, or off the grid.
        """
        return cls(tuple(from_modules(stem, settings, last_channel)))

    @classmethod
    def random(cls, rng: np.random.Generator) -> MultiResolutionCode:
        """A code drawn uniformly from the space."""
        return cls(tuple(MULTI_RESOLUTION.sample(1, rng)[0].tolist()))

    @property
    def text(self) -> str:
        """The code as the benchmark writes it: 31 numbers, with the number of branches of each stage."""
        return multi_resolution_text(self.numbers)

    @property
    def settings(self) -> tuple[Module, ...]:
        """The modules in order, each (number of branches, residual blocks of each, channels of each)."""
        return to_modules(self.numbers)

    def neighbours(self) -> list[MultiResolutionCode]:
        """The codes with one number a notch less or more."""
        return [MultiResolutionCode(tuple(code)) for code in MULTI_RESOLUTION.neighbours(self.numbers).tolist()]

    # --------------------------------------------------------------------------------------------------- facts

    @property
    def stem(self) -> tuple[int, int]:
        """Channels of both convolutions of the stem."""
        first, second = (self.numbers[place] for place in STEM)
        return first, second

    @property
    def modules(self) -> tuple[int, ...]:
        """Number of modules of each stage."""
        return tuple(self.numbers[stage.repeats] for stage in STAGES)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Residual blocks of each branch of each stage."""
        return tuple(tuple(self.numbers[place] for place in stage.blocks) for stage in STAGES)

    @property
    def channels(self) -> tuple[tuple[int, ...], ...]:
        """Channels of each branch of each stage."""
        return tuple(tuple(self.numbers[place] for place in stage.channels) for stage in STAGES)

    @property
    def last_channel(self) -> int:
        """Channels of the projection at the end."""
        return self.numbers[LAST]

    @property
    def flops(self) -> int:
        """Operations of the classification network of 50 classes on 128 x 128 pixels, as the benchmark counts them.

        Multiply-accumulates count as one, elements of batch norms as two.
        """
        return int(MULTI_RESOLUTION.costs([self.numbers])[0, 0])

    @property
    def params(self) -> int:
        """Parameters of the classification network of 50 classes."""
        return int(MULTI_RESOLUTION.costs([self.numbers])[0, 1])

    # ----------------------------------------------------------------------------------------------- the network

    def network(
        self,
        *,
        head: Head = "classification",
        num_classes: int | None = None,
        in_channels: int | None = None,
        stem_strides: tuple[int, int] | None = None,
    ) -> MultiResolutionNet:
        """The network, with fresh weights; the arguments are those of :class:`MultiResolutionNet`."""
        return MultiResolutionNet(
            self, head=head, num_classes=num_classes, in_channels=in_channels, stem_strides=stem_strides
        )

    def to_graph(self, *, head: Head = "classification", image_size: int = IMAGE_SIZE) -> ComputationalGraph:
        """The computational graph of the network, every tensor operation of it, without making weights.

        :func:`module_graph` is a compact one.

        Args:
            head: as of :meth:`network`.
            image_size: height and width of the image.
        """
        with torch.device("meta"):
            net = self.network(head=head)
        return trace(net, (*net.input_shape[:-2], image_size, image_size))
