"""Where the forward pass of a classification network is stopped to get its last feature map."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ppuda_like.errors import DataError, TraceError
from ppuda_like.graph import ComputationalGraph, Shape, example_inputs, trace

__all__ = ["Cut", "Moment", "example_image", "find_cut", "first_tensor"]

logger = logging.getLogger(__name__)

# Pointwise functions that a forward may apply between the last module and the pooling, as DenseNet does.
_POINTWISE = ("relu", "relu6", "silu", "hardswish", "mish")


class Moment(NamedTuple):
    """A moment in a forward pass: a module has its input, or its output is there.

    Attributes:
        path: of the module.
        side: which of the two.
        call: how often the module was called so far, this call included.
    """

    path: str
    side: Literal["input", "output"]
    call: int

    def __str__(self) -> str:
        again = f" (call {self.call})" if self.call > 1 else ""
        return f"the {self.side} of '{self.path}'{again}"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What :func:`find_cut` found.

    Attributes:
        moment: the tensor there is the feature map.
        auxiliary: paths of the modules that run in training only: auxiliary heads.
        activation: what forward itself applies to it before pooling, by its name in ``torch.nn.functional``, or "".
        channels: of the feature map.
        stride: pixels of the image per cell of the feature map.
        input_shape: the network was run on to find out.
    """

    moment: Moment
    auxiliary: tuple[str, ...]
    activation: str
    channels: int
    stride: int
    input_shape: Shape


@dataclass(kw_only=True)
class _Run:
    """One forward pass: the shapes at its moments in order, () where there is no tensor."""

    input_shape: Shape
    shapes: dict[Moment, Shape] = field(default_factory=dict)
    graph: ComputationalGraph | None = None
    failure: TraceError | None = None


def find_cut(model: nn.Module, input_shape: Shape | None = None, *, fixed_size: tuple[int, int] | None = None) -> Cut:
    """The last feature map of a classification network, before it is pooled or flattened for the class layer.

    The network runs on the meta device, on its usual input and on one of twice the height and width.  Of the tensors
    that its modules take and give before the class layer, the last one of shape (n, channels, height, width) whose
    height and width grow with the image, and whose channels do not, is the feature map.  What follows may fail on
    the larger image, as a class layer on flattened features does.

    Args:
        model: any network that takes images (n, 3, H, W); it is left as it was.
        input_shape: of its usual input, (1, 3, H, W); by default what the model says about itself, else 224 pixels.
        fixed_size: height and width of all images it will see.  Where that is its usual size, it need not read any
            other, and its last feature map at that size is taken.

    Raises:
        DataError: if the network fails on the input, reads images of one size only and will see others, has no feature
            map, or goes on with sequences of tokens, as vision transformers do.
    """
    shape = _image_shape(model, input_shape)
    usual = _run(model, shape)
    if usual.failure is not None:
        raise DataError(
            f"the network fails on its usual input {shape}: {usual.failure}; give its 'input_shape'"
        ) from usual.failure
    moments = list(_before_class_layer(model, usual))
    owners = {path for path, module in model.named_modules() if module._parameters}
    started = next((at for at, moment in enumerate(moments) if moment.side == "output" and moment.path in owners), None)
    moments = moments[started:] if started is not None else []
    spatial = [moment for moment in moments if _area(usual.shapes[moment]) > 1]
    if spatial:
        _refuse_tokens(model, usual, moments[moments.index(spatial[-1]) + 1 :], owners, spatial[-1])
    double = _run(model, (*shape[:2], 2 * shape[2], 2 * shape[3]))
    maps = [moment for moment in moments if _grows(usual.shapes[moment], double.shapes.get(moment))]
    early = not maps or (bool(spatial) and moments.index(spatial[-1]) > moments.index(maps[-1]))
    one_size = double.failure is not None and bool(spatial) and early
    if one_size and fixed_size != shape[2:]:
        raise DataError(
            f"{type(model).__name__} reads images of {shape[2]}x{shape[3]} pixels only ({double.failure}); build the "
            f"detector with fixed_size=({shape[2]}, {shape[3]}), or choose another network"
        ) from double.failure
    if one_size:
        maps = spatial
    if not maps:
        raise DataError(
            f"{type(model).__name__} has no feature map (n, channels, height, width) before its class layer; a "
            "detector needs one, so choose a convolutional network"
        )
    moment = maps[-1]
    found = usual.shapes[moment]
    return Cut(
        moment=moment,
        auxiliary=_auxiliary(model, usual),
        activation=_activation(usual, moment),
        channels=found[1],
        stride=_whole(shape[2] / (found[2] if one_size else double.shapes[moment][2] - found[2])),
        input_shape=shape,
    )


def example_image(model: nn.Module, shape: Shape) -> tuple[Tensor]:
    """An input of that shape and of the model's dtype, without values."""
    first = next(model.parameters(), None)
    return (torch.empty(shape, dtype=None if first is None else first.dtype, device="meta"),)


def first_tensor(values: Iterable[object]) -> Tensor | None:
    """The first tensor among the arguments of a call."""
    return next((value for value in values if isinstance(value, Tensor)), None)


def _image_shape(model: nn.Module, input_shape: Shape | None) -> Shape:
    inputs = example_inputs(model, input_shape)
    given = first_tensor(inputs.values() if isinstance(inputs, dict) else inputs)
    shape = tuple(given.shape) if given is not None else ()
    if len(shape) != 4 or shape[1] != 3:
        raise DataError(
            f"the backbone of a detector must take images of shape (n, 3, H, W) ({type(model).__name__} takes "
            f"{shape}); give 'input_shape' if it can"
        )
    return (1, *shape[1:])


def _run(model: nn.Module, shape: Shape, *, training: bool = False) -> _Run:
    run = _Run(input_shape=shape)
    with _mode(model, training), _watched(model, run.shapes):
        try:
            run.graph = trace(model, inputs=example_image(model, shape))
        except TraceError as error:
            run.failure = error
    return run


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """All modules in one mode; afterwards each in its own."""
    modes = {module: module.training for module in model.modules()}
    try:
        nn.Module.train(model, training)
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _watched(model: nn.Module, shapes: dict[Moment, Shape]) -> Iterator[None]:
    """Note the shape of what each module takes and gives."""
    calls: Counter[str] = Counter()

    def before(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            calls[path] += 1
            note(Moment(path, "input", calls[path]), first_tensor([*args, *kwargs.values()]))

        return hook

    def after(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            note(Moment(path, "output", calls[path]), output if isinstance(output, Tensor) else None)

        return hook

    def note(moment: Moment, tensor: Tensor | None) -> None:
        shapes[moment] = tuple(tensor.shape) if tensor is not None else ()

    def restart(*_: object) -> None:  # tracing may run the network twice
        shapes.clear()
        calls.clear()

    handles = [model.register_forward_pre_hook(restart)]
    for path, module in model.named_modules():
        if path:
            handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
            handles.append(module.register_forward_hook(after(path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before_class_layer(model: nn.Module, run: _Run) -> Iterator[Moment]:
    """The moments until the class layer has its input; all of them where no module is the class layer.

    The class layer is the last module to run that owns parameters, if it makes as many channels as the network has
    outputs: a convolution may be one (SqueezeNet), with the pooling behind it.
    """
    classes = run.graph.out_shapes[run.graph.outputs[0]][-1:] if run.graph is not None else ()
    outputs = [moment for moment in run.shapes if moment.side == "output"]
    owners = {path for path, module in model.named_modules() if module._parameters}
    last = next((moment for moment in reversed(outputs) if moment.path in owners), None)
    stop = last._replace(side="input") if last is not None and run.shapes[last][1:2] == classes else None
    for moment in run.shapes:
        yield moment
        if moment == stop:
            return


def _area(shape: Shape) -> int:
    """Cells of a feature map; 0 for a tensor that is none."""
    return shape[2] * shape[3] if len(shape) == 4 else 0


def _grows(small: Shape, large: Shape | None) -> bool:
    if large is None or len(small) != 4 or len(large) != 4:
        return False
    return small[1] == large[1] and small[2] < large[2] and small[3] < large[3]


def _refuse_tokens(model: nn.Module, run: _Run, rest: list[Moment], owners: set[str], moment: Moment) -> None:
    tokens = [m for m in rest if m.path in owners and len(run.shapes[m]) == 3]
    if tokens:
        raise DataError(
            f"the last feature map of {type(model).__name__} is {moment}; from there on it works on sequences "
            f"('{tokens[0].path}' takes {run.shapes[tokens[0]]}), as vision transformers do, and has no feature map "
            "before its class layer; choose a network that keeps one (convolutional, Swin)"
        )


def _auxiliary(model: nn.Module, usual: _Run) -> tuple[str, ...]:
    """The outermost modules that run in training only, up to a failure: an auxiliary head may find images too small."""
    in_training = _run(model, (2, *usual.input_shape[1:]), training=True)
    usually = {moment.path for moment in usual.shapes}
    found: list[str] = []
    for moment in in_training.shapes:
        inside = any(moment.path.startswith(f"{outer}.") for outer in found)
        if moment.path not in usually and moment.path not in found and not inside:
            found.append(moment.path)
    return tuple(found)


def _activation(run: _Run, moment: Moment) -> str:
    """What forward itself, and no module, does to the features before it pools them."""
    graph = run.graph
    if moment.side == "input" or graph is None:
        return ""
    inside = [node for node, name in enumerate(graph.names) if f"{name}.".startswith(f"{moment.path}.")]
    if not inside:
        return ""
    shape = graph.out_shapes[inside[-1]]
    rest = zip(graph.ops[inside[-1] + 1 :], graph.out_shapes[inside[-1] + 1 :], strict=True)
    between = [op.rstrip("_") for op, made in rest if made == shape]
    if not between:
        return ""
    if len(between) == 1 and between[0] in _POINTWISE:
        return between[0]
    logger.warning(
        "%s applies %s to its last feature map, %s, before pooling; the detector's backbone leaves that out",
        graph.name,
        ", ".join(between),
        moment,
    )
    return ""


def _whole(stride: float) -> int:
    """A whole stride; convolutions without padding lose some pixels, so a power of two that is near is meant."""
    power = 2 ** round(math.log2(stride))
    return power if abs(stride / power - 1) < 0.1 else max(1, round(stride))
