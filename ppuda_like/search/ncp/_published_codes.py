"""Codes that the paper's own tool names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ppuda_like.search.ncp._multi_resolution import MultiResolutionCode

__all__ = ["PUBLISHED_CODES"]

PUBLISHED_CODES: Mapping[str, MultiResolutionCode] = MappingProxyType(
    {
        name: MultiResolutionCode.from_text(text)
        for name, text in {
            "start": "64,64,2,2,64,2,2,2,64,64,2,2,2,2,64,64,64,2,2,2,2,2,64,64,64,64,64",
            "seg": "40,40,1,4,8,1,1,2,104,64,1,3,1,1,56,32,88,3,1,1,3,3,8,64,128,128,16",
            "cls": "88,128,1,1,128,1,1,4,120,32,2,1,2,4,128,128,128,1,1,1,1,1,32,128,8,8,128",
            "video": "8,8,1,1,88,1,1,1,8,8,1,1,1,1,64,128,128,1,1,1,1,4,80,128,128,48,128",
            "3ddet": "120,48,1,1,24,1,3,4,80,128,1,1,3,1,96,8,128,1,1,1,2,1,40,80,40,96,112",
        }.items()
    }
)
"""Where the published tool starts from, and what its authors found for four tasks, to transfer between them."""
