"""Every architecture is a computational graph: trace it, predict its parameters and properties, search over it."""

from ppuda_like.ghn import GHN as GHN
from ppuda_like.graph import ComputationalGraph as ComputationalGraph
from ppuda_like.graph import trace as trace
from ppuda_like.graph import virtual_edges as virtual_edges

__all__ = ["GHN", "ComputationalGraph", "__version__", "trace", "virtual_edges"]

__version__ = "0.1.0"
