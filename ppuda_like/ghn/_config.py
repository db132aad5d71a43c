"""What a hypernetwork is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ppuda_like.errors import PredictionError

__all__ = ["GHNConfig"]

HYPERNETS = ("gatedgnn", "graphormer", "mlp")
DECODERS = ("conv", "mlp")
GHN3_SIZES = {"T": (64, 3, 8), "S": (128, 5, 16), "L": (256, 12, 16), "XL": (384, 24, 16)}
"""Width of the node features, layers and attention heads of the published sizes of GHN-3."""


@dataclass(frozen=True, kw_only=True)
class GHNConfig:
    """Architecture of a graph hypernetwork; the names of released checkpoints, then those of GHN-3.

    Attributes:
        max_shape: largest weight decoded at once: output channels, input channels, kernel height, kernel width.
        num_classes: outputs of the class layers it predicts.
        hypernet: what updates the node features: ``"gatedgnn"``, ``"graphormer"``, or ``"mlp"``, which ignores the
            edges.
        decoder: what turns node features into weights: ``"conv"`` or ``"mlp"``.
        weight_norm: scale predicted tensors by their fan-in (arXiv:2110.13100, section 4.2).
        ve: virtual edges (section 4.1).
        layernorm: normalise the node features before decoding.
        hid: width of the node features, a multiple of 4.
        layers: layers of a graphormer; 0 for the other hypernets, which have none.
        heads: attention heads of each, a divisor of ``hid``; 0 for the other hypernets.
        centered: take kernels smaller than the largest from its middle, not from its corner.

    Raises:
        PredictionError: if a value is not one of those.
    """

    max_shape: tuple[int, int, int, int] = (64, 64, 11, 11)
    num_classes: int = 10
    hypernet: str = "gatedgnn"
    decoder: str = "conv"
    weight_norm: bool = True
    ve: bool = True
    layernorm: bool = True
    hid: int = 32
    layers: int = 0
    heads: int = 0
    centered: bool = False

    def __post_init__(self) -> None:
        try:
            shape = tuple(int(size) for size in self.max_shape)
        except (TypeError, ValueError):
            shape = ()
        object.__setattr__(self, "max_shape", shape)
        if len(shape) != 4 or min(shape) < 1:
            raise PredictionError(f"'max_shape' must hold 4 positive sizes (got {self.max_shape})")
        if self.hypernet not in HYPERNETS:
            raise PredictionError(f"'hypernet' must be one of {HYPERNETS} (got {self.hypernet!r})")
        if self.decoder not in DECODERS:
            raise PredictionError(f"'decoder' must be one of {DECODERS} (got {self.decoder!r})")
        for key in ("num_classes", "hid"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise PredictionError(f"'{key}' must be a positive integer (got {value!r})")
        if self.hid % 4:
            raise PredictionError(f"'hid' must be a multiple of 4, a quarter for each of 4 sizes (got {self.hid})")
        for key in ("weight_norm", "ve", "layernorm", "centered"):
            object.__setattr__(self, key, bool(getattr(self, key)))
        self._check_layers()

    def _check_layers(self) -> None:
        graphormer = self.hypernet == "graphormer"
        for key in ("layers", "heads"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0 or (value > 0) != graphormer:
                wanted = "a positive integer for" if graphormer else "0, its default, for"
                raise PredictionError(f"'{key}' must be {wanted} the hypernet {self.hypernet!r} (got {value!r})")
        if graphormer and self.hid % self.heads:
            raise PredictionError(f"'heads' must be a divisor of 'hid' = {self.hid} (got {self.heads})")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GHNConfig:
        """The configuration with these values; missing ones take their defaults.

        Raises:
            PredictionError: if a name is unknown or a value is wrong.

        Example:
            >>> GHNConfig.from_dict(GHNConfig.ghn1().to_dict()) == GHNConfig.ghn1()
            True
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise PredictionError(f"unknown configuration names {unknown}; there are {sorted(known)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The values as JSON objects; :meth:`from_dict` is the inverse.

        What only GHN-3 has is left out of the others, whose files stay what they were.
        """
        new = {"layers": 0, "heads": 0, "centered": False}
        values = {key: value for key, value in asdict(self).items() if key not in new or value != new[key]}
        return {**values, "max_shape": list(self.max_shape)}

    @classmethod
    def ghn1(cls, *, num_classes: int = 10, kernel: int = 11, hid: int = 32) -> GHNConfig:
        """GHN-1: no virtual edges and no normalisation.

        Args:
            num_classes: outputs of the class layers.
            kernel: largest kernel decoded: 11 for 32x32 images, 16 for 224x224.
            hid: width of the node features.
        """
        return cls(
            max_shape=(2 * hid, 2 * hid, kernel, kernel),
            num_classes=num_classes,
            weight_norm=False,
            ve=False,
            layernorm=False,
            hid=hid,
        )

    @classmethod
    def ghn2(cls, *, num_classes: int = 10, kernel: int = 11, hid: int = 32) -> GHNConfig:
        """GHN-2: virtual edges, layer normalisation and fan-in normalisation; arguments as of :meth:`ghn1`."""
        return cls(max_shape=(2 * hid, 2 * hid, kernel, kernel), num_classes=num_classes, hid=hid)

    @classmethod
    def mlp(cls, *, num_classes: int = 10, kernel: int = 11, hid: int = 32) -> GHNConfig:
        """The baseline that sees each node alone; arguments as of :meth:`ghn1`."""
        return cls(max_shape=(2 * hid, 2 * hid, kernel, kernel), num_classes=num_classes, hypernet="mlp", hid=hid)

    @classmethod
    def ghn3(cls, size: Literal["T", "S", "L", "XL"], *, num_classes: int = 10, kernel: int = 11) -> GHNConfig:
        """GHN-3 (Knyazev et al., arXiv:2303.04143): GHN-2 with a :class:`Graphormer` and centered kernels.

        Args:
            size: one of the published ones; 6.9, 35.8, 214.7 and 654.4 million parameters for ImageNet.
            num_classes: outputs of the class layers.
            kernel: largest kernel decoded: 11 for 32x32 images, 16 for 224x224.

        Raises:
            PredictionError: if there is no such size.

        Example:
            >>> config = GHNConfig.ghn3("T", num_classes=1000, kernel=16)
            >>> config.hid, config.layers, config.heads, config.max_shape
            (64, 3, 8, (64, 64, 16, 16))
        """
        if size not in GHN3_SIZES:
            raise PredictionError(f"'size' must be one of {tuple(GHN3_SIZES)} (got {size!r})")
        hid, layers, heads = GHN3_SIZES[size]
        return cls(
            max_shape=(hid, hid, kernel, kernel),
            num_classes=num_classes,
            hypernet="graphormer",
            hid=hid,
            layers=layers,
            heads=heads,
            centered=True,
        )
