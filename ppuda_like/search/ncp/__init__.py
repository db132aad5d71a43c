"""Network codes: spaces, networks, exact costs, benchmark tables, and edits along the gradient of predictors.

After Ding et al., "Learning Versatile Neural Architectures by Propagating Network Codes" (arXiv:2103.13253).
"""

from ppuda_like.search.ncp._bundled_tables import list_tables as list_tables
from ppuda_like.search.ncp._bundled_tables import load_table as load_table
from ppuda_like.search.ncp._cell_network import CellNet as CellNet
from ppuda_like.search.ncp._cell_space import NASBENCH201 as NASBENCH201
from ppuda_like.search.ncp._cell_space import CellSpace as CellSpace
from ppuda_like.search.ncp._cells import CellCode as CellCode
from ppuda_like.search.ncp._compare import CodePredictorRun as CodePredictorRun
from ppuda_like.search.ncp._compare import PredictorComparison as PredictorComparison
from ppuda_like.search.ncp._compare import compare_predictors as compare_predictors
from ppuda_like.search.ncp._compare import reference_split as reference_split
from ppuda_like.search.ncp._constraints import Constraints as Constraints
from ppuda_like.search.ncp._edit import edit as edit
from ppuda_like.search.ncp._edit import edit_published as edit_published
from ppuda_like.search.ncp._judge import NearestRows as NearestRows
from ppuda_like.search.ncp._judge import judge as judge
from ppuda_like.search.ncp._judge import nearest_rows as nearest_rows
from ppuda_like.search.ncp._judge import regret_curve as regret_curve
from ppuda_like.search.ncp._judge import true_rank as true_rank
from ppuda_like.search.ncp._judge import true_values as true_values
from ppuda_like.search.ncp._module_graph import module_graph as module_graph
from ppuda_like.search.ncp._multi_resolution import MultiResolutionCode as MultiResolutionCode
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION as MULTI_RESOLUTION
from ppuda_like.search.ncp._multi_resolution_space import MultiResolutionSpace as MultiResolutionSpace
from ppuda_like.search.ncp._network import MultiResolutionNet as MultiResolutionNet
from ppuda_like.search.ncp._objective import Objective as Objective
from ppuda_like.search.ncp._plots import pareto_front as pareto_front
from ppuda_like.search.ncp._plots import plot_comparison as plot_comparison
from ppuda_like.search.ncp._plots import plot_edit as plot_edit
from ppuda_like.search.ncp._predictor_kinds import PREDICTOR_KINDS as PREDICTOR_KINDS
from ppuda_like.search.ncp._predictor_kinds import fit_predictor as fit_predictor
from ppuda_like.search.ncp._published_codes import PUBLISHED_CODES as PUBLISHED_CODES
from ppuda_like.search.ncp._rounds import search_in_rounds as search_in_rounds
from ppuda_like.search.ncp._search_comparison import SearchComparison as SearchComparison
from ppuda_like.search.ncp._search_comparison import compare_searches as compare_searches
from ppuda_like.search.ncp._search_result import SearchResult as SearchResult
from ppuda_like.search.ncp._searches import edit_search as edit_search
from ppuda_like.search.ncp._searches import evolve as evolve
from ppuda_like.search.ncp._searches import local_search as local_search
from ppuda_like.search.ncp._searches import random_search as random_search
from ppuda_like.search.ncp._searches import score_all as score_all
from ppuda_like.search.ncp._space import COST_NAMES as COST_NAMES
from ppuda_like.search.ncp._space import CodeSpace as CodeSpace
from ppuda_like.search.ncp._spaces import code_space as code_space
from ppuda_like.search.ncp._table import CodeTable as CodeTable
from ppuda_like.search.ncp._table_files import read_table as read_table
from ppuda_like.search.ncp._table_files import write_table as write_table
from ppuda_like.search.ncp._table_predictor import TablePredictor as TablePredictor
from ppuda_like.search.ncp._trajectory import EditedCode as EditedCode
from ppuda_like.search.ncp._trajectory import EditTrajectory as EditTrajectory

__all__ = [
    "COST_NAMES",
    "MULTI_RESOLUTION",
    "NASBENCH201",
    "PREDICTOR_KINDS",
    "PUBLISHED_CODES",
    "CellCode",
    "CellNet",
    "CellSpace",
    "CodePredictorRun",
    "CodeSpace",
    "CodeTable",
    "Constraints",
    "EditTrajectory",
    "EditedCode",
    "MultiResolutionCode",
    "MultiResolutionNet",
    "MultiResolutionSpace",
    "NearestRows",
    "Objective",
    "PredictorComparison",
    "SearchComparison",
    "SearchResult",
    "TablePredictor",
    "code_space",
    "compare_predictors",
    "compare_searches",
    "edit",
    "edit_published",
    "edit_search",
    "evolve",
    "fit_predictor",
    "judge",
    "list_tables",
    "load_table",
    "local_search",
    "module_graph",
    "nearest_rows",
    "pareto_front",
    "plot_comparison",
    "plot_edit",
    "random_search",
    "read_table",
    "reference_split",
    "regret_curve",
    "score_all",
    "search_in_rounds",
    "true_rank",
    "true_values",
    "write_table",
]
