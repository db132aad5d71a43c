"""Blocks of a network searched one by one: spaces, networks, exact costs, ratings, and the exactly best combination.

After Li et al., "Block-wisely Supervised Neural Architecture Search with Knowledge Distillation" (arXiv:1911.13053).
"""

from ppuda_like.search.dna._cell import Cell as Cell
from ppuda_like.search.dna._cell import LayerShape as LayerShape
from ppuda_like.search.dna._cell import Stage as Stage
from ppuda_like.search.dna._cost_table import CostTable as CostTable
from ppuda_like.search.dna._cost_table import cost_table as cost_table
from ppuda_like.search.dna._costs import PartCosts as PartCosts
from ppuda_like.search.dna._costs import flops_counter as flops_counter
from ppuda_like.search.dna._costs import part_costs as part_costs
from ppuda_like.search.dna._definition import Layer as Layer
from ppuda_like.search.dna._definition import NetworkDefinition as NetworkDefinition
from ppuda_like.search.dna._definition import parse_layer as parse_layer
from ppuda_like.search.dna._distil import CellResult as CellResult
from ppuda_like.search.dna._distil import DistilResult as DistilResult
from ppuda_like.search.dna._distil import distil as distil
from ppuda_like.search.dna._distil import load_supernet as load_supernet
from ppuda_like.search.dna._distil_config import DistilConfig as DistilConfig
from ppuda_like.search.dna._export import CutNetwork as CutNetwork
from ppuda_like.search.dna._export import cut_network as cut_network
from ppuda_like.search.dna._feature_files import FeatureFiles as FeatureFiles
from ppuda_like.search.dna._feature_files import cache_features as cache_features
from ppuda_like.search.dna._front import Found as Found
from ppuda_like.search.dna._front import Front as Front
from ppuda_like.search.dna._latency import LatencyTable as LatencyTable
from ppuda_like.search.dna._latency import measure_latency as measure_latency
from ppuda_like.search.dna._network import BlockNetwork as BlockNetwork
from ppuda_like.search.dna._network import build_network as build_network
from ppuda_like.search.dna._network import init_weights as init_weights
from ppuda_like.search.dna._network import network_graph as network_graph
from ppuda_like.search.dna._operations import ACTIVATIONS as ACTIVATIONS
from ppuda_like.search.dna._operations import DepthwiseSeparable as DepthwiseSeparable
from ppuda_like.search.dna._operations import InvertedResidual as InvertedResidual
from ppuda_like.search.dna._operations import Operation as Operation
from ppuda_like.search.dna._operations import list_operations as list_operations
from ppuda_like.search.dna._operations import parse_operation as parse_operation
from ppuda_like.search.dna._operations import register_operation as register_operation
from ppuda_like.search.dna._parts import Head as Head
from ppuda_like.search.dna._parts import Part as Part
from ppuda_like.search.dna._parts import Stem as Stem
from ppuda_like.search.dna._plot import plot_front as plot_front
from ppuda_like.search.dna._published import dna_network as dna_network
from ppuda_like.search.dna._published import list_dna_networks as list_dna_networks
from ppuda_like.search.dna._published_ratings import import_published as import_published
from ppuda_like.search.dna._ranking import RankingReport as RankingReport
from ppuda_like.search.dna._ranking import RankingRow as RankingRow
from ppuda_like.search.dna._ranking import rank_report as rank_report
from ppuda_like.search.dna._ranking_networks import RankedNetwork as RankedNetwork
from ppuda_like.search.dna._ranking_networks import ranking_networks as ranking_networks
from ppuda_like.search.dna._rate import RateConfig as RateConfig
from ppuda_like.search.dna._rate import hold_out as hold_out
from ppuda_like.search.dna._rate import rate as rate
from ppuda_like.search.dna._rate_tree import rate_paths as rate_paths
from ppuda_like.search.dna._ratings import CellRatings as CellRatings
from ppuda_like.search.dna._ratings import Ratings as Ratings
from ppuda_like.search.dna._regression import BlockRegression as BlockRegression
from ppuda_like.search.dna._regression import regress_accuracy as regress_accuracy
from ppuda_like.search.dna._retrain import retrain as retrain
from ppuda_like.search.dna._retrain import retrain_config as retrain_config
from ppuda_like.search.dna._search import predicted_losses as predicted_losses
from ppuda_like.search.dna._search import search as search
from ppuda_like.search.dna._sensitivity import Sensitivity as Sensitivity
from ppuda_like.search.dna._sensitivity import sensitivity as sensitivity
from ppuda_like.search.dna._space import Architecture as Architecture
from ppuda_like.search.dna._space import Space as Space
from ppuda_like.search.dna._spaces import cifar_space as cifar_space
from ppuda_like.search.dna._spaces import imagenet_space as imagenet_space
from ppuda_like.search.dna._spaces import mobile_operations as mobile_operations
from ppuda_like.search.dna._spaces import ranking_space as ranking_space
from ppuda_like.search.dna._supernet import Boundary as Boundary
from ppuda_like.search.dna._supernet import CellNet as CellNet
from ppuda_like.search.dna._supernet import Supernet as Supernet
from ppuda_like.search.dna._taps import choose_taps as choose_taps
from ppuda_like.search.dna._teacher import EFFICIENTNET_B7_TAPS as EFFICIENTNET_B7_TAPS
from ppuda_like.search.dna._teacher import Teacher as Teacher

__all__ = [
    "ACTIVATIONS",
    "EFFICIENTNET_B7_TAPS",
    "Architecture",
    "BlockNetwork",
    "BlockRegression",
    "Boundary",
    "Cell",
    "CellNet",
    "CellRatings",
    "CellResult",
    "CostTable",
    "CutNetwork",
    "DepthwiseSeparable",
    "DistilConfig",
    "DistilResult",
    "FeatureFiles",
    "Found",
    "Front",
    "Head",
    "InvertedResidual",
    "LatencyTable",
    "Layer",
    "LayerShape",
    "NetworkDefinition",
    "Operation",
    "Part",
    "PartCosts",
    "RankedNetwork",
    "RankingReport",
    "RankingRow",
    "RateConfig",
    "Ratings",
    "Sensitivity",
    "Space",
    "Stage",
    "Stem",
    "Supernet",
    "Teacher",
    "build_network",
    "cache_features",
    "choose_taps",
    "cifar_space",
    "cost_table",
    "cut_network",
    "distil",
    "dna_network",
    "flops_counter",
    "hold_out",
    "imagenet_space",
    "import_published",
    "init_weights",
    "list_dna_networks",
    "list_operations",
    "load_supernet",
    "measure_latency",
    "mobile_operations",
    "network_graph",
    "parse_layer",
    "parse_operation",
    "part_costs",
    "plot_front",
    "predicted_losses",
    "rank_report",
    "ranking_networks",
    "ranking_space",
    "rate",
    "rate_paths",
    "register_operation",
    "regress_accuracy",
    "retrain",
    "retrain_config",
    "search",
    "sensitivity",
]
