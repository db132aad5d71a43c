"""Hypothesis strategies and assertions for code that works on graphs; they need the package ``hypothesis``."""

from ppuda_like.testing._equivariance import assert_permutation_equivariant as assert_permutation_equivariant
from ppuda_like.testing._isomorphism import assert_isomorphic as assert_isomorphic
from ppuda_like.testing._isomorphism import permuted as permuted
from ppuda_like.testing._strategies import dags as dags
from ppuda_like.testing._strategies import random_graphs as random_graphs
from ppuda_like.testing._strategies import topological_orders as topological_orders

__all__ = [
    "assert_isomorphic",
    "assert_permutation_equivariant",
    "dags",
    "permuted",
    "random_graphs",
    "topological_orders",
]
