"""Networks cut into blocks that learn on their own.

After Pyeon et al., "SEDONA: Search for Decoupled Neural Networks toward Greedy Block-wise Learning" (ICLR 2021), and
Belilovsky et al., "Decoupled Greedy Learning of CNNs" (arXiv:1901.08164).
"""

from ppuda_like.search.blocks._blockwise import Block as Block
from ppuda_like.search.blocks._blockwise import BlockwiseModel as BlockwiseModel
from ppuda_like.search.blocks._frontier import Frontier as Frontier
from ppuda_like.search.blocks._split import split as split

__all__ = ["Block", "BlockwiseModel", "Frontier", "split"]
