"""The operations a layer may be: what they are, how they are written, and the modules they make."""

from __future__ import annotations

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from torch import nn

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._blocks import DepthwiseSeparableBlock, InvertedResidualBlock

__all__ = [
    "ACTIVATIONS",
    "DepthwiseSeparable",
    "InvertedResidual",
    "Operation",
    "list_operations",
    "make_operation",
    "parse_operation",
    "register_operation",
]

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"hs": nn.Hardswish, "r6": nn.ReLU6, "re": nn.ReLU, "sw": nn.SiLU}
)
"""Activations by the letters they are written with: hard swish, ReLU6, ReLU and swish."""

RESERVED = ("r", "s", "c")
"""Keys that a layer is written with, beside those of its operation: repeats, stride, output channels."""

_TOKEN = re.compile(r"([a-z]+)([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, kw_only=True)
class Operation(ABC):
    """What a layer does, whatever its width and stride: subclasses are frozen dataclasses with a text form.

    The text is the kind and the options, joined by underscores: ``ir_k3_e6_se0.25``.  A subclass says in ``keys`` which
    option each of its fields is, and becomes readable by :func:`register_operation`.

    Attributes:
        kind: what the text begins with.
        keys: field of each option that is a number, in the order they are written in.
        words: field of each option whose value is letters.
        flags: field and value that a word without a value stands for.
    """

    kind: ClassVar[str]
    keys: ClassVar[Mapping[str, str]] = MappingProxyType({})
    words: ClassVar[Mapping[str, str]] = MappingProxyType({})
    flags: ClassVar[Mapping[str, tuple[str, Any]]] = MappingProxyType({})

    @abstractmethod
    def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
        """The module from (batch, c_in, height, width) to (batch, c_out, ceil(height / stride), ...).

        Args:
            c_in: channels of the input.
            c_out: channels of the output.
            stride: of the layer.
            drop_connect: probability of leaving out the residual branch of an image, in training.
        """

    def options(self) -> list[tuple[str, str]]:
        """Options that differ from their defaults or have none, as (key, value); a flag has an empty value."""
        defaults = {field.name: field.default for field in fields(self)}
        found = [
            (key, f"{getattr(self, name):g}") for key, name in self.keys.items() if getattr(self, name) is not None
        ]
        found += [
            (key, getattr(self, name)) for key, name in self.words.items() if getattr(self, name) != defaults[name]
        ]
        found += [(word, "") for word, (name, value) in self.flags.items() if getattr(self, name) == value]
        return found

    def __str__(self) -> str:
        return "_".join([self.kind, *(key + value for key, value in self.options())])


_KINDS: dict[str, type[Operation]] = {}
Kind = TypeVar("Kind", bound=type[Operation])


def register_operation(kind: Kind) -> Kind:
    """Make a subclass of :class:`Operation` readable from text; a decorator.

    Raises:
        CodeError: if another class has its ``kind``, or an option is ``r``, ``s`` or ``c``: those are a layer's.

    Example:
        >>> from torch import nn
        >>> @register_operation
        ... @dataclass(frozen=True, kw_only=True)
        ... class Convolution(Operation):
        ...     kind = "example"
        ...     keys = {"k": "kernel"}
        ...     kernel: int
        ...
        ...     def build(self, c_in, c_out, stride, *, drop_connect=0.0):
        ...         return nn.Conv2d(c_in, c_out, self.kernel, stride, self.kernel // 2)
        >>> parse_operation("example_k5").build(3, 8, 1)
        Conv2d(3, 8, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    """
    known = _KINDS.get(kind.kind)
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise CodeError(f"operations '{kind.kind}' are {known.__qualname__}; give {kind.__qualname__} another kind")
    clash = set(RESERVED) & {*kind.keys, *kind.words, *kind.flags}
    if clash:
        raise CodeError(f"{kind.__qualname__} cannot have the options {sorted(clash)}: {RESERVED} are those of a layer")
    _KINDS[kind.kind] = kind
    return kind


def list_operations() -> list[str]:
    """The kinds of operations that can be read from text."""
    return sorted(_KINDS)


def parse_operation(text: str) -> Operation:
    """The operation that a text such as ``ir_k3_e6_se0.25`` stands for.

    Raises:
        CodeError: if the kind is unknown, an option is unknown, missing, given twice, or out of its range.
    """
    kind, *tokens = text.split("_")
    return make_operation(kind, tokens, text)


def make_operation(kind: str, tokens: list[str], text: str) -> Operation:
    """The operation of a kind with options as they are written; ``text`` is what messages quote."""
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, n=2)
        hint = f"did you mean {near}?" if near else f"there are {list_operations()}"
        raise CodeError(f"unknown kind of operation {kind!r} in '{text}'; {hint}")
    cls = _KINDS[kind]
    values: dict[str, Any] = {}
    for token in tokens:
        name, value = _option(cls, token, text)
        if name in values:
            raise CodeError(f"'{name}' is given twice in '{text}'")
        values[name] = value
    wanted = {field.name for field in fields(cls) if field.default is MISSING}
    missing = [key for key, name in cls.keys.items() if name in wanted - values.keys()]
    if missing:
        raise CodeError(f"'{text}' lacks {', '.join(missing)}; operations '{kind}' take {', '.join(_known(cls))}")
    try:
        return cls(**values)
    except CodeError as error:
        raise CodeError(f"in '{text}': {error}") from error


def _option(cls: type[Operation], token: str, text: str) -> tuple[str, Any]:
    if token in cls.flags:
        return cls.flags[token]
    for key, name in cls.words.items():
        if token.startswith(key) and token[len(key) :]:
            return name, token[len(key) :]
    match = _TOKEN.fullmatch(token)
    if match is None or match[1] not in cls.keys:
        raise CodeError(f"unknown option '{token}' in '{text}'; operations '{cls.kind}' take {', '.join(_known(cls))}")
    value = float(match[2])
    return cls.keys[match[1]], int(value) if value == int(value) and "." not in match[2] else value


def _known(cls: type[Operation]) -> list[str]:
    return [*cls.keys, *cls.words, *cls.flags]


@dataclass(frozen=True, kw_only=True)
class _MobileOperation(Operation):
    """What both kinds of the MobileNet family have."""

    kernel: int
    se: float | None = None
    activation: str = "sw"
    skip: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, int) or self.kernel < 1 or self.kernel % 2 == 0:
            raise CodeError(f"'kernel' must be odd and positive (got {self.kernel})")
        if self.se is not None:
            object.__setattr__(self, "se", float(self.se))
            if not 0 < self.se <= 1:
                raise CodeError(f"'se' must lie in 0..1, 0 excluded; leave it out for none (got {self.se})")
        if self.activation not in ACTIVATIONS:
            raise CodeError(f"'activation' must be one of {', '.join(ACTIVATIONS)} (got {self.activation!r})")

    def squeezed(self, c_in: int) -> int:
        """Channels between the two layers of squeeze and excitation, from the block's input; 0 for none."""
        return 0 if self.se is None else max(1, math.floor(c_in * self.se))


@register_operation
@dataclass(frozen=True, kw_only=True)
class InvertedResidual(_MobileOperation):
    """MBConv: 1x1 expansion, depthwise convolution, squeeze and excitation, 1x1 projection (arXiv:1905.11946).

    With e the expansion, k the kernel, a block has mid = floor(c_in * e) channels inside and
    ``c_in * mid + k * k * mid + mid * c_out + 2 * (2 * mid + c_out)`` parameters, and
    ``2 * mid * r + r + mid`` more in squeeze and excitation, r = max(1, floor(c_in * se)).  It is residual where the
    stride is 1 and the widths agree.

    Attributes:
        kernel: side of the depthwise kernel.
        expansion: channels inside of the block, in those of its input.
        se: channels in squeeze and excitation, in those of the block's input; None for none.
        activation: one of :data:`ACTIVATIONS`.
        skip: whether the block may be residual.

    Example:
        >>> operation = InvertedResidual(kernel=3, expansion=6, se=0.25)
        >>> str(operation), parse_operation(str(operation)) == operation
        ('ir_k3_e6_se0.25', True)
        >>> sum(parameter.numel() for parameter in operation.build(24, 24, 1).parameters())
        10710
    """

    kind: ClassVar[str] = "ir"
    keys: ClassVar[Mapping[str, str]] = MappingProxyType({"k": "kernel", "e": "expansion", "se": "se"})
    words: ClassVar[Mapping[str, str]] = MappingProxyType({"n": "activation"})
    flags: ClassVar[Mapping[str, tuple[str, Any]]] = MappingProxyType({"noskip": ("skip", False)})

    expansion: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "expansion", float(self.expansion))
        if not 0 < self.expansion < math.inf:
            raise CodeError(f"'expansion' must be positive (got {self.expansion})")

    def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
        """See :meth:`Operation.build`."""
        return InvertedResidualBlock(
            c_in,
            math.floor(c_in * self.expansion),
            c_out,
            kernel=self.kernel,
            stride=stride,
            squeezed=self.squeezed(c_in),
            activation=ACTIVATIONS[self.activation],
            residual=self.skip and stride == 1 and c_in == c_out,
            drop_connect=drop_connect,
        )


@register_operation
@dataclass(frozen=True, kw_only=True)
class DepthwiseSeparable(_MobileOperation):
    """Depthwise convolution, squeeze and excitation, 1x1 convolution: the first layer of the MobileNet family.

    Attributes:
        kernel: side of the depthwise kernel.
        se: channels in squeeze and excitation, in those of the block's input; None for none.
        activation: one of :data:`ACTIVATIONS`.
        skip: whether the block may be residual.
    """

    kind: ClassVar[str] = "ds"
    keys: ClassVar[Mapping[str, str]] = MappingProxyType({"k": "kernel", "se": "se"})
    words: ClassVar[Mapping[str, str]] = MappingProxyType({"n": "activation"})
    flags: ClassVar[Mapping[str, tuple[str, Any]]] = MappingProxyType({"noskip": ("skip", False)})

    def build(self, c_in: int, c_out: int, stride: int, *, drop_connect: float = 0.0) -> nn.Module:
        """See :meth:`Operation.build`."""
        return DepthwiseSeparableBlock(
            c_in,
            c_out,
            kernel=self.kernel,
            stride=stride,
            squeezed=self.squeezed(c_in),
            activation=ACTIVATIONS[self.activation],
            residual=self.skip and stride == 1 and c_in == c_out,
            drop_connect=drop_connect,
        )
