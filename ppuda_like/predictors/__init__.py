"""Predictors: properties of networks that were never trained, from their computational graphs."""

from ppuda_like.predictors._code_ensemble import CodeEnsemble as CodeEnsemble
from ppuda_like.predictors._code_predictor import CodePredictor as CodePredictor
from ppuda_like.predictors._comparison import Comparison as Comparison
from ppuda_like.predictors._comparison import PredictorRun as PredictorRun
from ppuda_like.predictors._digits_labels import digits_labels as digits_labels
from ppuda_like.predictors._digits_labels import digits_table as digits_table
from ppuda_like.predictors._embeddings import GHNEmbedding as GHNEmbedding
from ppuda_like.predictors._estimate import Estimate as Estimate
from ppuda_like.predictors._feature_memory import FeatureMemory as FeatureMemory
from ppuda_like.predictors._graph_features import GraphFeatures as GraphFeatures
from ppuda_like.predictors._graph_regressor import GraphRegressor as GraphRegressor
from ppuda_like.predictors._importance import FeatureImportance as FeatureImportance
from ppuda_like.predictors._importance import feature_importance as feature_importance
from ppuda_like.predictors._labelled import LabelledGraphs as LabelledGraphs
from ppuda_like.predictors._measure import measure_properties as measure_properties
from ppuda_like.predictors._measure_net import LOWER_IS_BETTER as LOWER_IS_BETTER
from ppuda_like.predictors._measure_net import PROPERTIES as PROPERTIES
from ppuda_like.predictors._measure_net import MeasureConfig as MeasureConfig
from ppuda_like.predictors._measure_net import Measured as Measured
from ppuda_like.predictors._measure_net import PropertyImages as PropertyImages
from ppuda_like.predictors._measure_net import measure_network as measure_network
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
from ppuda_like.predictors._plots import plot_embedding as plot_embedding
from ppuda_like.predictors._plots import plot_importance as plot_importance
from ppuda_like.predictors._plots import plot_learning_curves as plot_learning_curves
from ppuda_like.predictors._plots import plot_predictions as plot_predictions
from ppuda_like.predictors._positional import PositionalEncoding as PositionalEncoding
from ppuda_like.predictors._positional import positional_encoding as positional_encoding
from ppuda_like.predictors._predictor import Predictor as Predictor
from ppuda_like.predictors._predictor import PropertyInfo as PropertyInfo
from ppuda_like.predictors._predictor import list_predictors as list_predictors
from ppuda_like.predictors._property_table import PropertyTable as PropertyTable
from ppuda_like.predictors._protocol import evaluate_predictors as evaluate_predictors
from ppuda_like.predictors._published_labels import published_labels as published_labels
from ppuda_like.predictors._rank import Ranked as Ranked
from ppuda_like.predictors._rank import rank as rank
from ppuda_like.predictors._regressors import baseline_predictors as baseline_predictors
from ppuda_like.predictors._regressors import embedding_svr as embedding_svr
from ppuda_like.predictors._regressors import gaussian_process as gaussian_process
from ppuda_like.predictors._regressors import gradient_boosting as gradient_boosting
from ppuda_like.predictors._regressors import random_forest as random_forest
from ppuda_like.predictors._regressors import ridge as ridge
from ppuda_like.predictors._regressors import single_number as single_number
from ppuda_like.predictors._splits import Split as Split
from ppuda_like.predictors._splits import property_splits as property_splits
from ppuda_like.predictors._training_free import GHN_SCORES as GHN_SCORES
from ppuda_like.predictors._training_free import TRAINING_FREE_SCORES as TRAINING_FREE_SCORES
from ppuda_like.predictors._training_free import training_free_scores as training_free_scores
from ppuda_like.predictors._training_free_table import TrainingFreeScores as TrainingFreeScores
from ppuda_like.predictors._training_free_table import measure_scores as measure_scores

__all__ = [
    "GHN_SCORES",
    "LOWER_IS_BETTER",
    "NASBENCH201_EDGES",
    "NASBENCH201_OPS",
    "PROPERTIES",
    "TRAINING_FREE_SCORES",
    "Calibration",
    "CellForm",
    "CodeEnsemble",
    "CodePredictor",
    "Comparison",
    "Estimate",
    "FeatureImportance",
    "FeatureMemory",
    "GHNEmbedding",
    "GraphFeatures",
    "GraphRegressor",
    "LabelledGraphs",
    "MeasureConfig",
    "Measured",
    "PositionalEncoding",
    "PredictionScores",
    "Predictor",
    "PredictorRun",
    "PropertyImages",
    "PropertyInfo",
    "PropertyTable",
    "Ranked",
    "Split",
    "TrainingFreeScores",
    "baseline_predictors",
    "calibration",
    "cell_form",
    "cell_graph",
    "digits_labels",
    "digits_table",
    "embedding_svr",
    "evaluate_predictors",
    "feature_importance",
    "gaussian_process",
    "gradient_boosting",
    "kendall_tau",
    "list_predictors",
    "measure_network",
    "measure_properties",
    "measure_scores",
    "nasbench201",
    "plot_embedding",
    "plot_importance",
    "plot_learning_curves",
    "plot_predictions",
    "positional_encoding",
    "precision_at_top",
    "property_splits",
    "published_labels",
    "random_forest",
    "rank",
    "ridge",
    "score_predictions",
    "single_number",
    "spearman_rho",
    "training_free_scores",
]
