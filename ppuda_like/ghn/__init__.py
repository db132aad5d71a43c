"""Graph hypernetworks: one forward pass from a network's computational graph to its parameters."""

from ppuda_like.ghn._batch import GraphBatch as GraphBatch
from ppuda_like.ghn._checkpoint import list_pretrained as list_pretrained
from ppuda_like.ghn._config import GHNConfig as GHNConfig
from ppuda_like.ghn._decoders import ConvDecoder as ConvDecoder
from ppuda_like.ghn._decoders import MLPDecoder as MLPDecoder
from ppuda_like.ghn._gatedgnn import GatedGNN as GatedGNN
from ppuda_like.ghn._hypernetwork import GHN as GHN
from ppuda_like.ghn._report import PredictionReport as PredictionReport
from ppuda_like.ghn._report import TensorReport as TensorReport
from ppuda_like.ghn._schedule import GraphEdges as GraphEdges
from ppuda_like.ghn._schedule import VisitSchedule as VisitSchedule
from ppuda_like.ghn._shape_encoder import ShapeEncoder as ShapeEncoder
from ppuda_like.ghn._tiling import tile_all as tile_all
from ppuda_like.ghn._tiling import write_tiled as write_tiled

__all__ = [
    "GHN",
    "ConvDecoder",
    "GHNConfig",
    "GatedGNN",
    "GraphBatch",
    "GraphEdges",
    "MLPDecoder",
    "PredictionReport",
    "ShapeEncoder",
    "TensorReport",
    "VisitSchedule",
    "list_pretrained",
    "tile_all",
    "write_tiled",
]
