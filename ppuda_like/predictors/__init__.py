"""Predictors: properties of networks that were never trained, from their computational graphs."""

from ppuda_like.predictors._embeddings import GHNEmbedding as GHNEmbedding
from ppuda_like.predictors._estimate import Estimate as Estimate
from ppuda_like.predictors._graph_features import GraphFeatures as GraphFeatures
from ppuda_like.predictors._graph_regressor import GraphRegressor as GraphRegressor
from ppuda_like.predictors._labelled import LabelledGraphs as LabelledGraphs
from ppuda_like.predictors._metrics import Calibration as Calibration
from ppuda_like.predictors._metrics import PredictionScores as PredictionScores
from ppuda_like.predictors._metrics import calibration as calibration
from ppuda_like.predictors._metrics import kendall_tau as kendall_tau
from ppuda_like.predictors._metrics import precision_at_top as precision_at_top
from ppuda_like.predictors._metrics import score_predictions as score_predictions
from ppuda_like.predictors._metrics import spearman_rho as spearman_rho
from ppuda_like.predictors._nasbench201 import NASBENCH201_EDGES as NASBENCH201_EDGES
from ppuda_like.predictors._nasbench201 import NASBENCH201_OPS as NASBENCH201_OPS
from ppuda_like.predictors._nasbench201 import CellForm as CellForm
from ppuda_like.predictors._nasbench201 import cell_form as cell_form
from ppuda_like.predictors._nasbench201 import cell_graph as cell_graph
from ppuda_like.predictors._nasbench201 import nasbench201 as nasbench201
from ppuda_like.predictors._positional import PositionalEncoding as PositionalEncoding
from ppuda_like.predictors._positional import positional_encoding as positional_encoding
from ppuda_like.predictors._predictor import Predictor as Predictor
from ppuda_like.predictors._predictor import PropertyInfo as PropertyInfo
from ppuda_like.predictors._predictor import list_predictors as list_predictors
from ppuda_like.predictors._rank import Ranked as Ranked
from ppuda_like.predictors._rank import rank as rank

__all__ = [
    "NASBENCH201_EDGES",
    "NASBENCH201_OPS",
    "Calibration",
    "CellForm",
    "Estimate",
    "GHNEmbedding",
    "GraphFeatures",
    "GraphRegressor",
    "LabelledGraphs",
    "PositionalEncoding",
    "PredictionScores",
    "Predictor",
    "PropertyInfo",
    "Ranked",
    "calibration",
    "cell_form",
    "cell_graph",
    "kendall_tau",
    "list_predictors",
    "nasbench201",
    "positional_encoding",
    "precision_at_top",
    "rank",
    "score_predictions",
    "spearman_rho",
]
