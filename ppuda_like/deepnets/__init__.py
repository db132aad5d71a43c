"""Networks of DeepNets-1M: genotypes, networks, samplers of every split, and datasets of graphs in HDF5."""

from ppuda_like.deepnets._check import Checked as Checked
from ppuda_like.deepnets._check import check as check
from ppuda_like.deepnets._config import NetworkConfig as NetworkConfig
from ppuda_like.deepnets._count import count_parameters as count_parameters
from ppuda_like.deepnets._dataset import DeepNets as DeepNets
from ppuda_like.deepnets._dataset import Draw as Draw
from ppuda_like.deepnets._error import NetworkError as NetworkError
from ppuda_like.deepnets._generate import Generated as Generated
from ppuda_like.deepnets._generate import generate as generate
from ppuda_like.deepnets._genotype import DARTS as DARTS
from ppuda_like.deepnets._genotype import PDARTS as PDARTS
from ppuda_like.deepnets._genotype import Genotype as Genotype
from ppuda_like.deepnets._genotype import ViT as ViT
from ppuda_like.deepnets._graph import network_flops as network_flops
from ppuda_like.deepnets._graph import network_graph as network_graph
from ppuda_like.deepnets._meta_batch import MetaBatchSampler as MetaBatchSampler
from ppuda_like.deepnets._network import AuxiliaryHead as AuxiliaryHead
from ppuda_like.deepnets._network import Network as Network
from ppuda_like.deepnets._ops import OPS as OPS
from ppuda_like.deepnets._predefined import ResNetConfig as ResNetConfig
from ppuda_like.deepnets._released import export_ppuda as export_ppuda
from ppuda_like.deepnets._released import import_ppuda as import_ppuda
from ppuda_like.deepnets._released_report import Difference as Difference
from ppuda_like.deepnets._released_report import ImportReport as ImportReport
from ppuda_like.deepnets._sampler import Rejection as Rejection
from ppuda_like.deepnets._sampler import rejection as rejection
from ppuda_like.deepnets._sampler import sample_candidate as sample_candidate
from ppuda_like.deepnets._sampler import sample_network as sample_network
from ppuda_like.deepnets._split import SPLITS as SPLITS
from ppuda_like.deepnets._split import Split as Split
from ppuda_like.deepnets._stats import SplitStats as SplitStats
from ppuda_like.deepnets._stats import plot_stats as plot_stats
from ppuda_like.deepnets._stats import statistics as statistics
from ppuda_like.deepnets._where import where as where
from ppuda_like.deepnets._width import sample_width as sample_width

__all__ = [
    "DARTS",
    "OPS",
    "PDARTS",
    "SPLITS",
    "AuxiliaryHead",
    "Checked",
    "DeepNets",
    "Difference",
    "Draw",
    "Generated",
    "Genotype",
    "ImportReport",
    "MetaBatchSampler",
    "Network",
    "NetworkConfig",
    "NetworkError",
    "Rejection",
    "ResNetConfig",
    "Split",
    "SplitStats",
    "ViT",
    "check",
    "count_parameters",
    "export_ppuda",
    "generate",
    "import_ppuda",
    "network_flops",
    "network_graph",
    "plot_stats",
    "rejection",
    "sample_candidate",
    "sample_network",
    "sample_width",
    "statistics",
    "where",
]
