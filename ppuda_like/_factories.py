"""Models named on a command line."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision import adapt_small_input

__all__ = ["SMALL_IMAGES", "ModelError", "build_for_images", "build_model"]

SMALL_IMAGES = 64
"""Below this image size models of torchvision get the small-input adaptation."""


class ModelError(PpudaLikeError):
    """A model that cannot be found or built."""


def build_model(spec: str, num_classes: int | None = None) -> nn.Module:
    """The model that a command line names, randomly initialised; nothing is downloaded.

    Args:
        spec: a torchvision name (``resnet50``), ``package.module:factory``, or ``file.py:factory``, the factory being a
            function or class that returns a module.
        num_classes: passed to the factory where it takes an argument of that name; None for its default.

    Raises:
        ModelError: if nothing of that name is there, or building it fails.
    """
    factory = _factory(spec) if ":" in spec else _torchvision_factory(spec)
    parameters = inspect.signature(factory).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    options: dict[str, Any] = {}
    if num_classes is not None and ("num_classes" in parameters or takes_any):
        options["num_classes"] = num_classes
    try:
        model = factory(**options)
    except Exception as error:  # whatever user code raises is reported with the name of the model
        raise ModelError(f"building the model '{spec}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"'{spec}' must return a torch.nn.Module (got {type(model).__name__})")
    return model


def build_for_images(spec: str, num_classes: int, image_size: int) -> nn.Module:
    """As :func:`build_model`, for images of a size: below 64 pixels with the small-input adaptation.

    Raises:
        ModelError: as :func:`build_model`.
    """
    model = build_model(spec, num_classes=num_classes)
    return adapt_small_input(model) if image_size < SMALL_IMAGES else model


def _torchvision_factory(name: str) -> Callable[..., Any]:
    known = torchvision.models.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}" if near else "see torchvision.models.list_models()"
        raise ModelError(
            f"torchvision has no model '{name}' ({hint}); a model of your own is named 'package.module:factory' or "
            "'file.py:factory'"
        )
    builder = torchvision.models.get_model_builder(name)
    fixed: dict[str, Any] = {}
    if "weights_backbone" in inspect.signature(builder).parameters:
        fixed["weights_backbone"] = None
    if name.endswith(("googlenet", "inception_v3")):
        fixed["init_weights"] = False

    def factory(**options: Any) -> Any:
        return builder(weights=None, **fixed, **options)

    return factory


def _factory(spec: str) -> Callable[..., Any]:
    place, _, name = spec.rpartition(":")
    try:
        module = _module_from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModelError:
        raise
    except Exception as error:  # importing runs user code
        raise ModelError(f"importing '{place}' failed: {type(error).__name__}: {error}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise ModelError(f"'{place}' has no function or class '{name}' to build a model with")
    return factory  # type: ignore[no-any-return]


def _module_from_file(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"there is no file '{path}'")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{path}' cannot be imported as Python code")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
