"""Networks found again by their numbers, and checked to be the ones that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ppuda_like.deepnets import DeepNets, NetworkConfig, count_parameters, network_graph
from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, structure_hash
from ppuda_like.predictors._network_source import NetworkSource, network_source

__all__ = ["joined", "some"]

_SHOWN = 5  # networks that a message names at most
_WIDEST = 1 << 13  # channels of first cells that are tried when a width is looked for


def joined(
    split: str,
    index: Sequence[int],
    nets: DeepNets | Sequence[NetworkConfig] | None,
    facts: Mapping[str, Any],
    *,
    hashes: Sequence[int] | None,
    num_params: Sequence[float] | None,
) -> list[tuple[NetworkConfig, ComputationalGraph]]:
    """Networks whose properties are known, and their graphs.

    Args:
        split: what they belong to.
        index: their numbers in the random stream.
        nets: where they are; None to draw them anew.
        facts: ``width``, ``num_classes``, ``is_imagenet_input`` and perhaps ``seed`` of the networks.
        hashes: what their structure hashes must be; None not to check.
        num_params: what their numbers of parameters must be, NaN where it is not known; None not to check.

    Raises:
        DataError: if networks are missing, differ from the measured ones, or cannot be drawn.
    """
    fitted = facts.get("width") == "fitted"
    source = _source(split, nets, {**facts, "width": None} if fitted else facts)
    numbers = _numbers(split, index, source)
    counts = [math.nan] * len(numbers) if num_params is None else list(num_params)
    configs, differ = [], []
    for number, place, wanted in zip(index, numbers, counts, strict=True):
        config = source.config(place)
        found = _of_size(config, wanted, fitted)
        if found is None:
            there = f"{count_parameters(config):,} at width {config.C}"
            differ.append(f"{number} ({there}, but {int(wanted):,} in the table)")
        configs.append(found or config)
    if differ:
        at_any = " at any width" if fitted else ""
        raise DataError(
            f"{len(differ)} of {len(index)} networks of split '{split}' do not have the number of parameters of those "
            f"whose properties these are{at_any}: {some(differ)}; take the networks that the properties belong to"
        )
    graphs = [network_graph(config) for config in configs]
    if hashes is not None:
        other = [i for i, graph, known in zip(index, graphs, hashes, strict=True) if structure_hash(graph) != known]
        if other:
            raise DataError(
                f"{len(other)} of {len(index)} networks of split '{split}' have another graph than those whose "
                f"properties these are: {some(other)}; they were drawn by another version, or with another seed"
            )
    return list(zip(configs, graphs, strict=True))


def some(values: Iterable[object]) -> str:
    """A few of them, for a message."""
    found = list(values)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(str, found[:_SHOWN])) + more


def _source(split: str, nets: DeepNets | Sequence[NetworkConfig] | None, facts: Mapping[str, Any]) -> NetworkSource:
    if isinstance(nets, DeepNets) and nets.split != split:
        raise DataError(f"the properties are of split '{split}', the dataset holds split '{nets.split}'")
    if nets is None and "seed" not in facts:
        raise DataError(
            f"the networks of split '{split}' in this table were not drawn from a random stream of this package; give "
            "the dataset that holds them"
        )
    drawn = nets is None
    return network_source(
        split if nets is None else nets, **{key: value for key, value in facts.items() if drawn or key != "seed"}
    )


def _numbers(split: str, index: Sequence[int], source: NetworkSource) -> list[int]:
    places = source.places()
    if places is None:
        return list(index)
    missing = [number for number in index if number not in places]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(index)} networks of split '{split}' are not among the {len(places)} given: "
            f"{some(missing)}"
        )
    return [places[number] for number in index]


def _of_size(config: NetworkConfig, wanted: float, fitted: bool) -> NetworkConfig | None:
    """The network, or the one of another width, with so many parameters; None if there is none.

    Some sources count parameters that the forward pass never touches, and some do not.
    """
    if math.isnan(wanted) or wanted == _count(config, reached=False) or wanted == _count(config, reached=True):
        return config
    if not fitted:
        return None
    step = 8 if config.genotype.is_transformer else 2  # widths that a network can have: even ones, or one for each head
    for reached in (False, True):
        low, high = 1, _WIDEST // step
        while low < high:  # the number of parameters grows with the width
            middle = (low + high) // 2
            if _count(config.replace(C=step * middle), reached) < wanted:
                low = middle + 1
            else:
                high = middle
        if _count(config.replace(C=step * low), reached) == wanted:
            return config.replace(C=step * low)
    return None


def _count(config: NetworkConfig, reached: bool) -> int:
    return network_graph(config).num_params if reached else count_parameters(config)
