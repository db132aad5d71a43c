"""Metrics of a training run, averaged and written as JSON lines."""

from ppuda_like._runs import JsonLines as JsonLines
from ppuda_like._runs import Means as Means

__all__ = ["JsonLines", "Means"]
