"""Predictors: properties of networks that were never trained, from their computational graphs."""

from ppuda_like.predictors._labelled import LabelledGraphs as LabelledGraphs

__all__ = ["LabelledGraphs"]
