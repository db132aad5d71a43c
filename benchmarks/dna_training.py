"""Rating paths, and passes of a teacher: ``python benchmarks/dna_training.py`` writes benchmarks/dna_training.md.

CPU time of one process on one thread, which another load of the machine changes little. The flat rating runs each path by itself, batch norms
calibrated once for the path and not for each batch, as the published program does; it is measured on every twelfth path where there are 1,296.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import tyro
from dna_search import cpu_seconds
from speed import environment, line
from torch import Tensor, nn
from torchvision.models import efficientnet_b7

from ppuda_like._files import replacing
from ppuda_like.search.dna import (
    EFFICIENTNET_B7_TAPS,
    Cell,
    CellNet,
    Supernet,
    Teacher,
    cifar_space,
    imagenet_space,
    mobile_operations,
    rate_paths,
)
from ppuda_like.search.dna._rate_tree import distances
from ppuda_like.search.dna._supernet import recalibrating


@torch.no_grad()
def flat(
    net: CellNet, cell: Cell, calibration: Tensor, inputs: Sequence[Tensor], targets: Sequence[Tensor], every: int
) -> Tensor:
    """Relative L1 distances of every so many paths, each run by itself."""
    found = []
    for path in cell.paths()[::every].tolist():
        whole = nn.Sequential(net.first, net.adapt_in, *(net.layer(i, op) for i, op in enumerate(path)), net.adapt_out)
        with recalibrating(whole):
            whole(calibration)
        found.append(torch.stack([distances(whole(x), y)[0] for x, y in zip(inputs, targets, strict=True)]).mean())
    return torch.stack(found)


def rating(operations: int, every: int) -> str:
    """A stage of four layers: 24 channels of 16x16 to 40 of 8x8, 16 images to calibrate and 4 batches of 16."""
    chosen = mobile_operations((3, 5) if operations == 4 else (3, 5, 7))
    space = cifar_space(depths=(3, 3, 4, 3), operations=chosen)
    net = Supernet(space, (32, 48, 80, 160)).cell(2)
    generator = torch.Generator().manual_seed(0)
    calibration, *inputs = (torch.randn(16, 48, 16, 16, generator=generator) for _ in range(5))
    targets = [torch.randn(16, 80, 8, 8, generator=generator) for _ in inputs]
    net.eval()
    start = time.process_time()
    by_tree = torch.stack([values.mean(0)[0] for _, values in rate_paths(net, calibration, inputs, targets)])
    between = time.process_time()
    by_path = flat(net, space.stages[2].cells[0], calibration, inputs, targets, every)
    end = time.process_time()
    torch.testing.assert_close(by_tree[::every], by_path, rtol=1e-4, atol=1e-6)
    tree_seconds, flat_seconds = between - start, every * (end - between)
    counted = sum(operations**depth for depth in range(1, 5)) / (4 * operations**4)
    sampled = "all paths" if every == 1 else f"1 path of {every}, scaled"
    return line(
        f"{operations}^4",
        tree_seconds,
        f"{flat_seconds:.2f} ({sampled})",
        f"{counted:.3f}",
        f"**{tree_seconds / flat_seconds:.3f}**",
        "<= 0.35",
    )


def passes(name: str, teacher: Teacher, images: Tensor, repeats: int) -> str:
    """One pass for all stages, and the passes up to each tap that training stage by stage needs."""

    def cpu(call: Callable[[], object]) -> float:
        return cpu_seconds(call, repeats)

    shared = cpu(lambda: teacher.features(images))
    apart = [cpu(lambda stage=stage: teacher.features(images, stage)) for stage in range(len(teacher.taps))]
    return line(name, shared, sum(apart), f"**{shared / sum(apart):.3f}**", "<= 0.4")


def main(out: Path = Path("benchmarks/dna_training.md")) -> None:
    """Measure everything and write the report.

    Args:
        out: where the report goes.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Teacher(efficientnet_b7().eval(), EFFICIENTNET_B7_TAPS)
    teacher.widths(imagenet_space())
    rows = [
        "# Training blocks with a teacher",
        "",
        f"`python benchmarks/dna_training.py`, {environment()}. CPU time on one thread.",
        "",
        "## Rating all paths of a stage of four layers",
        "",
        "16 images to calibrate, 4 batches of 16; the ratings of both ways are compared. *Counted*: the share of operations that the tree runs.",
        "",
        "| paths | tree s | path by path s | counted | measured | aim |",
        "|---|---|---|---|---|---|",
        rating(4, 1),
        rating(6, 12),
        "",
        "## Passes of EfficientNet-B7 for six stages, 1 image of 224 pixels",
        "",
        "Median of 3. By multiply-accumulates the share is 5,087 / 16,325 M = 0.312.",
        "",
        "| teacher | one pass s | stage by stage s | share | aim |",
        "|---|---|---|---|---|",
        passes("EfficientNet-B7", teacher, torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)), 3),
    ]
    report = "\n".join(rows) + "\n"
    with replacing(out) as temporary:
        temporary.write_text(report)
    print(report)


if __name__ == "__main__":
    tyro.cli(main)
