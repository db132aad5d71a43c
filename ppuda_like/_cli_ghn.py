"""The commands ``ppuda-like train-ghn`` and ``ppuda-like eval-ghn``: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from torchvision.models import list_models

from ppuda_like._cli_options import Images, shared_work
from ppuda_like._memory import keep_freed_memory
from ppuda_like._ranks import process_group, ranks
from ppuda_like.deepnets import DeepNets
from ppuda_like.ghn import GHN, GHNConfig, TrainConfig, eval_ghn, train_ghn
from ppuda_like.ghn._images import run_images

__all__ = ["EvalGhn", "TrainGhn"]

Preset = Literal["mlp", "ghn1", "ghn2", "ghn3-t", "ghn3-s", "ghn3-l", "ghn3-xl"]
_LARGE = 64  # from this image size on: kernels of up to 16x16


@dataclass(frozen=True, kw_only=True)
class TrainGhn:
    """Train a hypernetwork; a run that was stopped goes on from its last checkpoint.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m ppuda_like train-ghn ...
    """

    preset: Preset | None = None
    """A published hypernetwork, for the size and the classes of the images; by default what the ghn options say."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]

    def run(self) -> None:
        config = self.config
        if self.preset is not None:
            num_classes = len(run_images(config, "val").class_names)
            config = replace(config, ghn=_preset(self.preset, num_classes, config.image_size))
        keep_freed_memory()
        with process_group(config.device) as device:
            result = train_ghn(replace(config, device=device))
            if ranks().first:
                print(f"{result.steps} of {config.steps} steps done; checkpoint {result.checkpoint}")


def _preset(name: Preset, num_classes: int, image_size: int) -> GHNConfig:
    kernel = 16 if image_size >= _LARGE else 11
    make: dict[Preset, Callable[..., GHNConfig]] = {
        "mlp": GHNConfig.mlp,
        "ghn1": GHNConfig.ghn1,
        "ghn2": GHNConfig.ghn2,
        "ghn3-t": partial(GHNConfig.ghn3, "T"),
        "ghn3-s": partial(GHNConfig.ghn3, "S"),
        "ghn3-l": partial(GHNConfig.ghn3, "L"),
        "ghn3-xl": partial(GHNConfig.ghn3, "XL"),
    }
    return make[name](num_classes=num_classes, kernel=kernel)


@dataclass(frozen=True, kw_only=True)
class EvalGhn:
    """Accuracy of unseen networks with predicted parameters."""

    images: Annotated[Images, tyro.conf.arg(name="")]
    ghn: str = "ghn2-digits"
    """A bundled checkpoint or a .safetensors file."""
    split: str = "test"
    """A split of DeepNets-1M, or torchvision names separated by commas."""
    store: Path | None = None
    """Take the split from this dataset."""
    num_nets: int = 100
    """Networks of the split, from the first."""
    net: tuple[int, ...] = ()
    """Evaluate the networks of these numbers instead."""
    width: int | None = None
    """Initial width of generated networks; by default their own."""
    num_images: int | None = None
    """Test images to evaluate on, chosen at random but the same each time; by default all."""
    batch_size: int = 64
    """Images at a time; batch normalisation uses their statistics."""
    device: str = "cpu"
    """Where to run."""
    workers: int = 1
    """Processes; 0 for one per core."""
    scheduler: str | None = None
    """Address of a Dask scheduler, tcp://HOST:PORT, or "local" to start one here."""
    out: Path | None = None
    """Write one row per network to a .csv file; what was stopped goes on from the networks done."""

    def run(self) -> None:
        ghn = GHN.from_pretrained(self.ghn)
        data = self.images.load("test", self.num_images)
        names = self.split.split(",")
        split = names if len(names) > 1 or names[0] in list_models() else self.split
        nets = self.net or (None if split is names else self.num_nets)
        with ExitStack() as stack:
            executor = None
            if self.workers != 1 or self.scheduler is not None:
                executor = stack.enter_context(shared_work(self.workers, self.scheduler, "spawn"))
            result = eval_ghn(
                ghn,
                split if self.store is None else DeepNets(self.store, self.split),
                nets,
                data,
                width=self.width,
                batch_size=self.batch_size,
                device=self.device,
                executor=executor,
                csv_path=self.out,
            )
        print(
            f"{result.split}: top-1 {100 * result.mean:.1f} % +- {100 * result.standard_error:.1f} (standard error), "
            f"best {100 * result.best.top1:.1f} % (network {result.best.net}), top-5 {100 * result.mean_top5:.1f} %, "
            f"{len(result.nets)} networks, {len(data)} images"
        )
        if split is names or self.net:
            for net in result.nets:
                print(f"  {net.net}: {100 * net.top1:.1f} %")
