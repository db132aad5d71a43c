"""The command line: parse, call, print."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from safetensors.torch import save_file
from torch import nn

from ppuda_like import __version__
from ppuda_like._cli_blocks import Blocks
from ppuda_like._cli_dataset import Dataset
from ppuda_like._cli_detect import Detect
from ppuda_like._cli_dna import Dna
from ppuda_like._cli_finetune import Finetune
from ppuda_like._cli_ghn import EvalGhn, TrainGhn
from ppuda_like._cli_measure import Measure
from ppuda_like._cli_ncp import Ncp
from ppuda_like._cli_options import Images, write_graph
from ppuda_like._cli_predictors import PredictProperty, Rank
from ppuda_like._cli_train_net import TrainNet
from ppuda_like._factories import build_for_images, build_model
from ppuda_like._files import replacing
from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn import GHN, list_pretrained
from ppuda_like.graph import trace
from ppuda_like.vision import evaluate

__all__ = ["main"]

Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
_DEFAULT_GHN = "ghn2-digits"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Show the computational graph of a model."""

    model: Model
    """A torchvision name, package.module:factory, or file.py:factory."""
    lower: Literal["ppuda", "extended"] | None = None
    """Rewrite the graph in a vocabulary of primitives."""
    input_shape: tuple[int, ...] | None = None
    """Shape of the input, batch included; by default what the model says about itself, else 1 3 224 224."""
    out: Path | None = None
    """Write the graph to a .json, .png, .pdf, .svg or .dot file."""
    rows: int = 60
    """Rows of the table at most; 0 for all."""

    def run(self) -> None:
        model = build_model(self.model)
        graph = trace(model.eval(), self.input_shape)
        if self.lower:
            graph = graph.lower(self.lower)
        if self.out is not None:
            write_graph(graph, self.out)
        print(graph.summary(max_rows=self.rows or None))
        if self.out is not None:
            print(f"wrote {self.out}")


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict all parameters of a model in one pass, and show its accuracy on images."""

    model: Model
    """A torchvision name, package.module:factory, or file.py:factory."""
    ghn: str = _DEFAULT_GHN
    """A bundled checkpoint or a .safetensors file."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    out: Path | None = None
    """Write the parameters to a .safetensors file."""
    report: bool = False
    """Print what was done for each parameter."""
    seed: int = 0
    """Of the random initialisation that is compared with."""

    def run(self) -> None:
        ghn = GHN.from_pretrained(self.ghn)
        size = self.images.image_size
        data = self.images.load("test")
        torch.manual_seed(self.seed)
        model = build_for_images(self.model, len(data.class_names), size)
        _use_batch_statistics(model)
        shape = (1, 3, size, size)
        trace(model, shape)  # the first trace of a process pays for torch's lazy imports
        random = evaluate(model, data)
        start = time.perf_counter()
        report = ghn.fill(model, input_shape=shape)
        seconds = time.perf_counter() - start
        predicted = evaluate(model, data)
        print(report)
        if self.report:
            print(report.table())
        print(f"model to parameters: {seconds:.3f} s")
        print(f"top-1 on {len(data)} images of {self.images.data} ({len(data.class_names)} classes), batch statistics:")
        print(f"  random initialisation  {100 * random.top1:5.1f} %")
        print(f"  predicted by {self.ghn:<10}  {100 * predicted.top1:5.1f} %")
        if self.out is not None:
            _write_parameters(model, self.out)
            print(f"wrote {self.out}")


def main() -> None:
    """Run the command ``ppuda-like``; a mistake of the user's ends it with one line and exit code 2."""
    if sys.argv[1:] == ["--version"]:
        print(__version__)
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    command = tyro.extras.subcommand_cli_from_dict(
        {
            "graph": Graph,
            "predict": Predict,
            "train-ghn": TrainGhn,
            "eval-ghn": EvalGhn,
            "train-net": TrainNet,
            "detect": Detect,
            "finetune": Finetune,
            "dataset": Dataset,
            "measure": Measure,
            "predict-property": PredictProperty,
            "rank": Rank,
            "ncp": Ncp,
            "dna": Dna,
            "blocks": Blocks,
        },
        prog="ppuda-like",
        description="Every architecture is a computational graph. "
        f"Bundled checkpoints: {', '.join(list_pretrained()) or 'none'}.",
    )
    try:
        command.run()
    except (PpudaLikeError, OSError) as error:
        print(f"ppuda-like: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("ppuda-like: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _use_batch_statistics(model: nn.Module) -> None:
    """Evaluate with the statistics of each batch, as after prediction, so that both accuracies compare."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()


def _write_parameters(model: nn.Module, path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if first.setdefault(id(tensor), name) == name:
            tensors[name] = tensor.detach().contiguous()
        else:
            tied[name] = first[id(tensor)]
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"tied": json.dumps(tied)})
