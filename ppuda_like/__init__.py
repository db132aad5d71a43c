"""Every architecture is a computational graph: trace it, predict its parameters and properties, search over it."""

__version__ = "0.1.0"
