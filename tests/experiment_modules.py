"""Importing the scripts of an experiment, which are no package and share their file names."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

_NAMES = ("run", "recipes", "figures", "published")
_EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def experiment(name: str) -> ModuleType:
    """The module ``run`` of an experiment; its own ``recipes`` is an attribute of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_EXPERIMENTS / name)
        for module in _NAMES:
            sys.modules.pop(module, None)
        try:
            return importlib.import_module("run")
        finally:
            for module in _NAMES:
                sys.modules.pop(module, None)
