"""The error of this subpackage."""

from ppuda_like.errors import PpudaLikeError

__all__ = ["NetworkError"]


class NetworkError(PpudaLikeError):
    """A genotype, network arguments or a split from which no network can be made."""
