"""The pieces of a network that cutting it into blocks should leave whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ppuda_like.errors import GraphError
from ppuda_like.graph._cut_rules import Crossing, CutRules, Tied
from ppuda_like.graph._cuts import sweep
from ppuda_like.graph._flow import Flow
from ppuda_like.graph._graph import ComputationalGraph, Shape
from ppuda_like.graph._palette import family

__all__ = ["Unit", "units"]

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A piece of a chain of pieces that a network consists of.

    Attributes:
        name: path of the module that makes up the unit, as far as there is one.
        node: its last node in the full trace: the boundary behind the unit is the cut behind this node.
        shape: shape of the value it hands on.
    """

    name: str
    node: int
    shape: Shape


def units(
    graph: ComputationalGraph,
    *,
    head: bool = False,
    tied: Tied = "refuse",
    rebatched: ComputationalGraph | None = None,
) -> tuple[Unit, ...]:
    """The units of a network, in order: its residual, dense, inception or attention blocks, or else its layers.

    Units end at legal cuts of width 1, behind all that follows a layer element by element (normalisation, activation,
    dropout), and each holds a weight; pooling opens the next unit.  Where several values flow side by side through
    parts of the network, the modules of the depth at which most of these parts are found are the units, and so are
    modules of that depth with two or more weights in a row (an inverted residual without its shortcut).  Single layers
    between them (stem, down-sampling) belong to the unit they lead to, those behind the last one (head) to the last
    unit.  Elsewhere each convolution or linear layer makes a unit.

    Args:
        graph: a full trace.
        head: whether layers behind the last value with more than two dimensions, such as the linear layers of a
            classifier of images, are units of their own; otherwise they belong to the last unit.
        tied: as in :func:`legal_cuts`.
        rebatched: as in :func:`legal_cuts`.

    Returns:
        One unit at least; the last one ends with the network.

    Raises:
        GraphError: if the graph is lowered or does not tell which operations write in place.

    Example:
        >>> from torchvision.models import resnet18
        >>> from ppuda_like.graph import trace
        >>> [(unit.name, unit.shape[1:]) for unit in units(trace(resnet18()))][-3:]
        [('layer3.1', (256, 14, 14)), ('layer4.0', (512, 7, 7)), ('layer4.1', (1000,))]
    """
    flow = Flow(graph)
    if not flow.steps:
        raise GraphError(f"no output of {graph!r} is computed from its inputs: there is nothing to cut")
    rules = CutRules(flow, range(graph.num_nodes), tied, rebatched)
    chain = _Chain(flow)
    depth = chain.depth or 0

    def is_legal(link: _Link) -> bool:
        return link.cut is not None and rules.problem(link.cut, "") is None

    stretches = list(_stretches(chain, is_legal))
    every = chain.depth is None or sum(len(s.paths) if s.is_full(depth) else -len(s.paths) for s in stretches) < 0
    found: list[Unit] = []
    for stretch in stretches:
        in_head = chain.body is not None and all(place > chain.body for place in stretch.weights)
        if (head or not found) if in_head else (every or stretch.is_full(depth)):
            path = stretch.path[: depth + 1 if chain.depth is not None else None]
            end = stretch.links[-1].last
            found.append(Unit(name=".".join(path) or graph.names[end], node=end, shape=graph.out_shapes[end]))
    end = flow.steps[-1]
    name = found.pop().name if found else graph.names[end]
    return (*found, Unit(name=name, node=end, shape=graph.out_shapes[end]))


@dataclass(frozen=True, kw_only=True)
class _Link:
    """The nodes between two successive cuts of width 1, legal or not.

    Attributes:
        last: last node.
        cut: what crosses behind it; None at the end of the network.
        kind: ``"part"`` for several nodes, else what the only node is: ``"weight"``, ``"norm"``, ``"pointwise"``,
            ``"shape"``, or ``"other"``.
        path: of the module that all its nodes belong to.
        weights: its nodes with weights.
        paths: of the modules of these.
        running: how many modules are still running behind it.
    """

    last: int
    cut: Crossing | None
    kind: str
    path: Path
    weights: tuple[int, ...]
    paths: tuple[Path, ...]
    running: int


@dataclass(frozen=True)
class _Stretch:
    """Successive links; a unit, or part of one."""

    links: Sequence[_Link]

    @property
    def weights(self) -> list[int]:
        return [node for link in self.links for node in link.weights]

    @property
    def paths(self) -> list[Path]:
        return [path for link in self.links for path in link.paths]

    @property
    def path(self) -> Path:
        """Of the module that its parts, or else its weights, belong to."""
        weighted = [link for link in self.links if link.weights]
        parts = [link.path for link in weighted if link.kind == "part"]
        return _common(parts or [path for link in weighted for path in link.paths] or [self.links[-1].path])

    def is_full(self, depth: int) -> bool:
        """Whether it holds a part with weights, or a module with several weights, of the units' depth."""
        if any(link.kind == "part" and link.weights for link in self.links):
            return True
        within = Counter(path[: depth + 1] for path in self.paths if len(path) > depth)
        return max(within.values(), default=0) > 1


class _Chain:
    """A network as a chain of links.

    Attributes:
        links: the links, in order.
        depth: how many modules are running between two of the parts that make up most of the network; None without
            parts.
        body: the last node that makes a value of more than two dimensions, weights being used up to it; None if the
            network has weights only behind it.
    """

    def __init__(self, flow: Flow) -> None:
        graph, steps = flow.graph, flow.steps
        shapes = graph.params
        self._graph = graph
        self._weights = {i for path, nodes in flow.users.items() if len(shapes.get(path, ())) > 1 for i in nodes}
        paths = {node: _path(graph, node) for node in steps}
        ends: list[tuple[int, Crossing | None]] = [(cut.node, cut) for cut in sweep(flow, 1)[0]]
        position = {node: i for i, node in enumerate(steps)}
        self.links: list[_Link] = []
        start = 0
        for node, cut in [*ends, (steps[-1], None)]:
            stop = position[node] + 1
            # What is computed without parameters, as before the first layer, crosses beside any cut.
            inside = [i for i in steps[start:stop] if flow.carried[i]] or [node]
            weights = tuple([i for i in inside if i in self._weights])
            self.links.append(
                _Link(
                    last=node,
                    cut=cut,
                    kind="part" if len(inside) > 1 else self._kind(node),
                    path=_common([paths[i] for i in inside]),
                    weights=weights,
                    paths=tuple([paths[i] for i in weights]),
                    running=len(_common([paths[i] for i in steps[stop - 1 : stop + 1]])),
                )
            )
            start = stop
        sizes: Counter[int] = Counter()
        for before, link in zip([None, *self.links], self.links, strict=False):
            if link.kind == "part" and link.weights:
                sizes[max(len(link.path) - 1, 0)] += link.last - (before.last if before else 0)
        self.depth = min(sizes, key=lambda depth: (-sizes[depth], depth)) if sizes else None
        body = max((i for i in steps if len(graph.out_shapes[i]) > 2), default=None)
        self.body = None if body is None or body < min(self._weights, default=body + 1) else body

    def _kind(self, node: int) -> str:
        if node in self._weights:
            return "weight"
        kind = family(self._graph.ops[node])
        if kind in ("activation", "dropout", "sum", "product"):
            return "pointwise"
        return {"normalisation": "norm", "shape": "shape"}.get(kind, "other")


def _stretches(chain: _Chain, is_legal: Callable[[_Link], bool]) -> Iterator[_Stretch]:
    """Runs of links that end where a unit may end, each with a weight if any run has one."""
    ready: list[_Link] = []  # a run that ends well
    run: list[_Link] = []
    for i, link in enumerate(chain.links):
        run.append(link)
        between = chain.depth is None or link.running <= chain.depth
        if between and any(one.weights for one in run) and not _continues(chain.links, i) and is_legal(link):
            if ready:
                yield _Stretch(ready)
            ready, run = run, []
    if ready and any(link.weights for link in run):
        yield _Stretch(ready)
        yield _Stretch(run)
    else:
        yield _Stretch([*ready, *run])


def _continues(links: Sequence[_Link], i: int) -> bool:
    """Whether what follows a link works on its value element by element, or normalises what a single layer made."""
    following = next((link.kind for link in links[i + 1 :] if link.kind != "shape"), "other")
    if following != "norm":
        return following == "pointwise"
    made = next((link.kind for link in reversed(links[: i + 1]) if link.kind not in ("shape", "norm", "pointwise")), "")
    return made == "weight"


def _path(graph: ComputationalGraph, node: int) -> Path:
    """The modules a node was called in, outermost first; none for a call in the forward of the whole network."""
    name = graph.names[node]
    return () if name == graph.ops[node] else tuple(name.split("."))


def _common(paths: Iterable[Path]) -> Path:
    """The longest common beginning."""
    paths = list(paths)
    low, high = min(paths), max(paths)  # in between, in the order of tuples, all others share what these two do
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:length]
