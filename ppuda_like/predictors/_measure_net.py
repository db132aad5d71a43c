"""The properties of one network, measured by training it briefly."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ppuda_like._compute import one_thread
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision import Evaluation, ImageSource, ImageStream, evaluate, main_output, noisy, subset

__all__ = ["LOWER_IS_BETTER", "PROPERTIES", "MeasureConfig", "Measured", "PropertyImages", "Status", "measure_network"]

PROPERTIES = ("val_acc", "val_acc_noise", "time", "converge_time")
"""The four properties that arXiv:2110.13100 predicts: clean accuracy, accuracy under noise, inference time, and
convergence time."""

LOWER_IS_BETTER = frozenset({"time", "converge_time"})
"""Those of which little is wanted."""

Status = Literal["ok", "chance", "diverged"]
"""How the training of a network went; see :class:`Measured`."""


class PropertyImages(NamedTuple):
    """What properties are measured on.

    Attributes:
        train: images to train on.
        val: images of the properties named ``val_*`` and of the convergence.
        test: images of the properties named ``test_*``.
    """

    train: ImageSource
    val: ImageSource
    test: ImageSource


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How properties are measured: a short training with AdamW, a warm-up and a cosine down to 0.

    Networks are trained and evaluated on one thread, with the statistics of each batch in their batch normalisations,
    as networks of DeepNets-1M are with predicted parameters.

    Attributes:
        steps: updates.
        batch_size: training images in each.
        lr: highest learning rate.
        warmup: updates until it is reached.
        weight_decay: of AdamW.
        clip: norm that gradients are cut to.
        checks: validations in the course of the training, at equal distances, the last one after the last update.
        check_images: images of each, the same ones, chosen at random among those to validate on; all if they are fewer.
        converged: share of the best of these accuracies at which a network counts as converged.
        noise_std: standard deviation of the Gaussian noise, of pixels in 0..1.
        eval_batch_size: images at a time in evaluations; inference is timed there.
        seed: of initial weights, of the order of images, and of the noise.

    Raises:
        PpudaLikeError: if a value is out of its range.
    """

    steps: int = 80
    batch_size: int = 16
    lr: float = 1e-2
    warmup: int = 10
    weight_decay: float = 1e-2
    clip: float = 5.0
    checks: int = 10
    check_images: int = 125
    converged: float = 0.95
    noise_std: float = 0.4
    eval_batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checks", "check_images", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise PpudaLikeError(f"'{name}' must be at least 1 (got {getattr(self, name)})")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise PpudaLikeError(f"'{name}' must be positive (got {getattr(self, name)})")
        for name in ("warmup", "weight_decay", "noise_std"):
            if not 0 <= getattr(self, name) < math.inf:
                raise PpudaLikeError(f"'{name}' must be 0 or more (got {getattr(self, name)})")
        if self.checks > self.steps:
            raise PpudaLikeError(f"'checks' must be at most 'steps', {self.steps} (got {self.checks})")
        if not 0 < self.converged <= 1:
            raise PpudaLikeError(f"'converged' must be above 0 and at most 1 (got {self.converged})")

    def to_dict(self) -> dict[str, Any]:
        """The values as a dictionary that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The properties of one network; NaN where there is none.

    Attributes:
        status: ``"diverged"`` if a loss was not finite, when the training ended and no accuracy was measured;
            ``"chance"`` if the best of the checks was below twice that of a guess, so that there is no telling
            when the network converged; else ``"ok"``.
        val_acc: accuracy after training on the images to validate on, 0..1.
        val_acc_noise: the same under Gaussian noise.
        val_loss: mean cross entropy there, without noise.
        test_acc: accuracy on the images to test on, 0..1.
        time: seconds of processor time that inference takes for an image, on one thread, in batches: the least that
            any batch of the run's evaluations took, which other load on the machine hardly changes.
        converge_time: share of the training, 0..1, after which the accuracy of the checks first reached 95 %
            (``converged``) of its best, linear between two checks.
        train_seconds: processor time of the training, without validations.
    """

    status: Status
    val_acc: float = math.nan
    val_acc_noise: float = math.nan
    val_loss: float = math.nan
    test_acc: float = math.nan
    time: float = math.nan
    converge_time: float = math.nan
    train_seconds: float = math.nan


def measure_network(model: nn.Module, images: PropertyImages, config: MeasureConfig) -> Measured:
    """Train a network from the weights it has, and measure its properties.

    Args:
        model: a network on the CPU that takes (n, 3, H, W) and returns logits (n, classes); trained in place.
        images: to train and evaluate on.
        config: how.

    Raises:
        DataError: if the network does not go with the images.

    Example:
        >>> from ppuda_like.vision import digits
        >>> images = PropertyImages(digits("train"), digits("val"), digits("test"))
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 10))
        >>> measured = measure_network(model, images, MeasureConfig())
        >>> measured.status, measured.val_acc > 0.8, 0 < measured.converge_time < 1
        ('ok', True, True)
    """
    first = next(model.parameters(), None)
    if first is None or first.device.type != "cpu":
        raise DataError(
            "the network must have parameters on the CPU, where inference is timed "
            f"(got {'none' if first is None else first.device})"
        )
    # On one thread results are the same anywhere, and the thread's time is that of the work.
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(config.seed, "dropout"))
        # Twice as fast for narrow networks on a CPU, with the same outcome on any number of workers.
        return _Measurement(model.to(memory_format=torch.channels_last), images, config).run()


class _Measurement:
    """The training of one network, and what it has shown so far."""

    def __init__(self, model: nn.Module, images: PropertyImages, config: MeasureConfig) -> None:
        self.model = model
        self.images = images
        self.config = config
        self.stream = ImageStream(images.train, batch_size=config.batch_size, seed=config.seed)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.stopwatch = _Stopwatch()
        order = torch.randperm(len(images.val), generator=torch.Generator().manual_seed(0))
        self.checked = subset(images.val, order[: config.check_images])

    def run(self) -> Measured:
        config = self.config
        due = {round(config.steps * (check + 1) / config.checks) for check in range(config.checks)}
        chance = 1 / len(self.images.val.class_names)
        curve = [(0.0, chance)]
        seconds = 0.0
        for step in range(config.steps):
            start = time.thread_time()
            loss = self.step(step)
            seconds += time.thread_time() - start
            if not math.isfinite(loss):
                return Measured(status="diverged", time=self.stopwatch.least, train_seconds=seconds)
            if step + 1 in due:
                curve.append(((step + 1) / config.steps, self.evaluate(self.checked).top1))
        val, test = self.evaluate(self.images.val), self.evaluate(self.images.test)
        if not (math.isfinite(val.loss) and math.isfinite(test.loss)):
            return Measured(status="diverged", time=self.stopwatch.least, train_seconds=seconds)
        noise = noisy(self.images.val, config.noise_std, derived_seed(config.seed, "noise"))
        learned = max(accuracy for _, accuracy in curve) >= 2 * chance
        return Measured(
            status="ok" if learned else "chance",
            val_acc=val.top1,
            val_acc_noise=self.evaluate(noise).top1,
            val_loss=val.loss,
            test_acc=test.top1,
            time=self.stopwatch.least,
            converge_time=converge_time(curve, config.converged) if learned else math.nan,
            train_seconds=seconds,
        )

    def step(self, number: int) -> float:
        """One update; its loss."""
        config = self.config
        rate = min(1.0, (number + 1) / (config.warmup + 1)) * (1 + math.cos(math.pi * number / config.steps)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * rate
        images, labels = self.stream[number]
        self.model.train()
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(main_output(self.model(images)), labels)
        value = float(loss.detach())
        if math.isfinite(value):
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
            self.optimizer.step()
        return value

    def evaluate(self, data: ImageSource) -> Evaluation:
        """Accuracy with the statistics of each batch; each batch is timed."""
        self.model.eval()
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        with self.stopwatch.on(self.model):
            return evaluate(self.model, data, batch_size=self.config.eval_batch_size, progress=False)


def converge_time(curve: list[tuple[float, float]], share: float) -> float:
    """Where a curve first reaches a share of its highest value, linear between its points.

    Args:
        curve: places, ascending, and values there.
        share: of the highest value, above 0 and at most 1.

    Example:
        >>> converge_time([(0.0, 0.0), (0.5, 0.8), (1.0, 0.8)], share=0.5)
        0.25
    """
    wanted = share * max(value for _, value in curve)
    before, low = curve[0]
    for place, value in curve:
        if value >= wanted:
            return place if value == low else before + (place - before) * (wanted - low) / (value - low)
        before, low = place, value
    raise AssertionError("the highest value reaches any share of itself")


class _Stopwatch:
    """Takes the processor time of a network's forward passes.

    Attributes:
        least: seconds for each image of the fastest batch so far.
    """

    def __init__(self) -> None:
        self.least = math.inf
        self._start = 0.0

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """Time the passes of a network while in this context."""
        hooks = [model.register_forward_pre_hook(self._begin), model.register_forward_hook(self._end)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._start = time.thread_time()

    def _end(self, model: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        self.least = min(self.least, (time.thread_time() - self._start) / len(inputs[0]))
