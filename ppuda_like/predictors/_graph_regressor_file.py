"""Files of fitted graph regressors: safetensors with their arguments as JSON in the header."""

from __future__ import annotations

import inspect
import math
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ppuda_like.errors import CheckpointError, PpudaLikeError
from ppuda_like.predictors._features_json import features_from_json, features_to_json, names_from_json
from ppuda_like.predictors._gnn import GraphNetwork, GraphNetworkConfig
from ppuda_like.predictors._gnn_data import NODE_FEATURES, Encoder, Standardizer
from ppuda_like.predictors._graph_regressor import GraphRegressor
from ppuda_like.predictors._predictor_file import (
    PredictorFile,
    checked_tensor,
    read_predictor_file,
    write_predictor_file,
)

__all__ = ["KIND", "read_regressor", "regressor_from_file", "write_regressor"]

KIND = "graph-regressor"
_SCALES = ("node_scale", "fact_scale", "target_scale")


def write_regressor(path: str | PathLike[str], regressor: GraphRegressor, about: dict[str, Any]) -> None:
    """See :meth:`GraphRegressor.save`."""
    check_is_fitted(regressor, "network_")
    arguments = regressor.get_params(deep=False)
    if not isinstance(arguments["random_state"], int | None):
        raise CheckpointError(
            f"a regressor can be saved whose 'random_state' is a number or None (got {arguments['random_state']!r})"
        )
    arguments["features"] = None if regressor.features_ is None else features_to_json(regressor.features_)
    arguments["ops"] = list(arguments["ops"])
    fitted = {
        "ops": regressor.encoder_.ops,
        "node_features": NODE_FEATURES,
        "num_facts": regressor.network_.config.num_facts,
        "nodes_per_graph": regressor.network_.config.nodes_per_graph,
        "spread_factor": regressor.spread_factor_,
        "residual_variance": regressor.residual_variance_,
    }
    tensors = {f"network.{name}": value for name, value in regressor.network_.state_dict().items()}
    for name in _SCALES:
        tensors[name] = torch.from_numpy(np.stack(getattr(regressor, f"{name}_")))
    write_predictor_file(
        path, PredictorFile(kind=KIND, arguments=arguments, fitted=fitted, about=about, tensors=tensors)
    )


def read_regressor(path: str | PathLike[str]) -> tuple[GraphRegressor, dict[str, Any]]:
    """See :meth:`GraphRegressor.read`."""
    content = read_predictor_file(path)
    if content.kind != KIND:
        raise CheckpointError(f"'{path}' was not written by GraphRegressor.save: its kind is {content.kind!r}")
    try:
        return regressor_from_file(content), content.about
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # the package's own errors are ValueErrors
        reason = str(error) if isinstance(error, PpudaLikeError) else repr(error)
        raise CheckpointError(f"'{path}' holds no graph regressor that fits together: {reason}") from error


def regressor_from_file(content: PredictorFile) -> GraphRegressor:
    """The regressor of a file, fitted.

    Raises:
        CheckpointError: if the parts of the file do not fit together.
        KeyError, TypeError, ValueError: likewise.
    """
    arguments, fitted, tensors = content.arguments, content.fitted, content.tensors
    known = set(inspect.signature(GraphRegressor.__init__).parameters) - {"self"}
    if set(arguments) != known:
        raise CheckpointError(f"its arguments differ from the known ones in {sorted(set(arguments) ^ known)}")
    transformer = None if arguments["features"] is None else features_from_json(arguments["features"])
    regressor = GraphRegressor(**{**arguments, "features": transformer, "ops": tuple(arguments["ops"])})
    if tuple(fitted["node_features"]) != NODE_FEATURES:
        raise CheckpointError(
            f"its features of nodes are {fitted['node_features']}, those of this version {NODE_FEATURES}"
        )
    regressor.features_ = transformer
    regressor.encoder_ = Encoder(
        ops=names_from_json(fitted["ops"]), virtual_cutoff=_cutoff(arguments["virtual_cutoff"])
    )
    for name in ("spread_factor", "residual_variance"):
        value = fitted[name]
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise CheckpointError(f"'{name}' must be a number, at least 0 (got {value!r})")
        setattr(regressor, f"{name}_", float(value))
    config = regressor._network_config(int(fitted["num_facts"]), float(fitted["nodes_per_graph"]))
    columns = {"node_scale": config.num_features, "fact_scale": config.num_facts, "target_scale": 1}
    for name, width in columns.items():
        found = checked_tensor(tensors, name, (2, width), torch.float64).numpy()
        if not (found[1] > 0).all():
            raise CheckpointError(f"'{name}' must divide by positive numbers (got {found[1].min()})")
        setattr(regressor, f"{name}_", Standardizer(*found))
    regressor.network_ = _network(config, tensors)
    return regressor


def _network(config: GraphNetworkConfig, tensors: dict[str, Tensor]) -> GraphNetwork:
    # Before a network is built whose size nothing but the header vouches for.
    checked_tensor(tensors, "network.op", (config.members, config.num_ops, config.hidden), torch.float32)
    if config.num_layers > len(tensors):
        raise CheckpointError(f"it has {len(tensors)} tensors, too few for {config.num_layers} layers")
    with torch.device("meta"):
        network = GraphNetwork(config)
    shapes = {f"network.{name}": tuple(value.shape) for name, value in network.state_dict().items()}
    wrong = sorted((set(shapes) | set(_SCALES)) ^ set(tensors))
    if wrong:
        raise CheckpointError(f"its tensors differ from those of its arguments in {wrong[:5]}")
    state = {
        name.removeprefix("network."): checked_tensor(tensors, name, shape, torch.float32)
        for name, shape in shapes.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()


def _cutoff(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise CheckpointError(f"'virtual_cutoff' must be None or at least 1 (got {value!r})")
    return value
