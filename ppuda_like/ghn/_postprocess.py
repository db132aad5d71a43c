"""Making predicted parameters easier to train on (arXiv:2207.10049)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._batch import lowered
from ppuda_like.ghn._targets import class_layer_nodes
from ppuda_like.graph import ComputationalGraph

__all__ = ["postprocess"]


@torch.no_grad()
def postprocess(
    model: nn.Module,
    graph: ComputationalGraph,
    *,
    orth: bool = False,
    noise: float = 0.0,
    max_channels: tuple[int, int] | None = None,
    first_layer: int = 0,
    generator: torch.Generator | None = None,
) -> tuple[str, ...]:
    """Change predicted weights in place, before the network is trained on.

    A hypernetwork gives wide layers copies of the same channels, and predicts similar channels elsewhere: neurons that
    start alike learn alike.  ``noise`` tells the copies apart, ``orth`` all channels.  The weights with two dimensions
    or more are changed, but for those of the class layer.

    Args:
        model: the network, filled by :meth:`GHN.fill`.
        graph: its graph, full or lowered to ``ppuda``.
        orth: replace the 2-D view (output channels, rest) of each weight by the orthogonal factor of its QR
            decomposition, with signs that make the diagonal of the triangular one positive; of its transpose where it
            has more columns than rows.  A weight that is orthogonal already stays as it is.
        noise: standard deviation of Gaussian noise added to the entries past ``max_channels``, relative to that of the
            correlations of output channels, ``W W^T`` of the 2-D view; 0 for none.  Published: 1e-5.
        max_channels: output and input channels that the hypernetwork decodes, the first two of its ``max_shape``: what
            is past them is a copy.  Needed with ``noise``.
        first_layer: number of the first weight to change, in the order of the graph.
        generator: where the noise comes from, on the CPU; needed with ``noise``.

    Returns:
        Names of the weights that were changed.

    Raises:
        PredictionError: if ``noise`` is negative or comes without what it needs, or a weight of the graph is not in the
            model.

    Example:
        >>> from ppuda_like import trace
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        >>> postprocess(model, trace(model, (1, 3, 8, 8)), orth=True)
        ('0.weight',)
        >>> weight = model[0].weight.flatten(1)
        >>> bool(torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5))
        True
    """
    if noise < 0:
        raise PredictionError(f"'noise' must be 0 or more (got {noise})")
    if noise and (max_channels is None or generator is None):
        raise PredictionError("'noise' needs 'max_channels', past which it is added, and a 'generator'")
    changed = []
    for name in _weights(graph)[first_layer:]:
        try:
            weight = model.get_parameter(name)
        except AttributeError:
            raise PredictionError(
                f"the graph of {graph.name or 'the network'} holds a weight '{name}' that the model does not have; "
                "pass the graph of this model"
            ) from None
        if noise and max_channels is not None and generator is not None:
            _add_noise(weight, noise, max_channels, generator)
        if orth:
            weight.copy_(_orthogonal(weight.flatten(1)).view_as(weight))
        if orth or noise:
            changed.append(name)
    return tuple(changed)


def _weights(graph: ComputationalGraph) -> list[str]:
    """Weights with two dimensions or more, but for the class layer's, each once, in order."""
    graph = lowered(graph)
    last = class_layer_nodes(graph)
    names = [
        name
        for node in range(graph.num_nodes)
        if node not in last
        for name, shape in zip(graph.param_names[node], graph.param_shapes[node], strict=True)
        if len(shape) > 1
    ]
    return list(dict.fromkeys(names))


def _orthogonal(weight: Tensor) -> Tensor:
    """The orthogonal factor of a matrix; with rows or columns of norm 1, whichever are fewer."""
    if weight.size(0) < weight.size(1):
        return _orthogonal(weight.T).T
    q, r = torch.linalg.qr(weight.float())
    found: Tensor = (q * torch.where(r.diagonal() < 0, -1.0, 1.0)).to(weight.dtype)
    return found


def _add_noise(weight: Tensor, strength: float, max_channels: tuple[int, int], generator: torch.Generator) -> None:
    outputs, inputs = max_channels
    matrix = weight.flatten(1)
    if weight.size(0) < 2 or (weight.size(0) <= outputs and weight.size(1) <= inputs):
        return
    noise = torch.randn(weight.shape, generator=generator).to(weight) * (strength * (matrix @ matrix.T).std())
    noise[:outputs, :inputs] = 0
    weight.add_(noise)
