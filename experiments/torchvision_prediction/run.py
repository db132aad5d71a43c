"""Predict the parameters of every torchvision model: ``python experiments/torchvision_prediction/run.py``."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import resource
import sys
import tempfile
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

import recipes
import torch
import torchvision
import tyro
from figures import by_family, plot
from torch import nn
from tqdm import tqdm

from ppuda_like._factories import build_model
from ppuda_like._files import replacing
from ppuda_like._partial import PartialResults
from ppuda_like.errors import PredictionError, TraceError
from ppuda_like.ghn import GHN, PredictionReport
from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.vision import ImageSource, adapt_small_input, evaluate, load_images, subset


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was found about one model.

    Attributes:
        model: torchvision name.
        family: see :func:`recipes.family`.
        num_params: scalars in its parameters.
        nodes: of its graph in the vocabulary of the hypernetwork.
        predicted: share of the scalars that were predicted whole.
        tiled: share predicted as a block that is repeated, or with a smaller kernel that is enlarged.
        kept: share that stayed random.
        seconds: from the model to its parameters, tracing included.
        device: where it was built: "meta", or "cpu" where values are needed.
        image_size: pixels.
        gflops: 10^9 floating-point operations for one image of that size, two per multiply-accumulate.
        num_images: test images; 0 if it was not evaluated.
        top1: accuracy, 0..1; None if it was not evaluated.
        loss: mean cross entropy; None if it was not evaluated.
    """

    model: str
    family: str
    num_params: int
    nodes: int
    predicted: float
    tiled: float
    kept: float
    seconds: float
    device: str
    image_size: int
    gflops: float
    num_images: int
    top1: float | None
    loss: float | None


def build(name: str, device: str, num_classes: int, seed: int) -> nn.Module:
    """The model, in evaluation mode: without its auxiliary heads."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        return build_model(name, num_classes).eval()


def on_meta(name: str) -> bool:
    """Whether the model can be built without values: a RegNet computes its widths with tensors."""
    return not name.startswith("regnet")


def sized(name: str, recipe: recipes.Recipe, num_classes: int) -> tuple[ComputationalGraph, int, bool]:
    """The graph of a model at the recipe's image size, or if it takes only its own at that: (graph, size, small)."""
    device = "meta" if on_meta(name) else "cpu"
    model = adapt_small_input(build(name, device, num_classes, recipe.seed))
    try:
        return trace(model, (1, 3, recipe.image_size, recipe.image_size)), recipe.image_size, True
    except TraceError:  # too small for it, or not what it was built for
        graph = trace(build(name, device, num_classes, recipe.seed))
        return graph, graph.out_shapes[graph.inputs[0]][-1], False


def filled(
    name: str, ghn: GHN, recipe: recipes.Recipe, size: int, small: bool
) -> tuple[nn.Module, str, PredictionReport]:
    """The model with predicted parameters, where it was built, and the report.

    On the meta device no parameter and no buffer may be left over; a model that has some is built on the CPU.
    """
    found: PredictionError | None = None
    for device in ("meta", "cpu") if on_meta(name) else ("cpu",):
        model = build(name, device, ghn.config.num_classes, recipe.seed)
        if small:
            adapt_small_input(model)
        try:
            return model, device, ghn.fill(model, input_shape=(1, 3, size, size))
        except PredictionError as error:
            found = error
    assert found is not None
    raise found


def measure(name: str, ghn: GHN, recipe: recipes.Recipe, data: str, data_root: Path) -> Row:
    """Predict the parameters of one model, and evaluate it if that is not too costly."""
    graph, size, small = sized(name, recipe, ghn.config.num_classes)
    count = recipe.affordable(graph.total_flops)
    model, device, report = filled(name, ghn, recipe, size, small)
    found = evaluate(model, images(data, size, count, data_root), batch_size=recipe.batch_size) if count else None
    total = report.total_params

    def share(*statuses: str) -> float:
        return sum(tensor.size for tensor in report.of_status(*statuses)) / total

    return Row(
        model=name,
        family=recipes.family(name),
        num_params=total,
        nodes=graph.lower("ppuda").num_nodes,
        predicted=share("predicted"),
        tiled=share("tiled", "resized"),
        kept=share("kept"),
        seconds=report.milliseconds / 1e3,
        device=device,
        image_size=size,
        gflops=graph.total_flops / 1e9,
        num_images=count,
        top1=None if found is None else found.top1,
        loss=None if found is None else found.loss,
    )


@cache
def images(data: str, size: int, count: int, root: Path) -> ImageSource:
    """So many test images, the same ones at each size."""
    source = load_images(data, "test", size, root=root)
    return subset(source, torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:count])


def identity(ghn: GHN, recipe: recipes.Recipe, data: str) -> str:
    """All that a row depends on but for the model, as text."""
    weights = hashlib.sha256()
    for name, tensor in ghn.state_dict().items():
        weights.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return f"{replace(recipe, models=())} {data} {ghn.config} {weights.hexdigest()[:16]} {torchvision.__version__}"


def write_csv(rows: list[Row], path: Path) -> None:
    """One line per model."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows)


def main(
    ghn: str = "ghn2-digits",
    data: str = "digits",
    data_root: Path = Path("data"),
    models: tuple[str, ...] = (),
    out: Path | None = None,
    smoke: bool = False,
) -> None:
    """Predict every model's parameters, evaluate, tabulate and draw; the same command goes on where it was stopped.

    Args:
        ghn: a bundled hypernetwork or a .safetensors file.
        data: a data set with as many classes as the hypernetwork is for: its name, or a folder or archive.
        data_root: folder of data sets.
        models: torchvision names; all classification models where none is given.
        out: folder of the results; data/torchvision_prediction, or with --smoke a temporary one.
        smoke: five models and few images.
    """
    if out is None:
        out = Path(tempfile.mkdtemp() if smoke else "data/torchvision_prediction")
    recipe = recipes.SMOKE if smoke else recipes.full()
    recipe = replace(recipe, models=models or recipe.models)
    network = GHN.from_pretrained(ghn)
    kept = PartialResults(out / "models.csv", identity(network, recipe, data))
    rows = []
    for name in tqdm(recipe.models, unit="model", disable=None):
        if name in kept.found:
            rows.append(Row(**kept.found[name]))
            continue
        row = measure(name, network, recipe, data, data_root)
        rows.append(row)
        kept.add(name, asdict(row))
        shown = f"top-1 {100 * row.top1:.1f} %" if row.top1 is not None else "not evaluated"
        print(f"{name}: {row.num_params:,} parameters in {row.seconds:.2f} s on {row.device}, {shown}", flush=True)
    write_csv(rows, out / "models.csv")
    kept.close()
    table = by_family(rows)
    (out / "families.md").write_text(table)
    plot(rows, out / "accuracy.png")
    # Kibibytes, but bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    about = {
        "ghn": ghn,
        "data": data,
        "recipe": asdict(recipe),
        "models": len(rows),
        "evaluated": sum(row.top1 is not None for row in rows),
        "peak_memory_gib": round(peak, 2),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }
    (out / "results.json").write_text(json.dumps(about, indent=2) + "\n")
    print(table)
    print(f"at most {peak:.2f} GiB of memory; results are in {out}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
