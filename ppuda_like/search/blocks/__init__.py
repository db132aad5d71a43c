"""Networks cut into blocks that learn on their own.

After Pyeon et al., "SEDONA: Search for Decoupled Neural Networks toward Greedy Block-wise Learning" (ICLR 2021), and
Belilovsky et al., "Decoupled Greedy Learning of CNNs" (arXiv:1901.08164).
"""

from ppuda_like.search.blocks._auxiliary import AUXILIARIES as AUXILIARIES
from ppuda_like.search.blocks._auxiliary import LIGHT as LIGHT
from ppuda_like.search.blocks._auxiliary import auxiliary as auxiliary
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet as AuxiliaryNet
from ppuda_like.search.blocks._auxiliary_net import smoothed_cross_entropy as smoothed_cross_entropy
from ppuda_like.search.blocks._blockwise import Block as Block
from ppuda_like.search.blocks._blockwise import BlockwiseModel as BlockwiseModel
from ppuda_like.search.blocks._decode import Decoded as Decoded
from ppuda_like.search.blocks._decode import decode as decode
from ppuda_like.search.blocks._evaluate_blocks import BlockEvaluation as BlockEvaluation
from ppuda_like.search.blocks._evaluate_blocks import ensembles as ensembles
from ppuda_like.search.blocks._evaluate_blocks import evaluate_blocks as evaluate_blocks
from ppuda_like.search.blocks._frontier import Frontier as Frontier
from ppuda_like.search.blocks._logs import DglLog as DglLog
from ppuda_like.search.blocks._logs import LogRow as LogRow
from ppuda_like.search.blocks._logs import read_dgl_log as read_dgl_log
from ppuda_like.search.blocks._nets import SEDONA_NETS as SEDONA_NETS
from ppuda_like.search.blocks._nets import sedona_net as sedona_net
from ppuda_like.search.blocks._pipeline import Pipeline as Pipeline
from ppuda_like.search.blocks._pipeline import ending_costs as ending_costs
from ppuda_like.search.blocks._pipeline import pipeline as pipeline
from ppuda_like.search.blocks._predsim import similarity_matrix as similarity_matrix
from ppuda_like.search.blocks._recipes import RECIPES as RECIPES
from ppuda_like.search.blocks._relaxed import Relaxation as Relaxation
from ppuda_like.search.blocks._relaxed import RelaxedNet as RelaxedNet
from ppuda_like.search.blocks._replay import ReplayStatistics as ReplayStatistics
from ppuda_like.search.blocks._replay_config import ReplayConfig as ReplayConfig
from ppuda_like.search.blocks._saved import load_blocks as load_blocks
from ppuda_like.search.blocks._saved import save_blocks as save_blocks
from ppuda_like.search.blocks._search import search_blocks as search_blocks
from ppuda_like.search.blocks._search_config import BlockSearchConfig as BlockSearchConfig
from ppuda_like.search.blocks._search_result import BlockSearchResult as BlockSearchResult
from ppuda_like.search.blocks._split import split as split
from ppuda_like.search.blocks._synthesiser import Synthesiser as Synthesiser
from ppuda_like.search.blocks._synthesiser import synthesisers_for as synthesisers_for
from ppuda_like.search.blocks._train_blocks import BlockTrainResult as BlockTrainResult
from ppuda_like.search.blocks._train_blocks import auxiliaries_for as auxiliaries_for
from ppuda_like.search.blocks._train_blocks import train_blocks as train_blocks
from ppuda_like.search.blocks._train_config import BlockTrainConfig as BlockTrainConfig
from ppuda_like.search.blocks._weight_memory import Snapshot as Snapshot
from ppuda_like.search.blocks._weight_memory import WeightMemory as WeightMemory

__all__ = [
    "AUXILIARIES",
    "LIGHT",
    "RECIPES",
    "SEDONA_NETS",
    "AuxiliaryNet",
    "Block",
    "BlockEvaluation",
    "BlockSearchConfig",
    "BlockSearchResult",
    "BlockTrainConfig",
    "BlockTrainResult",
    "BlockwiseModel",
    "Decoded",
    "DglLog",
    "Frontier",
    "LogRow",
    "Pipeline",
    "Relaxation",
    "RelaxedNet",
    "ReplayConfig",
    "ReplayStatistics",
    "Snapshot",
    "Synthesiser",
    "WeightMemory",
    "auxiliaries_for",
    "auxiliary",
    "decode",
    "ending_costs",
    "ensembles",
    "evaluate_blocks",
    "load_blocks",
    "pipeline",
    "read_dgl_log",
    "save_blocks",
    "search_blocks",
    "sedona_net",
    "similarity_matrix",
    "smoothed_cross_entropy",
    "split",
    "synthesisers_for",
    "train_blocks",
]
