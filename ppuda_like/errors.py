"""The errors a caller may want to tell apart; all of them are :class:`ValueError`."""

__all__ = ["CheckpointError", "CodeError", "DataError", "GraphError", "PpudaLikeError", "PredictionError", "TraceError"]


class PpudaLikeError(ValueError):
    """Base of every error this package raises on purpose."""


class GraphError(PpudaLikeError):
    """A computational graph that breaks one of its rules."""


class TraceError(GraphError):
    """A model whose forward pass could not be recorded."""


class PredictionError(PpudaLikeError):
    """A hypernetwork that cannot predict the parameters asked for."""


class CheckpointError(PpudaLikeError):
    """A checkpoint file that is missing, broken, foreign, or made for something else."""


class DataError(PpudaLikeError):
    """Images or labels that are missing or unreadable."""


class CodeError(PpudaLikeError):
    """Codes of a search space that are off its grid, or a search over them that cannot be."""
