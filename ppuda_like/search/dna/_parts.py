"""The parts that networks are joined from; costs are counted on the same modules that networks are made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._operations import ACTIVATIONS, Operation

__all__ = ["Head", "HeadModule", "Part", "Stem", "StemModule"]


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution of a network, with batch norm and activation.

    Attributes:
        width: output channels.
        stride: of the convolution.
        kernel: its side.
        in_channels: of the images.
        activation: one of :data:`ACTIVATIONS`.
    """

    width: int = 32
    stride: int = 2
    kernel: int = 3
    in_channels: int = 3
    activation: str = "sw"

    def __post_init__(self) -> None:
        _check_positive(self, "width", "stride", "kernel", "in_channels")
        if self.kernel % 2 == 0:
            raise CodeError(f"'kernel' of the stem must be odd (got {self.kernel})")

    def part(self, size: int) -> Part:
        """The stem as a part of a network for images of a size."""
        return Part(what=self, c_in=self.in_channels, c_out=self.width, stride=self.stride, size=size)

    def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
        """The module."""
        return StemModule(c_in, c_out, self.kernel, stride, ACTIVATIONS[self.activation]())

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"stem_k{self.kernel}_s{self.stride}_c{self.width}"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A 1x1 convolution with batch norm and activation, mean over the positions, dropout, a linear layer.

    Attributes:
        width: output channels of the convolution.
        num_classes: outputs of the linear layer.
        activation: one of :data:`ACTIVATIONS`.
        dropout: probability of zeroing an input of the linear layer, in training.
    """

    width: int = 1280
    num_classes: int = 1000
    activation: str = "sw"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _check_positive(self, "width", "num_classes")
        if not 0 <= self.dropout < 1:
            raise CodeError(f"'dropout' must lie in 0..1, 1 excluded (got {self.dropout})")

    def part(self, c_in: int, size: int) -> Part:
        """The head as a part of a network, behind features of a width and size."""
        return Part(what=self, c_in=c_in, c_out=self.num_classes, stride=1, size=size)

    def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
        """The module."""
        return HeadModule(c_in, self.width, c_out, ACTIVATIONS[self.activation](), self.dropout)

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"head_c{self.width}_classes{self.num_classes}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stem, a layer or a head at its place in a network.

    Attributes:
        what: it is.
        c_in: input channels.
        c_out: output channels; classes of a head.
        stride: of the part.
        size: side of the input.
    """

    what: Operation | Stem | Head
    c_in: int
    c_out: int
    stride: int
    size: int

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Of the features of one image, batch included."""
        return (1, self.c_in, self.size, self.size)

    @property
    def size_out(self) -> int:
        """Side of the output."""
        return -(-self.size // self.stride)

    def __str__(self) -> str:
        return f"{self.what} {self.c_in}->{self.c_out} /{self.stride} @{self.size}"

    def build(self, drop_connect: float = 0.0) -> nn.Module:
        """The module, with whatever weights its layers begin with."""
        return self.what.build(self.c_in, self.c_out, self.stride, drop_connect=drop_connect)


class StemModule(nn.Module):
    """See :class:`Stem`, which makes it."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class HeadModule(nn.Module):
    """See :class:`Head`, which makes it."""

    def __init__(self, c_in: int, width: int, num_classes: int, activation: nn.Module, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.act = activation
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(self.act(self.bn(self.conv(x)))).flatten(1)
        out = self.classifier(self.dropout(out))
        return out


def _check_positive(value: Stem | Head, *keys: str) -> None:
    name = type(value).__name__.lower()
    for key in keys:
        if getattr(value, key) < 1:
            raise CodeError(f"'{key}' of the {name} must be positive (got {getattr(value, key)})")
    if value.activation not in ACTIVATIONS:
        raise CodeError(f"'activation' must be one of {', '.join(ACTIVATIONS)} (got {value.activation!r})")
