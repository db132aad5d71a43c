"""Teachers: frozen networks whose features, behind some of their modules, stages of a supernet are to imitate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.errors import DataError
from ppuda_like.search.dna._space import Space

__all__ = ["EFFICIENTNET_B7_TAPS", "FeatureShape", "Teacher"]

FeatureShape = tuple[int, int, int]

EFFICIENTNET_B7_TAPS = tuple(f"features.{group}" for group in range(2, 8))
"""Modules of ``torchvision.models.efficientnet_b7`` whose features the stages of :func:`imagenet_space` imitate."""


class _ReachedError(Exception):
    """Ends a forward pass behind the last tap that is asked for."""


class Teacher:
    """A frozen network in evaluation mode, and the modules whose outputs are the features of the stages.

    Nothing of the network is changed: its features are computed without gradients and with its stored statistics.
    What follows a tap gets a copy, so that features are as they were when later modules work in place.

    Args:
        model: takes normalised images (n, 3, H, W).
        taps: paths of modules, one for each stage in the order they run in; :func:`choose_taps` finds some.
        name: of the network, for people and files; None for the name of its class.

    Raises:
        DataError: if the network is in training mode, or it has no such modules.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()).eval()
        >>> teacher = Teacher(model, ("1", "3"))
        >>> teacher.shapes(32)
        ((8, 16, 16), (16, 8, 8))
        >>> [tuple(features.shape) for features in teacher.features(torch.zeros(2, 3, 32, 32))]
        [(2, 8, 16, 16), (2, 16, 8, 8)]
    """

    def __init__(self, model: nn.Module, taps: Sequence[str], *, name: str | None = None) -> None:
        self.model = model
        self.taps = tuple(taps)
        self.name = type(model).__name__ if name is None else name
        modules = dict(model.named_modules())
        unknown = [tap for tap in self.taps if tap not in modules or not tap]
        if unknown or not self.taps or len(set(self.taps)) < len(self.taps):
            raise DataError(
                f"'taps' must be different paths of modules of {self.name}, one or more (got {list(self.taps)}; "
                f"unknown: {unknown}); choose_taps finds some"
            )
        self._check_mode()

    @torch.no_grad()
    def features(self, images: Tensor, last: int | None = None) -> list[Tensor]:
        """Features behind the taps, by a single pass that ends behind the last of them.

        Args:
            images: normalised, shape (n, 3, H, W).
            last: number of the last tap that is needed; None for all.

        Returns:
            For each tap up to that one, shape (n, channels, height, width).

        Raises:
            DataError: if the network was put in training mode, or taps do not run once, in their order, with a tensor
                of that shape as their result.
        """
        self._check_mode()
        return self._pass(lambda: self.model(images), len(self.taps) if last is None else last + 1)

    @torch.no_grad()
    def shapes(self, image_size: int) -> tuple[FeatureShape, ...]:
        """Channels, height and width of the features behind each tap for images of a size; nothing is computed.

        Raises:
            DataError: as for :meth:`features`.
        """
        self._check_mode()
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        state = {name: tensor.to("meta") for name, tensor in tensors}
        images = torch.empty(2, 3, image_size, image_size, device="meta")
        found = self._pass(lambda: torch.func.functional_call(self.model, state, (images,)), len(self.taps))
        return tuple((f.size(1), f.size(2), f.size(3)) for f in found)

    def widths(self, space: Space) -> tuple[int, ...]:
        """Channels of the features that the stages of a space are to imitate.

        Raises:
            DataError: if there is not one tap for each stage, or the features have another height and width than the
                stage makes.
        """
        if len(self.taps) != len(space.stages):
            raise DataError(
                f"'{space.name}' has {len(space.stages)} stages, each of which needs a tap of {self.name} "
                f"(got {len(self.taps)}: {list(self.taps)})"
            )
        shapes = self.shapes(space.image_size)
        for stage, (tap, shape) in enumerate(zip(self.taps, shapes, strict=True)):
            side = space.size_in(stage + 1)
            if shape[1:] != (side, side):
                raise DataError(
                    f"stage {stage} of '{space.name}' makes features of {side}x{side}, but those behind '{tap}' of "
                    f"{self.name} are {shape[1]}x{shape[2]} for images of {space.image_size} pixels; take another tap, "
                    "or other strides in the space"
                )
        return tuple(shape[0] for shape in shapes)

    def to(self, device: torch.device | str) -> Teacher:
        """The same teacher, its network moved to a device."""
        self.model.to(device)
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What the features depend on: name, taps, and a hash of the weights and statistics."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return {"name": self.name, "taps": list(self.taps), "weights": digest.hexdigest()}

    def _check_mode(self) -> None:
        training = [path or "the network" for path, module in self.model.named_modules() if module.training]
        if training:
            raise DataError(
                f"the teacher {self.name} is in training mode ({training[0]}, and {len(training) - 1} more modules): "
                "its features would depend on the batch and its statistics drift; call its eval() first"
            )

    def _pass(self, forward: Callable[[], object], count: int) -> list[Tensor]:
        """What the first taps give while ``forward`` runs, which ends behind the last of them."""
        taps = self.taps[:count]
        found: dict[str, Tensor] = {}

        def hook_of(tap: str) -> Callable[[nn.Module, Any, Any], Tensor]:
            def keep(module: nn.Module, args: Any, output: Any) -> Tensor:
                if not isinstance(output, Tensor) or output.dim() != 4:
                    got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
                    raise DataError(
                        f"the tap '{tap}' of {self.name} must give a tensor of shape (n, channels, height, width) "
                        f"(got {got})"
                    )
                if tap in found:
                    raise DataError(f"the tap '{tap}' of {self.name} runs more than once; take a module that runs once")
                if tap != taps[len(found)]:
                    raise DataError(
                        f"the taps of {self.name} must be in the order they run in: '{tap}' runs before "
                        f"'{taps[len(found)]}'"
                    )
                found[tap] = output
                if len(found) == len(taps):
                    raise _ReachedError
                return output.clone()  # for what follows, which may overwrite it

            return keep

        modules = dict(self.model.named_modules())
        with ExitStack() as stack:
            for tap in taps:
                stack.callback(modules[tap].register_forward_hook(hook_of(tap)).remove)
            stack.enter_context(suppress(_ReachedError))
            forward()
        missing = [tap for tap in taps if tap not in found]
        if missing:
            raise DataError(f"the taps {missing} of {self.name} do not run in its forward pass; choose others")
        return [found[tap] for tap in taps]
