"""Predictors: properties of networks that were never trained, from their computational graphs."""

from ppuda_like.predictors._embeddings import GHNEmbedding as GHNEmbedding
from ppuda_like.predictors._graph_features import GraphFeatures as GraphFeatures
from ppuda_like.predictors._labelled import LabelledGraphs as LabelledGraphs
from ppuda_like.predictors._metrics import Calibration as Calibration
from ppuda_like.predictors._metrics import PredictionScores as PredictionScores
from ppuda_like.predictors._metrics import calibration as calibration
from ppuda_like.predictors._metrics import kendall_tau as kendall_tau
from ppuda_like.predictors._metrics import precision_at_top as precision_at_top
from ppuda_like.predictors._metrics import score_predictions as score_predictions
from ppuda_like.predictors._metrics import spearman_rho as spearman_rho
from ppuda_like.predictors._positional import PositionalEncoding as PositionalEncoding
from ppuda_like.predictors._positional import positional_encoding as positional_encoding

__all__ = [
    "Calibration",
    "GHNEmbedding",
    "GraphFeatures",
    "LabelledGraphs",
    "PositionalEncoding",
    "PredictionScores",
    "calibration",
    "kendall_tau",
    "positional_encoding",
    "precision_at_top",
    "score_predictions",
    "spearman_rho",
]
