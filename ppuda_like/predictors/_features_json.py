"""Fitted transformers of graphs as JSON: names and numbers, no objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.pipeline import FeatureUnion

from ppuda_like.errors import CheckpointError
from ppuda_like.predictors._embeddings import GHNEmbedding, ghn_hash, resolve_ghn
from ppuda_like.predictors._graph_features import GraphFeatures
from ppuda_like.predictors._positional import PositionalEncoding

__all__ = ["features_from_json", "features_to_json", "names_from_json"]

# Transformers that a file can hold, with the attributes that fitting gives them: tuples of strings.
_TRANSFORMERS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "GraphFeatures": (GraphFeatures, ("ops_", "kinds_")),
    "PositionalEncoding": (PositionalEncoding, ()),
}
_UNION = "FeatureUnion"
_EMBEDDING = "GHNEmbedding"
_KNOWN = (*_TRANSFORMERS, _EMBEDDING, _UNION)


def features_to_json(transformer: Any) -> dict[str, Any]:
    """A fitted transformer as JSON values.

    Raises:
        CheckpointError: if it is none of the package's, or embeds with a hypernetwork that is not bundled.
    """
    name = type(transformer).__name__
    if type(transformer) is FeatureUnion and transformer.transformer_weights is None:
        return {"name": _UNION, "parts": [[key, features_to_json(part)] for key, part in transformer.transformer_list]}
    if type(transformer) is GHNEmbedding:
        if not isinstance(transformer.ghn, str):
            raise CheckpointError(
                "embeddings can be saved that are made by a hypernetwork given by name "
                f"(got {type(transformer.ghn).__name__})"
            )
        return {"name": _EMBEDDING, "ghn": transformer.ghn, "hash": ghn_hash(resolve_ghn(transformer.ghn))}
    if name not in _TRANSFORMERS or type(transformer) is not _TRANSFORMERS[name][0]:
        raise CheckpointError(
            f"features can be saved that are one of {', '.join(_KNOWN)} (got {name}); a file holds names and numbers, "
            "no objects"
        )
    fitted = {key: list(getattr(transformer, key)) for key in _TRANSFORMERS[name][1]}
    return {"name": name, "arguments": transformer.get_params(deep=False), "fitted": fitted}


def features_from_json(values: Mapping[str, Any]) -> Any:
    """The fitted transformer that :func:`features_to_json` described.

    Raises:
        CheckpointError: if it is not known, or its hypernetwork has other weights here.
        KeyError, TypeError: if values are missing or of other types.
    """
    name = values["name"]
    if name == _UNION:
        return FeatureUnion([(str(key), features_from_json(part)) for key, part in values["parts"]])
    if name == _EMBEDDING:
        embedding = GHNEmbedding(str(values["ghn"]))
        found = ghn_hash(resolve_ghn(embedding.ghn))
        if found != values["hash"]:
            raise CheckpointError(
                f"its features are embeddings by '{embedding.ghn}' with other weights than it has here "
                f"({values['hash']}, not {found}); use the version of the package that the file was made with"
            )
        return embedding
    if name not in _TRANSFORMERS:
        raise CheckpointError(f"its features are {name!r}; known are {', '.join(_KNOWN)}")
    kind, attributes = _TRANSFORMERS[name]
    arguments = dict(values["arguments"])
    transformer = kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()})
    for key in attributes:
        setattr(transformer, key, names_from_json(values["fitted"][key]))
    return transformer


def names_from_json(values: Any) -> tuple[str, ...]:
    """A list of strings as a tuple.

    Raises:
        CheckpointError: if it is something else.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"wanted a list of names (got {values!r:.80})")
    return tuple(values)
