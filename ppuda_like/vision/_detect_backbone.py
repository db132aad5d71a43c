"""A classification network, cut off at its last feature map."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ppuda_like.errors import DataError
from ppuda_like.graph import Shape, trace
from ppuda_like.vision._detect_cut import example_image, find_cut, first_tensor

__all__ = ["Backbone", "BackboneNorm"]

BackboneNorm = Literal["train", "frozen", "batch"]


class Backbone(nn.Module):
    """The part of a classification network that makes its last feature map.

    The network's own forward runs, and is stopped when the feature map is there (see :func:`find_cut`), so that any
    code may be in it and the class layer never sees a feature map of another size.  The network becomes part of the
    backbone: it loses its auxiliary heads, and the parameters that the feature map does not depend on, as those of its
    class layer, become None.

    Args:
        model: any classification network with a feature map before its class layer; its weights must hold values.
        input_shape: of its usual input; by default what the model says about itself, else (1, 3, 224, 224).
        fixed_size: height and width of all images, for networks that read one size only.
        norm: what batch normalisation uses: ``"train"``, in training the statistics of the batch and otherwise the
            running ones, as usual; ``"frozen"``, always the running ones, its own weights fixed too, for trained
            networks; ``"batch"``, always the statistics of the batch: running ones are not predicted.

    Attributes:
        body: the network.
        cut: where it is stopped.
        out_channels: channels of the feature map.
        stride: pixels of the image per cell of the feature map.

    Raises:
        DataError: if the network has no feature map, reads images of one size only, or has tensors on the meta device.

    Example:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> backbone = Backbone(resnet18())
        >>> backbone.out_channels, backbone.stride, tuple(backbone(torch.zeros(2, 3, 64, 96)).shape)
        (512, 32, (2, 512, 2, 3))
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        input_shape: Shape | None = None,
        fixed_size: tuple[int, int] | None = None,
        norm: BackboneNorm = "train",
    ) -> None:
        super().__init__()
        if norm not in get_args(BackboneNorm):
            raise DataError(f"unknown 'norm' {norm!r} of a backbone; choose one of {', '.join(get_args(BackboneNorm))}")
        self.cut = find_cut(model, input_shape, fixed_size=fixed_size)
        self.body = model
        self.norm = norm
        self.out_channels = self.cut.channels
        self.stride = self.cut.stride
        self._without_weights: tuple[str, ...] = ()  # modules that must not run any more
        self._drop_head()
        for name, tensor in self.state_dict().items():
            if tensor.is_meta:
                raise DataError(
                    f"'{name.removeprefix('body.')}' of {type(model).__name__} is on the meta device and holds no "
                    "values; fill the network before making a detector of it"
                )
        self._set_norm()

    def forward(self, x: Tensor) -> Tensor:
        """The feature map (n, out_channels, H / stride, W / stride) of images (n, 3, H, W)."""
        path, side, call = self.cut.moment
        module = self.body.get_submodule(path)
        calls = 0

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal calls
            calls += 1
            features = first_tensor([*args, *kwargs.values()])
            if side == "input" and calls == call and features is not None:
                raise _Reached(features)

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if side == "output" and calls == call:
                raise _Reached(output)

        def missed(*_: object) -> None:
            raise DataError(
                f"{type(self.body).__name__} did not come to {self.cut.moment} on images {tuple(x.shape)}, as it did "
                f"on {self.cut.input_shape}; a backbone must run the same modules on images of any size"
            )

        handles = [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
            *(self.body.get_submodule(path).register_forward_pre_hook(missed) for path in self._without_weights),
        ]
        try:
            self.body(x)
            missed()
        except _Reached as reached:
            features = reached.features
        finally:
            for handle in handles:
                handle.remove()
        if self.cut.activation:
            features = getattr(F, self.cut.activation)(features)
        return features

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; batch normalisation that is frozen stays in evaluation mode."""
        super().train(mode)
        self._set_norm()
        return self

    def _set_norm(self) -> None:
        for module in self.body.modules():
            if not isinstance(module, _BatchNorm):
                continue
            if self.norm == "frozen":
                module.eval()
                module.requires_grad_(False)
            elif self.norm == "batch":
                # Without running statistics, torch takes those of the batch in either mode.
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None

    def _drop_head(self) -> None:
        """Take out auxiliary heads, and the parameters that the features do not depend on.

        The modules themselves stay: a forward may iterate over them.
        """
        for path in self.cut.auxiliary:
            self.body.set_submodule(path, nn.Identity())
        lost = [
            name.rpartition(".") for name in trace(self, inputs=example_image(self, self.cut.input_shape)).unreached
        ]
        for path, _, key in lost:
            self.get_submodule(path).register_parameter(key, None)
        paths = dict.fromkeys(path for path, _, _ in lost)
        empty = [path for path in paths if not any(True for _ in self.get_submodule(path).parameters())]
        self._without_weights = tuple(path.removeprefix("body.") for path in empty if path != "body")


class _Reached(BaseException):
    """The feature map is there; no ``Exception``, so that no handler in a network's forward takes it for an error."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features
