"""Network codes: spaces, networks, exact costs, benchmark tables, and edits along the gradient of predictors.

After Ding et al., "Learning Versatile Neural Architectures by Propagating Network Codes" (arXiv:2103.13253).
"""

from ppuda_like.search.ncp._cell_space import NASBENCH201 as NASBENCH201
from ppuda_like.search.ncp._cell_space import CellSpace as CellSpace
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION as MULTI_RESOLUTION
from ppuda_like.search.ncp._multi_resolution_space import MultiResolutionSpace as MultiResolutionSpace
from ppuda_like.search.ncp._space import COST_NAMES as COST_NAMES
from ppuda_like.search.ncp._space import CodeSpace as CodeSpace

__all__ = [
    "COST_NAMES",
    "MULTI_RESOLUTION",
    "NASBENCH201",
    "CellSpace",
    "CodeSpace",
    "MultiResolutionSpace",
]
