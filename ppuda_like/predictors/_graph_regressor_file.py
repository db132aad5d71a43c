"""Files of fitted graph regressors: safetensors with their arguments as JSON in the header."""

from __future__ import annotations

import inspect
import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ppuda_like._files import replacing
from ppuda_like.errors import CheckpointError, PpudaLikeError
from ppuda_like.predictors._gnn import GraphNetwork, GraphNetworkConfig
from ppuda_like.predictors._gnn_data import NODE_FEATURES, Encoder, Standardizer
from ppuda_like.predictors._graph_features import GraphFeatures
from ppuda_like.predictors._graph_regressor import GraphRegressor
from ppuda_like.predictors._positional import PositionalEncoding

__all__ = ["read_regressor", "write_regressor"]

FORMAT = "1"
_KIND = "graph-regressor"
_SCALES = ("node_scale", "fact_scale", "target_scale")

# Transformers of graphs that a file can hold, with the attributes that fitting gives them: tuples of strings.
_TRANSFORMERS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "GraphFeatures": (GraphFeatures, ("ops_", "kinds_")),
    "PositionalEncoding": (PositionalEncoding, ()),
}


def write_regressor(path: str | PathLike[str], regressor: GraphRegressor, about: dict[str, Any]) -> None:
    """See :meth:`GraphRegressor.save`."""
    check_is_fitted(regressor, "network_")
    arguments = regressor.get_params(deep=False)
    if not isinstance(arguments["random_state"], int | None):
        raise CheckpointError(
            f"a regressor can be saved whose 'random_state' is a number or None (got {arguments['random_state']!r})"
        )
    arguments["features"] = _transformer_to_json(regressor.features_)
    arguments["ops"] = list(arguments["ops"])
    header = {
        "format": FORMAT,
        "kind": _KIND,
        "arguments": json.dumps(arguments, sort_keys=True),
        "fitted": json.dumps(
            {
                "ops": regressor.encoder_.ops,
                "node_features": NODE_FEATURES,
                "num_facts": regressor.network_.config.num_facts,
                "nodes_per_graph": regressor.network_.config.nodes_per_graph,
                "spread_factor": regressor.spread_factor_,
                "residual_variance": regressor.residual_variance_,
            }
        ),
        "about": json.dumps(about, sort_keys=True),
    }
    tensors = {f"network.{name}": value.contiguous() for name, value in regressor.network_.state_dict().items()}
    for name in _SCALES:
        tensors[name] = torch.from_numpy(np.stack(getattr(regressor, f"{name}_")))
    with replacing(path) as partial:
        save_file(tensors, partial, metadata=header)


def read_regressor(path: str | PathLike[str]) -> tuple[GraphRegressor, dict[str, Any]]:
    """See :meth:`GraphRegressor.read`."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file '{path}' of a graph regressor; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is not a complete safetensors file ({error}); get the file again") from error
    wanted = {"format", "kind", "arguments", "fitted", "about"}
    if header.get("format") != FORMAT or header.get("kind") != _KIND or not wanted <= set(header):
        raise CheckpointError(
            f"'{path}' was not written by GraphRegressor.save: wanted a header of kind {_KIND!r} and format {FORMAT} "
            f"(got kind {header.get('kind')!r}, format {header.get('format')!r}, names {sorted(header)})"
        )
    try:
        return _assemble(json.loads(header["arguments"]), json.loads(header["fitted"]), tensors), dict(
            json.loads(header["about"])
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:  # the package's own errors are ValueErrors
        reason = str(error) if isinstance(error, PpudaLikeError) else repr(error)
        raise CheckpointError(f"'{path}' holds no graph regressor that fits together: {reason}") from error


def _assemble(arguments: dict[str, Any], fitted: dict[str, Any], tensors: dict[str, Tensor]) -> GraphRegressor:
    known = set(inspect.signature(GraphRegressor.__init__).parameters) - {"self"}
    if set(arguments) != known:
        raise CheckpointError(f"its arguments differ from the known ones in {sorted(set(arguments) ^ known)}")
    transformer = _transformer_from_json(arguments["features"])
    regressor = GraphRegressor(**{**arguments, "features": transformer, "ops": tuple(arguments["ops"])})
    if tuple(fitted["node_features"]) != NODE_FEATURES:
        raise CheckpointError(
            f"its features of nodes are {fitted['node_features']}, those of this version {NODE_FEATURES}"
        )
    regressor.features_ = transformer
    regressor.encoder_ = Encoder(ops=_strings(fitted["ops"]), virtual_cutoff=_cutoff(arguments["virtual_cutoff"]))
    for name in ("spread_factor", "residual_variance"):
        value = fitted[name]
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise CheckpointError(f"'{name}' must be a number, at least 0 (got {value!r})")
        setattr(regressor, f"{name}_", float(value))
    config = regressor._network_config(int(fitted["num_facts"]), float(fitted["nodes_per_graph"]))
    columns = {"node_scale": config.num_features, "fact_scale": config.num_facts, "target_scale": 1}
    for name, width in columns.items():
        found = _tensor(tensors, name, (2, width), torch.float64).numpy()
        if not (found[1] > 0).all():
            raise CheckpointError(f"'{name}' must divide by positive numbers (got {found[1].min()})")
        setattr(regressor, f"{name}_", Standardizer(*found))
    regressor.network_ = _network(config, tensors)
    return regressor


def _network(config: GraphNetworkConfig, tensors: dict[str, Tensor]) -> GraphNetwork:
    # Before a network is built whose size nothing but the header vouches for.
    _tensor(tensors, "network.op", (config.members, config.num_ops, config.hidden), torch.float32)
    if config.num_layers > len(tensors):
        raise CheckpointError(f"it has {len(tensors)} tensors, too few for {config.num_layers} layers")
    with torch.device("meta"):
        network = GraphNetwork(config)
    shapes = {f"network.{name}": tuple(value.shape) for name, value in network.state_dict().items()}
    wrong = sorted((set(shapes) | set(_SCALES)) ^ set(tensors))
    if wrong:
        raise CheckpointError(f"its tensors differ from those of its arguments in {wrong[:5]}")
    state = {
        name.removeprefix("network."): _tensor(tensors, name, shape, torch.float32) for name, shape in shapes.items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()


def _tensor(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    found = tensors[name]
    if tuple(found.shape) != shape or found.dtype != dtype:
        raise CheckpointError(f"'{name}' must be {dtype} of shape {shape} (got {found.dtype} {tuple(found.shape)})")
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"'{name}' holds NaN or infinity")
    return found


def _strings(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"wanted a list of names (got {values!r:.80})")
    return tuple(values)


def _cutoff(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise CheckpointError(f"'virtual_cutoff' must be None or at least 1 (got {value!r})")
    return value


def _transformer_to_json(transformer: Any) -> dict[str, Any] | None:
    if transformer is None:
        return None
    name = type(transformer).__name__
    if name not in _TRANSFORMERS or type(transformer) is not _TRANSFORMERS[name][0]:
        raise CheckpointError(
            f"a regressor can be saved whose 'features' are one of {', '.join(_TRANSFORMERS)} (got {name}); a file "
            "holds names and numbers, no objects"
        )
    fitted = {key: list(getattr(transformer, key)) for key in _TRANSFORMERS[name][1]}
    return {"name": name, "arguments": transformer.get_params(deep=False), "fitted": fitted}


def _transformer_from_json(values: dict[str, Any] | None) -> Any:
    if values is None:
        return None
    if values["name"] not in _TRANSFORMERS:
        raise CheckpointError(f"its features are {values['name']!r}; known are {', '.join(_TRANSFORMERS)}")
    kind, attributes = _TRANSFORMERS[values["name"]]
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in values["arguments"].items()}
    transformer = kind(**arguments)
    for key in attributes:
        setattr(transformer, key, _strings(values["fitted"][key]))
    return transformer
