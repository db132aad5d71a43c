"""Taps found on the graph of a network."""

from __future__ import annotations

from itertools import accumulate, groupby

from torch import nn

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, legal_cuts, trace
from ppuda_like.search.dna._space import Space

__all__ = ["choose_taps"]


def choose_taps(model: nn.Module, space: Space) -> tuple[str, ...]:
    """Modules of a network whose features the stages of a space can imitate, by their height and width.

    Candidates are modules behind which the network may be cut: a single value crosses.  Stages of an output size share
    the modules of that size, of these the outermost ones that suffice.  Where they have as many widths as there are
    such stages, each stage has the last module of a width; otherwise the stages share the operations from the first to
    the last of these modules evenly, and the last stage has the last module.

    Args:
        model: a teacher to be, that can be traced.
        space: of the stages; the images have its size.

    Raises:
        DataError: if a size has fewer such modules than stages; it names the sizes that there are.

    Example:
        >>> from torchvision.models import resnet18
        >>> from ppuda_like.search.dna import imagenet_space
        >>> choose_taps(resnet18().eval(), imagenet_space())
        ('layer1', 'layer2', 'layer3.0', 'layer3', 'layer4.0', 'layer4')
    """
    graph = trace(model, (2, 3, space.image_size, space.image_size))
    done = list(accumulate(graph.flops))
    candidates = _candidates(model, graph)
    sizes = [space.size_in(stage + 1) for stage in range(len(space.stages))]
    found: list[str] = []
    for size, group in groupby(range(len(sizes)), key=lambda stage: sizes[stage]):
        stages = list(group)
        fitting = [(name, node) for name, node in candidates if graph.out_shapes[node][2:] == (size, size)]
        for depth in range(max([name.count(".") for name, _ in fitting], default=0)):
            outer = [(name, node) for name, node in fitting if name.count(".") <= depth]
            if len(outer) >= len(stages):
                fitting = outer
                break
        if len(fitting) < len(stages):
            there = sorted({graph.out_shapes[node][2] for _, node in candidates}, reverse=True)
            raise DataError(
                f"stages {', '.join(map(str, stages))} of '{space.name}' make features of {size}x{size}, but the "
                f"network can be cut behind {len(fitting)} modules with such features (there are {there} pixels); "
                "take another network, other strides, or give taps by name"
            )
        widths = [graph.out_shapes[node][1] for _, node in fitting]
        last_of_width = [place for place, width in enumerate(widths) if width not in widths[place + 1 :]]
        if len(last_of_width) == len(stages):
            found += [fitting[place][0] for place in last_of_width]
            continue
        begin, end = done[fitting[0][1]], done[fitting[-1][1]]
        places: list[int] = []
        for number in range(len(stages)):
            # Of the places that leave enough for the stages to come, the nearest to an even share.
            free = range(places[-1] + 1 if places else 0, len(fitting) - (len(stages) - 1 - number))
            wanted = begin + (end - begin) * (number + 1) / len(stages)
            places.append(min(free, key=lambda place: (abs(done[fitting[place][1]] - wanted), -place)))
        found += [fitting[place][0] for place in places]
    return tuple(found)


def _candidates(model: nn.Module, graph: ComputationalGraph) -> list[tuple[str, int]]:
    """Modules whose result is the one value that crosses a legal cut, and the node of the value, in order."""
    node_of = {name: node for node, name in enumerate(graph.names)}
    last_inside: dict[str, int] = {}
    for name, node in node_of.items():
        last_inside[name] = max(node, last_inside.get(name, -1))
        path = name
        while "." in path:
            path = path.rpartition(".")[0]
            last_inside[path] = max(node, last_inside.get(path, -1))
    modules = {path for path, _ in model.named_modules() if path}
    by_node: dict[int, str] = {}
    for path, node in last_inside.items():
        # The outermost of the modules that end with the value: the name that people know.
        if path in modules and (node not in by_node or len(path) < len(by_node[node])):
            by_node[node] = path
    found = []
    for cut in legal_cuts(graph):
        (value,) = cut.frontier
        if value in by_node and len(graph.out_shapes[value]) == 4:
            found.append((by_node[value], value))
    return found
