"""Trace every torchvision model and predict its parameters: ``python benchmarks/coverage.py`` writes docs/coverage.md.

A model counts as covered when every parameter its forward uses is in the graph; no failure is left out of the table.
"""

from __future__ import annotations

import platform
import time
import warnings
from pathlib import Path
from typing import Annotated

import torch
import torchvision
import tyro
from torch import nn
from tqdm import tqdm

import ppuda_like
from ppuda_like import GHN, trace
from ppuda_like._factories import build_model
from ppuda_like._files import replacing
from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn import GHNConfig

HEADER = """# Models that trace

Made by `python benchmarks/coverage.py` with ppuda_like {version}, torch {torch}, torchvision {torchvision}, Python {python}.

Every entry of `torchvision.models.list_models()`, in evaluation mode unless the name says otherwise, at the default input.
*Nodes* are those of the full trace and of its lowering to the `ppuda` and `extended` vocabularies. *Found / used*: parameter
tensors in the graph, and those that forward uses (all of the model's, less those listed as unreached: auxiliary heads in
evaluation mode). *In `ppuda`*: tensors that the 15 primitives of the released checkpoints cover. *Predicted*: tensors that a
GHN-2 (random weights, ImageNet decoder) filled, for classification models; the others are reported as kept, with the
reason. *Tiled*: how many of them are larger than what the
decoder makes, so that it is repeated or resized.

{summary}

| model | input | nodes | ppuda | extended | found / used | unreached | in ppuda | predicted | tiled | note |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def models() -> list[tuple[str, bool]]:
    """Names, each with whether it is taken in training mode; models with auxiliary heads come in both."""
    names = [(name, False) for name in torchvision.models.list_models()]
    auxiliary = ("googlenet", "inception_v3", "quantized_googlenet", "quantized_inception_v3")
    return sorted([*names, *((name, True) for name in auxiliary)])


def build(name: str) -> nn.Module:
    """The model on the meta device, or on the CPU where building or running it needs values."""
    module = torchvision.models.get_model_builder(name).__module__
    needs_values = "regnet" in module or ".detection" in module
    with torch.device("cpu" if needs_values else "meta"):
        return build_model(name)


def row(name: str, training: bool, ghn: GHN | None) -> tuple[str, bool]:
    """One line of the table, and whether all went well."""
    shown = f"{name} (training)" if training else name
    try:
        model = build(name).train(training)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            full = trace(model)
        ppuda, extended = full.lower("ppuda"), full.lower("extended")
        predicted = tiled = "-"
        if ghn is not None and not training:
            (targets,) = ghn.prepare(ppuda).targets
            predicted = str(sum(tensor.isfinite().all().item() for tensor in ghn.predict(ppuda)[0].values()))
            tiled = str(sum(target.status != "predicted" for target in targets))
    except PpudaLikeError as error:
        return f"| {shown} | | | | | | | | | | FAILED: {' '.join(str(error).split())} |", False
    everything = {path for path, _ in model.named_parameters()}
    used = everything - set(full.unreached)
    note = "real values, one small image" if any("real tensors" in str(w.message) for w in caught) else ""
    missing = used - set(full.params) | used - set(extended.params)
    shape = " ".join("x".join(map(str, full.out_shapes[node])) for node in full.inputs)
    cells = [
        shown, shape, full.num_nodes, ppuda.num_nodes, extended.num_nodes, f"{len(full.params)} / {len(used)}",
        len(full.unreached), len(ppuda.params), predicted, tiled, f"MISSING {sorted(missing)}" if missing else note,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |", not missing


def main(
    out: Path = Path("docs/coverage.md"), match: Annotated[str, tyro.conf.arg(help="Part of the names.")] = ""
) -> None:
    """Write the table of all torchvision models whose name contains ``match``."""
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    ghn = GHN(GHNConfig.ghn2(num_classes=1000, kernel=16))
    start = time.perf_counter()
    rows, good = [], 0
    chosen = [(name, training) for name, training in models() if match in name]
    for name, training in tqdm(chosen, disable=None):
        module = torchvision.models.get_model_builder(name).__module__
        special = (".segmentation", ".detection", ".video", ".optical_flow", ".quantization")
        classifies = not any(part in module for part in special)
        line, fine = row(name, training, ghn if classifies else None)
        rows.append(line)
        good += fine
    seconds = time.perf_counter() - start
    header = HEADER.format(
        version=ppuda_like.__version__,
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        python=platform.python_version(),
        summary=f"**{good} of {len(rows)} without a failure**, in {seconds:.0f} s.",
    )
    with replacing(out) as temporary:
        temporary.write_text(header + "\n".join(rows) + "\n")
    print(f"{good} of {len(rows)} without a failure; wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
