"""Real submodules for the blocks of a partition."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from ppuda_like.errors import GraphError
from ppuda_like.graph import Partition
from ppuda_like.search.blocks._blockwise import Block, BlockwiseModel
from ppuda_like.search.blocks._locate import Located, locate

__all__ = ["split"]


def split(model: nn.Module, partition: Partition) -> BlockwiseModel:
    """A network as a chain of blocks, each a module of its own.

    Modules that no boundary goes through stay whole: whatever their forward does, their block calls them.  torch.fx
    follows the forward of the modules that do hold a boundary, the network's own first of all; what it finds is checked
    against the trace, operation by operation.  A network left in one block is called as it is.

    Parameters and buffers are those of the model, not copies; where the partition is ``tied="copy"``, the blocks behind
    the first that uses a shared one get copies of the modules that hold it.

    Args:
        model: the network, as it was traced: in the same mode, with the same arguments.
        partition: of a trace of this model.

    Returns:
        The blocks; undetached they give the very output of the model.

    Raises:
        GraphError: if torch.fx cannot follow a forward that a boundary goes through, or finds other operations than the
            trace.

    Example:
        >>> from ppuda_like.graph import trace
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> blocks = split(model, Partition.at(trace(model, (1, 4)), ["1"]))
        >>> x = torch.ones(3, 4)
        >>> blocks.num_blocks, blocks.shapes, blocks(x).equal(model(x))
        (2, (((8,),),), True)
    """
    if partition.num_blocks == 1:
        return BlockwiseModel([Block(model, None)], partition)
    graph = _followed(model, partition)
    only_mode: bool | None = None
    with _other_mode(model):
        try:
            same = str(_followed(model, partition)) == str(graph)
        except GraphError:  # which is of no concern in the mode that was asked for
            same = False
    if not same:
        only_mode = model.training
    located = locate(model, graph, partition)
    owned: set[int] = set()
    blocks = [_block(model, graph, located, index, partition, owned) for index in range(partition.num_blocks)]
    return BlockwiseModel(blocks, partition, only_mode).train(model.training)


class _Tracer(fx.Tracer):
    """Follows only modules that a boundary goes through."""

    def __init__(self, partition: Partition) -> None:
        super().__init__()
        blocks: dict[str, set[int]] = {}
        for name, block in zip(partition.graph.names, partition.block_of, strict=True):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                blocks.setdefault(".".join(parts[:length]), set()).add(block)
        self._cut = {path for path, found in blocks.items() if len(found) > 1}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self._cut or (
            # A stateless module that several blocks call, such as the ReLU of a residual block, has no inside to cut.
            not any(True for _ in m.children()) and super().is_leaf_module(m, module_qualified_name)
        )


def _followed(model: nn.Module, partition: Partition) -> fx.Graph:
    try:
        with torch.random.fork_rng(devices=[]):
            return _Tracer(partition).trace(model)
    except Exception as error:  # whatever user code raises on proxies is reported with what to do
        raise GraphError(
            f"torch.fx cannot follow the forward of {type(model).__name__} or of a module that a boundary goes "
            f"through ({type(error).__name__}: {error}); cut between the modules of the network, make its own forward "
            "free of branches on values, or write the network as an nn.Sequential of the pieces to cut at"
        ) from error


@contextmanager
def _other_mode(model: nn.Module) -> Iterator[None]:
    """The model with training and evaluation exchanged; afterwards every module is as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.train(not model.training)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _block(
    model: nn.Module, graph: fx.Graph, located: Located, index: int, partition: Partition, owned: set[int]
) -> Block:
    """The block of that index; parameters that ``owned`` does not hold yet are added to it."""
    new = fx.Graph()
    env: dict[fx.Node, fx.Node] = {}
    if index == 0:
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = new.node_copy(node)
    else:
        values, passed = located.crossing[index - 1]
        for node in (*values, *passed):
            env[node] = new.placeholder(node.name)
    root: dict[str, Any] = {}

    def copied(node: fx.Node) -> fx.Node:
        if node not in env:  # attributes come where they are used
            root[str(node.target)] = _own(_fetch(model, str(node.target)), owned, partition)
            env[node] = new.node_copy(node)
        return env[node]

    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr", "output") or located.block_of[node] != index:
            continue
        if node.op == "call_module":
            target = str(node.target)
            if target not in root:
                root[target] = _own(_fetch(model, target), owned, partition)
        env[node] = new.node_copy(node, copied)
    width: int | None = None
    if index == partition.num_blocks - 1:
        [output] = [node for node in graph.nodes if node.op == "output"]
        new.output(fx.map_arg(output.args[0], copied))
    else:
        values, passed = located.crossing[index]
        width = len(values)
        new.output(tuple([env[node] for node in (*values, *passed)]))
    for held in root.values():
        owned |= {id(tensor) for tensor in _parameters(held)}
    return Block(fx.GraphModule(root, new, class_name=f"Block{index}"), width)


def _own(held: Any, owned: set[int], partition: Partition) -> Any:
    """A module or tensor itself, or a copy if an earlier block trains it."""
    if partition.tied == "copy" and any(id(tensor) in owned for tensor in _parameters(held)):
        return copy.deepcopy(held)
    return held


def _parameters(held: Any) -> list[Tensor]:
    if isinstance(held, nn.Module):
        return list(held.parameters())
    return [held] if isinstance(held, nn.Parameter) else []


def _fetch(model: nn.Module, target: str) -> Any:
    found: Any = model
    for name in target.split("."):
        found = getattr(found, name)
    return found
