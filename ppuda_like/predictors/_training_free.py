"""Scores of a network from one batch of images, without training it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from ppuda_like.errors import DataError
from ppuda_like.ghn import GHN
from ppuda_like.graph import ComputationalGraph
from ppuda_like.graph._calls import op_name
from ppuda_like.vision import main_output

__all__ = ["GHN_SCORES", "TRAINING_FREE_SCORES", "chosen_scores", "training_free_scores"]

TRAINING_FREE_SCORES = ("synflow", "grad_norm", "naswot", "jacobian_covariance")
"""Scores of a network with the parameters it has."""

GHN_SCORES = ("ghn_accuracy", "ghn_loss")
"""Scores of a network with the parameters that a hypernetwork predicts for it."""

_NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"})
_ACTIVATIONS = frozenset(
    "relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardtanh softplus".split()
)
_SMALL = 1e-5  # keeps logarithms and inverses of eigenvalues finite, as in the papers' code


def training_free_scores(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    scores: Sequence[str] | None = None,
    ghn: GHN | None = None,
    graph: ComputationalGraph | None = None,
) -> dict[str, float]:
    """Scores of a network that tell something of how well it will do when trained.

    They are computed on a copy: nothing of the model changes.  Dropout is off; batch normalisations use the statistics
    of the batch.  With weights w (parameters of two or more dimensions), loss L, logits y and images x_1..x_B:

    - ``synflow``: natural logarithm of ``sum(|w * dR/dw|)``, R being the sum of the logits for an image of ones with
      all parameters replaced by their absolute values (Tanaka et al., arXiv:2006.05467, Eq. 3), and normalisations left
      out (Abdelfattah et al., arXiv:2101.08134); in double precision.  Gates of squeeze and excitation, which the
      papers' networks do not have, are divided by their mean, and queries and keys of attention by their largest entry:
      each would square what has grown without bounds.
    - ``grad_norm``: sum over the weights of the Euclidean norm of ``dL/dw``, L being the cross entropy of the batch
      (arXiv:2101.08134).
    - ``naswot``: logarithm of the determinant of the matrix that counts, for each two images, the units whose inputs
      have the same sign (Mellor et al., arXiv:2006.04647, Eq. 2).  Units are those of ReLU and of functions like it
      (GELU, SiLU, ...).  A diagonal of 1e-5 is added, for images that no unit tells apart.
    - ``jacobian_covariance``: ``-sum(log(v + k) + 1 / (v + k))``, k = 1e-5, over the eigenvalues v of the correlation
      matrix of the B gradients of ``sum(y)`` by each image (Mellor et al., arXiv:2006.04647, first version).  A
      constant gradient correlates with nothing, itself included.
    - ``ghn_accuracy`` and ``ghn_loss``: accuracy and cross entropy on the batch with predicted parameters.

    Args:
        model: the network, on a real device; its scores depend on its initial parameters.
        images: normalised, (B, 3, H, W), two or more.
        labels: class of each, (B,).
        scores: which; None for those of :data:`TRAINING_FREE_SCORES`, and with a hypernetwork :data:`GHN_SCORES`.
        ghn: hypernetwork for the last two.
        graph: graph of the model, for the hypernetwork; None to trace it.

    Returns:
        The scores by name.  Not finite where the network's outputs or gradients are not; ``synflow`` is minus infinity
        for a network whose last layer is zero.

    Raises:
        DataError: if there are fewer than two images, labels do not fit them or the logits, a score is unknown, or
            wants a hypernetwork that is not given, or the model is on the meta device.
        PredictionError: if the hypernetwork cannot predict parameters of the network.

    Example:
        >>> from ppuda_like.vision import digits
        >>> images, labels = digits("train").batch(torch.arange(8))
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
        >>> _ = model(images)
        >>> list(training_free_scores(model, images, labels))
        ['synflow', 'grad_norm', 'naswot', 'jacobian_covariance']
    """
    names = chosen_scores(scores, ghn is not None)
    _check_batch(model, images, labels)
    device = next((parameter.device for parameter in model.parameters()), images.device)
    images, labels = images.to(device), labels.to(device)
    found: dict[str, float] = {}
    with _undisturbed(device):
        if "synflow" in names:
            found["synflow"] = _synflow(_working_copy(model), images.shape[1:])
        if not {"grad_norm", "naswot", "jacobian_covariance"}.isdisjoint(names):
            found |= _batch_scores(_working_copy(model), images, labels, names)
        if ghn is not None and not set(GHN_SCORES).isdisjoint(names):
            found |= _predicted_scores(ghn, copy.deepcopy(model), images, labels, graph)
    return {name: found[name] for name in names}


def chosen_scores(scores: Sequence[str] | None, with_ghn: bool) -> tuple[str, ...]:
    """Names of the scores asked for.

    Raises:
        DataError: if one is unknown, or wants a hypernetwork and there is none.
    """
    if scores is None:
        return TRAINING_FREE_SCORES + (GHN_SCORES if with_ghn else ())
    known = TRAINING_FREE_SCORES + GHN_SCORES
    names = tuple(dict.fromkeys([scores] if isinstance(scores, str) else scores))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise DataError(f"'scores' must name some of {', '.join(known)} (got {', '.join(unknown) or 'none'})")
    if not with_ghn and not set(GHN_SCORES).isdisjoint(names):
        raise DataError(f"{' and '.join(GHN_SCORES)} need a hypernetwork; pass 'ghn'")
    return names


def _check_batch(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    if images.dim() < 2 or len(images) < 2 or not images.is_floating_point():
        raise DataError(
            f"'images' must be two or more normalised images, floats of shape (B, 3, H, W) "
            f"(got {images.dtype}, {tuple(images.shape)})"
        )
    if labels.shape != images.shape[:1] or labels.dtype != torch.long:
        raise DataError(
            f"'labels' must be a long tensor of shape ({len(images)},) (got {labels.dtype}, {tuple(labels.shape)})"
        )
    parameters = list(model.parameters())
    if parameters and all(parameter.is_meta for parameter in parameters):
        raise DataError("the model is on the meta device, where it computes nothing; build it on a real device")


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Gradients on, mixed precision off; the random state as it was afterwards, and the same for every model."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng(devices),
    ):
        torch.manual_seed(0)  # for forward passes that draw numbers even in evaluation mode
        yield


def _working_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode but for its batch normalisations, whose parameters have no gradients yet."""
    working = copy.deepcopy(model).eval()
    for module in working.modules():
        if isinstance(module, _BatchNorm):
            module.train()
    for parameter in working.parameters():
        parameter.grad = None
        parameter.requires_grad_(parameter.is_floating_point())
    return working


def _weights(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of convolutions, linear layers and the like: not biases, nor those of normalisations."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1 and parameter.requires_grad]


class _FlowMode(TorchFunctionMode):
    """Normalisations hand on what they get, gates and attention scores do not grow with what they are computed from."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = op_name(func)
        if name in _NORMS:
            return args[0] if args else kwargs["input"]
        if name == "mul" and len(args) == 2 and all(_is_activation(value) for value in args):
            gate = int(args[1].numel() < args[0].numel())
            args = tuple(value / value.detach().mean() if place == gate else value for place, value in enumerate(args))
        elif name == "scaled_dot_product_attention" and len(args) > 2:
            args = (*(value / value.detach().abs().amax() for value in args[:2]), *args[2:])
        return func(*args, **kwargs)


def _is_activation(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and not value.is_leaf


def _synflow(model: nn.Module, image_shape: torch.Size) -> float:
    model.double()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad and not parameter.is_meta]
    with torch.no_grad():
        for parameter in parameters:
            parameter.abs_()
    device = parameters[0].device if parameters else None
    weights = _weights(model)
    with _FlowMode():
        logits = main_output(model(torch.ones((1, *image_shape), dtype=torch.double, device=device)))
    gradients = torch.autograd.grad(logits.sum(), weights, allow_unused=True) if weights else ()
    total = sum(
        float((gradient * weight.detach()).abs().sum())
        for gradient, weight in zip(gradients, weights, strict=True)
        if gradient is not None
    )
    return math.log(total) if total else -math.inf  # the logarithm of NaN is NaN


class _Codes(TorchFunctionMode):
    """Counts, for each two images, the units of activation functions whose inputs have the same sign."""

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.agreement = torch.zeros(num_images, num_images, dtype=torch.double)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if op_name(func) in _ACTIVATIONS:
            x = (args[0] if args else kwargs["input"]).detach()
            if x.dim() > 1 and len(x) == len(self.agreement):  # others are not of images: tables of positions, say
                signs = torch.where(x.flatten(1) > 0, 1.0, -1.0)
                self.agreement += (signs.size(1) + (signs @ signs.T).double().cpu()) / 2
        return func(*args, **kwargs)


def _batch_scores(model: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The scores that one forward pass suffices for."""
    leaf = images.clone().requires_grad_()
    codes = _Codes(len(images))
    with codes:
        logits = main_output(model(leaf * 1.0))  # not the leaf itself, which a model may not write into
    _check_logits(logits, labels)
    found = {}
    if "naswot" in names:
        kernel = codes.agreement + _SMALL * torch.eye(len(images), dtype=torch.double)
        found["naswot"] = float(torch.linalg.slogdet(kernel).logabsdet)
    if "jacobian_covariance" in names:
        (jacobian,) = torch.autograd.grad(
            logits.sum(), leaf, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        found["jacobian_covariance"] = _jacobian_covariance(jacobian.flatten(1).double())
    if "grad_norm" in names:
        loss, weights = F.cross_entropy(logits.float(), labels), _weights(model)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True) if weights else ()
        found["grad_norm"] = math.fsum(float(g.double().norm()) for g in gradients if g is not None)
    return found


def _jacobian_covariance(jacobian: Tensor) -> float:
    if not bool(jacobian.isfinite().all()):
        return math.nan
    rows = jacobian - jacobian.mean(dim=1, keepdim=True)
    norms = rows.norm(dim=1, keepdim=True)
    rows = torch.where(norms > 0, rows / norms, 0.0)
    values = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0) + _SMALL
    return -float((values.log() + 1 / values).sum())


@torch.no_grad()
def _predicted_scores(
    ghn: GHN, model: nn.Module, images: Tensor, labels: Tensor, graph: ComputationalGraph | None
) -> dict[str, float]:
    model.eval()
    ghn.fill(model, graph=graph, input_shape=(1, *images.shape[1:]))  # its batch normalisations then use the batch
    logits = main_output(model(images)).float()
    _check_logits(logits, labels)
    valid = logits.isfinite().all(dim=1)
    hits = (logits.argmax(dim=1) == labels) & valid
    return {"ghn_accuracy": float(hits.double().mean()), "ghn_loss": float(F.cross_entropy(logits, labels))}


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or len(logits) != len(labels) or int(labels.max()) >= logits.size(1) or int(labels.min()) < 0:
        raise DataError(
            f"the network must return one logit per class, of shape ({len(labels)}, {int(labels.max()) + 1} or more) "
            f"(got {tuple(logits.shape)}); build it with the number of classes of the labels"
        )
