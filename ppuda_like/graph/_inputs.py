"""Example inputs: what a model says about its own input, or the usual image."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.graph._calls import tensors_in

__all__ = ["DEFAULT_INPUT_SHAPE", "bind_inputs", "example_inputs"]

DEFAULT_INPUT_SHAPE = (1, 3, 224, 224)


def example_inputs(model: nn.Module, input_shape: Sequence[int] | None = None) -> tuple[Any, ...] | dict[str, Any]:
    """Inputs to call a model with: positional ones as a tuple, or named ones as a dict.

    Taken from, in this order: ``input_shape``; the model's own ``example_inputs`` or ``input_shape``; the conventions
    of timm (``default_cfg``), transformers (``dummy_inputs``) and torchvision (``image_size``; clips for video models,
    two frames for optical flow, a list with one small image for detection); one image of 3 x 224 x 224.

    What is made here, rather than given by the model, is on the meta device: a shape without values.

    Args:
        model: any module.
        input_shape: shape of the only input, batch included.
    """
    if input_shape is not None:
        return (_image(tuple(input_shape)),)
    told = getattr(model, "example_inputs", None)
    if isinstance(told, Tensor):
        return (told,)
    if isinstance(told, tuple | dict):
        return told
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, list | tuple | torch.Size):
        return (_image(tuple(shape)),)
    package = type(model).__module__
    if package.startswith("timm."):
        config = getattr(model, "default_cfg", None) or {}
        return (_image(1, *config.get("input_size", DEFAULT_INPUT_SHAPE[1:])),)
    if package.startswith("transformers."):
        config = getattr(model, "config", None)
        if getattr(model, "main_input_name", "") == "pixel_values":
            size: Any = getattr(config, "image_size", DEFAULT_INPUT_SHAPE[-1])
            height, width = size if isinstance(size, list | tuple) else (size, size)
            return {"pixel_values": _image(1, getattr(config, "num_channels", 3), height, width)}
        dummy = getattr(model, "dummy_inputs", None)
        if isinstance(dummy, Mapping):
            return dict(dummy)
    if package.startswith("torchvision.models."):
        return _torchvision_inputs(model, package.removeprefix("torchvision.models."))
    return (_image(DEFAULT_INPUT_SHAPE),)


def _image(*shape: Any) -> Tensor:
    return torch.empty(*shape, device="meta")


def _torchvision_inputs(model: nn.Module, module: str) -> tuple[Any, ...]:
    if module.startswith("video"):
        frame = 224 if module.startswith(("video.mvit", "video.swin", "video.s3d")) else 112
        return (_image(1, 3, 16, frame, frame),)
    if module.startswith("optical_flow"):
        return (_image(1, 3, 128, 128), _image(1, 3, 128, 128))
    if module.startswith("detection"):
        return ([_image(3, 64, 64)],)
    if module.endswith("inception"):
        return (_image(1, 3, 299, 299),)  # its auxiliary head has no room on smaller images
    size = getattr(model, "image_size", None)
    return (_image(1, 3, size, size),) if isinstance(size, int) else (_image(DEFAULT_INPUT_SHAPE),)


def bind_inputs(model: nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any], list[tuple[str, Tensor]]]:
    """Split inputs into positional and named ones, and name each tensor in them: (args, kwargs, named tensors).

    Args:
        model: the module to be called.
        inputs: a tensor, a tuple or list of positional inputs, or a mapping of named ones.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(inputs, Mapping):
        kwargs = dict(inputs)
    else:
        args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    names = [
        name
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    named: list[tuple[str, Tensor]] = []
    pairs = [(names[i] if i < len(names) else f"input{i}", value) for i, value in enumerate(args)]
    for name, value in [*pairs, *kwargs.items()]:
        found = tensors_in(value)
        named += [(name if len(found) == 1 else f"{name}.{i}", tensor) for i, tensor in enumerate(found)]
    return args, kwargs, named
