"""Graph hypernetworks: one forward pass from a network's computational graph to its parameters."""

from ppuda_like.ghn._batch import GraphBatch as GraphBatch
from ppuda_like.ghn._checkpoint import list_pretrained as list_pretrained
from ppuda_like.ghn._config import GHNConfig as GHNConfig
from ppuda_like.ghn._decoders import ConvDecoder as ConvDecoder
from ppuda_like.ghn._decoders import MLPDecoder as MLPDecoder
from ppuda_like.ghn._evaluation import GHNEvaluation as GHNEvaluation
from ppuda_like.ghn._evaluation import NetEvaluation as NetEvaluation
from ppuda_like.ghn._evaluation import eval_ghn as eval_ghn
from ppuda_like.ghn._finetune import kaiming_init as kaiming_init
from ppuda_like.ghn._finetune import predicted_init as predicted_init
from ppuda_like.ghn._gatedgnn import GatedGNN as GatedGNN
from ppuda_like.ghn._graphormer import Graphormer as Graphormer
from ppuda_like.ghn._hypernetwork import GHN as GHN
from ppuda_like.ghn._init import parameter_norms as parameter_norms
from ppuda_like.ghn._node_pairs import NodePairs as NodePairs
from ppuda_like.ghn._postprocess import postprocess as postprocess
from ppuda_like.ghn._report import PredictionReport as PredictionReport
from ppuda_like.ghn._report import TensorReport as TensorReport
from ppuda_like.ghn._schedule import GraphEdges as GraphEdges
from ppuda_like.ghn._schedule import VisitSchedule as VisitSchedule
from ppuda_like.ghn._shape_encoder import ShapeEncoder as ShapeEncoder
from ppuda_like.ghn._tiling import tile_all as tile_all
from ppuda_like.ghn._tiling import write_tiled as write_tiled
from ppuda_like.ghn._train_config import NetsConfig as NetsConfig
from ppuda_like.ghn._train_config import OptimConfig as OptimConfig
from ppuda_like.ghn._train_config import TrainConfig as TrainConfig
from ppuda_like.ghn._training import TrainResult as TrainResult
from ppuda_like.ghn._training import train_ghn as train_ghn

__all__ = [
    "GHN",
    "ConvDecoder",
    "GHNConfig",
    "GHNEvaluation",
    "GatedGNN",
    "GraphBatch",
    "GraphEdges",
    "Graphormer",
    "MLPDecoder",
    "NetEvaluation",
    "NetsConfig",
    "NodePairs",
    "OptimConfig",
    "PredictionReport",
    "ShapeEncoder",
    "TensorReport",
    "TrainConfig",
    "TrainResult",
    "VisitSchedule",
    "eval_ghn",
    "kaiming_init",
    "list_pretrained",
    "parameter_norms",
    "postprocess",
    "predicted_init",
    "tile_all",
    "train_ghn",
    "write_tiled",
]
