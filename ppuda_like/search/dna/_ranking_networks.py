"""Twenty-three networks with known accuracy, to judge rankings by."""

from __future__ import annotations

from dataclasses import dataclass

from ppuda_like.search.dna._space import Architecture
from ppuda_like.search.dna._spaces import ranking_space

__all__ = ["RankedNetwork", "ranking_networks"]

# Place in the published list, operations of the layers of five stages, top-1 accuracy on ImageNet in per cent.
_NETWORKS = """
  0 11 1111 1101 1011 1101 75.52
 10 11 1031 1301 1110 3011 75.0
 20 10 1231 1311 1221 3131 74.66
 30 10 3110 1220 1000 3021 74.79
 40 01 3100 3201 3011 0301 74.76
 50 00 3021 3120 3311 0031 74.46
 60 00 3231 3331 0010 0001 74.93
 70 31 2111 1012 2101 3210 74.766
 80 21 0331 1033 3201 0221 74.36
 90 21 2131 1223 2031 1200 74.43
100 30 0000 0100 2321 3020 74.57
110 30 3220 3013 2021 0030 74.52
120 20 0320 0020 1112 0000 74.89
130 13 2321 0201 1123 1103 74.55
140 13 3103 0200 1233 1333 74.34
150 12 0220 0330 1002 1312 74.62
160 03 2020 2101 1022 3233 74.03
170 03 0013 2031 0312 0103 74.33
180 02 3203 2311 3133 0213 74.14
190 02 3032 2320 3213 0303 73.86
200 33 0033 0123 3333 1002 74.38
220 32 2133 2102 0223 0023 73.85
250 22 2202 2323 2002 0022 73.58
"""


@dataclass(frozen=True, kw_only=True)
class RankedNetwork:
    """A network of :func:`ranking_networks`.

    Attributes:
        place: in the order that a search predicted, 0 the best.
        architecture: in :func:`ranking_space`.
        accuracy: top-1 on ImageNet, in per cent, after training.
    """

    place: int
    architecture: Architecture
    accuracy: float


def ranking_networks() -> tuple[RankedNetwork, ...]:
    """The ranking benchmark of block-wise search: 23 networks of :func:`ranking_space` and their accuracies.

    The encodings are from the repository of DNA (arXiv:1911.13053), the accuracies from that of BossNAS
    (arXiv:2103.12424); how the networks were trained is not published.

    Example:
        >>> first = ranking_networks()[0]
        >>> ranking_space().format(first.architecture), first.accuracy
        ('11 1111 1101 1011 1101 0', 75.52)
    """
    space = ranking_space()
    found = []
    for line in _NETWORKS.split("\n")[1:-1]:
        place, *ops, accuracy = line.split()
        architecture = space.parse(" ".join([*ops, "0"]))
        found.append(RankedNetwork(place=int(place), architecture=architecture, accuracy=float(accuracy)))
    return tuple(found)
