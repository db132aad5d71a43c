"""Networks as readable text: a stem, layers in stages, a head."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppuda_like._files import replacing
from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.dna._operations import Operation, make_operation
from ppuda_like.search.dna._parts import Head, Part, Stem

__all__ = ["Layer", "NetworkDefinition", "parse_layer"]

_FORMAT = "ppuda-like network definition"
_VERSION = 1
_ORDER = ("r", "k", "s", "e", "c", "se")  # of the published definitions; other options follow


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network, or several equal ones of which the first alone may have a stride.

    Attributes:
        operation: what it does.
        width: output channels.
        stride: of the first.
        repeats: how many.
    """

    operation: Operation
    width: int
    stride: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        for key in ("width", "stride", "repeats"):
            if getattr(self, key) < 1:
                raise CodeError(f"'{key}' of a layer must be positive (got {getattr(self, key)})")

    def __str__(self) -> str:
        tokens = [("r", str(self.repeats)), ("s", str(self.stride)), ("c", str(self.width)), *self.operation.options()]
        tokens.sort(key=lambda token: _ORDER.index(token[0]) if token[0] in _ORDER else len(_ORDER))
        return "_".join([self.operation.kind, *(key + value for key, value in tokens)])

    def single(self) -> list[Layer]:
        """The layers one by one."""
        first = replace(self, repeats=1)
        return [first, *[replace(first, stride=1)] * (self.repeats - 1)]


def parse_layer(text: str) -> Layer:
    """The layer that a text such as ``ir_r1_k3_s2_e6_c24_se0.25`` stands for, in the published notation.

    Beside the options of its operation, a layer has ``c``, the output channels, and may have ``r``, how many there
    are, and ``s``, the stride of the first.

    Raises:
        CodeError: if an option is unknown, missing, given twice or out of its range.

    Example:
        >>> layer = parse_layer("ir_r2_k5_s2_e6_c40_se0.25")
        >>> layer.repeats, layer.width, str(layer.operation), str(layer)
        (2, 40, 'ir_k5_e6_se0.25', 'ir_r2_k5_s2_e6_c40_se0.25')
    """
    kind, *tokens = text.split("_")
    numbers: dict[str, int] = {}
    rest = []
    for token in tokens:
        key, value = token[:1], token[1:]
        if key not in ("r", "s", "c") or not value.isascii() or not value.isdigit():
            rest.append(token)
        elif key in numbers:
            raise CodeError(f"'{key}' is given twice in '{text}'")
        else:
            numbers[key] = int(value)
    if "c" not in numbers:
        raise CodeError(f"'{text}' lacks 'c', its number of output channels")
    operation = make_operation(kind, rest, text)
    try:
        return Layer(operation=operation, width=numbers["c"], stride=numbers.get("s", 1), repeats=numbers.get("r", 1))
    except CodeError as error:
        raise CodeError(f"in '{text}': {error}") from error


@dataclass(frozen=True, kw_only=True)
class NetworkDefinition:
    """A network of blocks, without weights; :func:`build_network` makes the module.

    Attributes:
        stages: layers of each stage, in order.
        stem: first convolution.
        head: what follows the last stage.
        image_size: side of the square images it is meant for, and its costs are counted at.
        name: of the network, for people.
    """

    stages: tuple[tuple[Layer, ...], ...]
    stem: Stem
    head: Head
    image_size: int = 224
    name: str = ""

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages):
            raise CodeError(f"a network must have stages, and every stage layers (got {len(self.stages)} stages)")
        if self.image_size < 1:
            raise CodeError(f"'image_size' must be positive (got {self.image_size})")

    @classmethod
    def from_strings(
        cls, stages: Sequence[Sequence[str]], *, stem: Stem | None = None, head: Head | None = None, **kwargs: Any
    ) -> NetworkDefinition:
        """A definition in the published notation: for each stage the texts of its layers.

        Args:
            stages: layers as :func:`parse_layer` takes them.
            stem: first convolution; None for that of the ImageNet networks.
            head: classifier; None for that of the ImageNet networks.
            kwargs: the other attributes.

        Raises:
            CodeError: as :func:`parse_layer`.
        """
        layers = tuple(tuple(parse_layer(text) for text in stage) for stage in stages)
        return cls(stages=layers, stem=stem or Stem(), head=head or Head(), **kwargs)

    def strings(self) -> list[list[str]]:
        """The layers of each stage as text; :meth:`from_strings` is the inverse."""
        return [[str(layer) for layer in stage] for stage in self.stages]

    def single(self) -> NetworkDefinition:
        """The same network with every layer on its own."""
        stages = tuple(tuple(one for layer in stage for one in layer.single()) for stage in self.stages)
        return replace(self, stages=stages)

    def parts(self) -> Iterator[Part]:
        """The stem, the layers one by one, and the head, with the widths and sizes they have in this network."""
        part = self.stem.part(self.image_size)
        yield part
        for stage in self.single().stages:
            for layer in stage:
                part = Part(
                    what=layer.operation,
                    c_in=part.c_out,
                    c_out=layer.width,
                    stride=layer.stride,
                    size=part.size_out,
                )
                yield part
        yield self.head.part(part.c_out, part.size_out)

    def to_dict(self) -> dict[str, Any]:
        """The definition as numbers, texts, lists and dictionaries; :meth:`from_dict` is the inverse."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "name": self.name,
            "image_size": self.image_size,
            "stem": self.stem.to_dict(),
            "stages": self.strings(),
            "head": self.head.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkDefinition:
        """The definition that :meth:`to_dict` gave.

        Raises:
            DataError: if it is none, or of a newer version.
            CodeError: if it holds something that is no layer.
        """
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise DataError(f"this is no network definition: its 'format' must be '{_FORMAT}'")
        if values.get("version") != _VERSION:
            raise DataError(f"network definitions of version {_VERSION} are read (got {values.get('version')!r})")
        try:
            return cls.from_strings(
                values["stages"],
                stem=Stem(**values["stem"]),
                head=Head(**values["head"]),
                image_size=values["image_size"],
                name=values["name"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the network definition is damaged: {error}") from error

    def save(self, path: str | Path) -> None:
        """Write the definition as a JSON file."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> NetworkDefinition:
        """Read a file that :meth:`save` wrote.

        Raises:
            DataError: if it is missing, damaged or something else.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"'{path}' is no network definition: {error}") from error
        try:
            return cls.from_dict(values)
        except (CodeError, DataError) as error:
            raise DataError(f"in '{path}': {error}") from error

    def __str__(self) -> str:
        lines = [str(self.stem), *("  ".join(map(str, stage)) for stage in self.stages), str(self.head)]
        return "\n".join(lines)
