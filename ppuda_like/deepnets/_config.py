"""Every argument of a network, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import DARTS, Genotype
from ppuda_like.deepnets._layers import HEADS, NORMS, Norm

if TYPE_CHECKING:
    from ppuda_like.deepnets._network import Network

__all__ = ["NetworkConfig"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The arguments of a :class:`Network` (arXiv:2110.13100, appendix A).

    Attributes:
        C: channels of the first cells.
        num_classes: outputs.
        genotype: what the cells are made of.
        n_cells: number of cells; those at a third and at two thirds of the depth reduce the resolution.
        ks: kernel size of the first convolution, odd; a transformer does without.
        is_imagenet_input: whether inputs are 224x224 and not 32x32.
        stem_pool: whether a max pooling ends a stem of type 0.
        stem_type: 0, one convolution; 1, the two-stage stem of ImageNet networks; a transformer has its own.
        norm: ``"bnorm"`` or ``"bn"``, batch statistics always; ``"bn-track"``, with running statistics; or None.
        preproc: whether 1x1 convolutions bring the inputs of a cell to its width.
        C_mult: factor on the channels at each reducing cell.
        fc_layers: number of linear layers of the classifier.
        fc_dim: width between them.
        glob_avg: whether features are averaged over space before the classifier, else flattened.
        auxiliary: whether a second classifier reads the cells at two thirds of the depth in training.
        drop_path: probability of dropping an edge of a cell in training.

    Raises:
        NetworkError: if an argument is out of range or does not go with the others.

    Example:
        >>> config = NetworkConfig(C=16, n_cells=5)
        >>> NetworkConfig.from_dict(config.to_dict()) == config
        True
    """

    C: int = 32
    num_classes: int = 10
    genotype: Genotype = field(default=DARTS)
    n_cells: int = 8
    ks: int = 3
    is_imagenet_input: bool = False
    stem_pool: bool = False
    stem_type: int = 0
    norm: Norm = "bnorm"
    preproc: bool = True
    C_mult: int = 2
    fc_layers: int = 1
    fc_dim: int = 256
    glob_avg: bool = True
    auxiliary: bool = False
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.genotype, Genotype):
            raise NetworkError(f"'genotype' must be a Genotype (got {type(self.genotype).__name__})")
        for name in ("C", "num_classes", "n_cells", "ks", "C_mult", "fc_layers", "fc_dim"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise NetworkError(f"'{name}' must be a positive integer (got {value!r})")
        if self.C % 2:
            raise NetworkError(f"'C' must be even: strided skips and stems halve it (got {self.C})")
        if self.genotype.is_transformer and self.C % HEADS:
            raise NetworkError(f"'C' must be a multiple of {HEADS} with 'msa', which has {HEADS} heads (got {self.C})")
        if not self.ks % 2:
            raise NetworkError(f"'ks' must be odd (got {self.ks})")
        if self.stem_type not in (0, 1):
            raise NetworkError(f"'stem_type' must be 0 or 1 (got {self.stem_type!r})")
        if self.norm not in NORMS:
            raise NetworkError(f"'norm' must be one of {NORMS} (got {self.norm!r})")
        if not 0 <= self.drop_path < 1:
            raise NetworkError(f"'drop_path' must be at least 0 and below 1 (got {self.drop_path!r})")
        if not self.preproc and (self.C_mult > 1 or len(self.genotype.normal_concat) > 1):
            raise NetworkError(
                "'preproc' must be on where widths change: with C_mult > 1 or several states in a concatenation "
                f"(got C_mult={self.C_mult}, {len(self.genotype.normal_concat)} states)"
            )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of a batch of one image."""
        size = 224 if self.is_imagenet_input else 32
        return (1, 3, size, size)

    def build(self, device: torch.device | str | None = None) -> Network:
        """The network, with torch's default initialisation.

        Args:
            device: where to; ``"meta"`` takes no memory.

        Raises:
            NetworkError: if no path of the network leads from its input to its output.
        """
        from ppuda_like.deepnets._network import Network

        arguments = {known.name: getattr(self, known.name) for known in fields(self)}
        if device is None:
            return Network(**arguments)
        with torch.device(device):
            return Network(**arguments)

    def replace(self, **changes: Any) -> NetworkConfig:
        """The same arguments but for some."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The arguments as a dictionary that JSON can hold; :meth:`from_dict` is its inverse."""
        found = {known.name: getattr(self, known.name) for known in fields(self)}
        return found | {"genotype": self.genotype.to_dict()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> NetworkConfig:
        """The arguments that :meth:`to_dict` gave; those left out take their defaults.

        Raises:
            NetworkError: if one is not known or not valid.
        """
        names = [known.name for known in fields(cls)]
        unknown = sorted(set(map(str, found)) - set(names))
        if unknown:
            raise NetworkError(f"unknown network arguments {unknown}; there are {names}")
        arguments = dict(found)
        if isinstance(arguments.get("genotype"), Mapping):
            arguments["genotype"] = Genotype.from_dict(arguments["genotype"])
        return cls(**arguments)
