"""Networks by number, from a split, a dataset or a list of arguments, at the width that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppuda_like.deepnets import SPLITS, DeepNets, NetworkConfig, network_graph, sample_network
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph

__all__ = ["NetworkSource", "network_source"]


@dataclass(frozen=True, kw_only=True)
class NetworkSource:
    """Networks by number; it travels to other processes.

    Attributes:
        nets: a split's name, a dataset, or arguments of networks.
        seed: of the random streams that a split is drawn from; None where nothing is drawn.
        width: channels of the first cells; None for the networks' own.
        num_classes: classes they tell apart.
        is_imagenet_input: whether for images of 224 pixels and not of 32.
    """

    nets: str | DeepNets | tuple[NetworkConfig, ...]
    seed: int | None
    width: int | None
    num_classes: int
    is_imagenet_input: bool

    @property
    def split(self) -> str:
        """What the networks belong to."""
        if isinstance(self.nets, str):
            return self.nets
        return self.nets.split if isinstance(self.nets, DeepNets) else ""

    def __len__(self) -> int:
        """Number of networks.

        Raises:
            DataError: for a split, of which any number can be drawn.
        """
        if isinstance(self.nets, str):
            raise DataError(f"say how many networks of split '{self.nets}', or which: it has no end")
        return len(self.nets)

    def config(self, number: int) -> NetworkConfig:
        """The arguments of a network, for the width, classes and images asked for.

        Raises:
            DataError: if it is not of the space of DeepNets.
        """
        if isinstance(self.nets, str):
            found = sample_network(self.nets, number, seed=self.seed)
            if not isinstance(found, NetworkConfig):
                raise DataError(f"network {number} of split '{self.nets}' is a ResNet-50, not one of cells")
        else:
            found = self.nets.config(number) if isinstance(self.nets, DeepNets) else self.nets[number]
        return found.replace(
            C=self.width or self._own_width(found),
            num_classes=self.num_classes,
            is_imagenet_input=self.is_imagenet_input,
            auxiliary=False,
        )

    def _own_width(self, found: NetworkConfig) -> int:
        # The networks of 'wide' are four times as wide on small images and twice on large ones.
        return found.C // 2 if self.split == "wide" and self.is_imagenet_input else found.C

    def graph(self, number: int) -> ComputationalGraph:
        """The graph of a network in the vocabulary ``ppuda``."""
        return network_graph(self.config(number))

    def index(self, number: int) -> int:
        """The number of a network in the random stream of its split."""
        return int(self.nets.table()["index"][number]) if isinstance(self.nets, DeepNets) else number

    def places(self) -> dict[int, int] | None:
        """The number here by that in the random stream; None where they are the same and have no end."""
        if isinstance(self.nets, str):
            return None
        if isinstance(self.nets, DeepNets):
            return {int(index): number for number, index in enumerate(self.nets.table()["index"])}
        return {number: number for number in range(len(self.nets))}

    @property
    def facts(self) -> dict[str, int | bool | None]:
        """What the networks depend on besides where they come from, as :func:`network_source` takes it."""
        known: dict[str, int | bool | None] = {} if self.seed is None else {"seed": self.seed}
        return known | {
            "width": self.width,
            "num_classes": self.num_classes,
            "is_imagenet_input": self.is_imagenet_input,
        }


def network_source(
    nets: str | DeepNets | Sequence[NetworkConfig],
    *,
    seed: int | None = None,
    width: int | None = None,
    num_classes: int = 10,
    is_imagenet_input: bool = False,
) -> NetworkSource:
    """Networks by number; the arguments are the attributes of :class:`NetworkSource`.

    Args:
        nets: a split's name, a dataset, or arguments of networks.
        seed: None for that of the split.
        width: channels of the first cells; None for the networks' own.
        num_classes: classes they tell apart.
        is_imagenet_input: whether for images of 224 pixels and not of 32.

    Raises:
        DataError: if the networks are not drawn and there is a seed, or an entry of a list is not arguments.
        NetworkError: if the split is unknown.
    """
    if isinstance(nets, str):
        seed = SPLITS[nets].seed if seed is None else seed
    elif seed is not None:
        raise DataError(f"'seed' is for drawing a split, not for stored networks (got {seed})")
    elif isinstance(nets, DeepNets):
        if seed is None and nets.facts.source == "generated":
            seed = nets.facts.seed
    else:
        nets = tuple(nets)
        others = [number for number, net in enumerate(nets) if not isinstance(net, NetworkConfig)]
        if others:
            kind = type(nets[others[0]]).__name__
            raise DataError(f"networks must be given by their NetworkConfig (number {others[0]} is a {kind})")
    return NetworkSource(
        nets=nets, seed=seed, width=width, num_classes=num_classes, is_imagenet_input=is_imagenet_input
    )
