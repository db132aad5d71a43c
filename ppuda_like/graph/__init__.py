"""Computational graphs of networks: the type, tracing, lowering, cuts, distances, properties and pictures."""

from ppuda_like.graph._balance import balanced_ends as balanced_ends
from ppuda_like.graph._balance import uniform_ends as uniform_ends
from ppuda_like.graph._block_costs import BlockCosts as BlockCosts
from ppuda_like.graph._builder import GraphBuilder as GraphBuilder
from ppuda_like.graph._cut_rules import CutError as CutError
from ppuda_like.graph._cuts import Cut as Cut
from ppuda_like.graph._cuts import all_cuts as all_cuts
from ppuda_like.graph._cuts import frontier_widths as frontier_widths
from ppuda_like.graph._cuts import legal_cuts as legal_cuts
from ppuda_like.graph._distance import VirtualEdges as VirtualEdges
from ppuda_like.graph._distance import all_pairs_distance as all_pairs_distance
from ppuda_like.graph._distance import levels as levels
from ppuda_like.graph._distance import virtual_edges as virtual_edges
from ppuda_like.graph._dot import to_dot as to_dot
from ppuda_like.graph._draw import draw as draw
from ppuda_like.graph._edges import make_edge_index as make_edge_index
from ppuda_like.graph._effects import Effects as Effects
from ppuda_like.graph._graph import ComputationalGraph as ComputationalGraph
from ppuda_like.graph._graph import Shape as Shape
from ppuda_like.graph._hash import structure_hash as structure_hash
from ppuda_like.graph._inputs import example_inputs as example_inputs
from ppuda_like.graph._partition import Partition as Partition
from ppuda_like.graph._properties import GraphProperties as GraphProperties
from ppuda_like.graph._properties import properties as properties
from ppuda_like.graph._trace import trace as trace
from ppuda_like.graph._units import Unit as Unit
from ppuda_like.graph._units import units as units
from ppuda_like.graph._vocabulary import EXTENDED as EXTENDED
from ppuda_like.graph._vocabulary import PPUDA as PPUDA
from ppuda_like.graph._vocabulary import Vocabulary as Vocabulary
from ppuda_like.graph._vocabulary import vocabulary as vocabulary

__all__ = [
    "EXTENDED",
    "PPUDA",
    "BlockCosts",
    "ComputationalGraph",
    "Cut",
    "CutError",
    "Effects",
    "GraphBuilder",
    "GraphProperties",
    "Partition",
    "Shape",
    "Unit",
    "VirtualEdges",
    "Vocabulary",
    "all_cuts",
    "all_pairs_distance",
    "balanced_ends",
    "draw",
    "example_inputs",
    "frontier_widths",
    "legal_cuts",
    "levels",
    "make_edge_index",
    "properties",
    "structure_hash",
    "to_dot",
    "trace",
    "uniform_ends",
    "units",
    "virtual_edges",
    "vocabulary",
]
