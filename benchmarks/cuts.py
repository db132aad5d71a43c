"""Milliseconds to cut networks into blocks once they are traced: ``python benchmarks/cuts.py`` prints a table.

Processor time on one thread, so that other processes count little: the median of repetitions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torchvision

from ppuda_like import trace
from ppuda_like.graph import Partition, legal_cuts, units

MODELS = ("resnet50", "resnet152", "densenet201", "swin_t", "efficientnet_b0")
AIM = 20.0


def milliseconds(call: Callable[[], object], repeats: int = 15) -> float:
    """Median time of a call, after one to warm up."""
    call()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return 1e3 * statistics.median(found)


def main() -> None:
    torch.set_num_threads(1)
    print("| model | nodes | trace ms | legal_cuts ms | units ms | both ms | balanced into 4 ms |")
    print("|---|---|---|---|---|---|---|")
    for name in MODELS:
        with torch.device("meta"):
            model = torchvision.models.get_model(name, weights=None).eval()
        graph = trace(model)
        traced = milliseconds(lambda m=model: trace(m), 5)
        cuts, pieces = milliseconds(lambda g=graph: legal_cuts(g)), milliseconds(lambda g=graph: units(g))
        both = milliseconds(lambda g=graph: (legal_cuts(g), units(g)))
        balanced = milliseconds(lambda g=graph: Partition.balanced(g, 4), 5)
        times = (traced, cuts, pieces, both, balanced)
        print(f"| {name} | {graph.num_nodes} | {' | '.join(f'{t:.1f}' for t in times)} |")
        if name == "resnet152":
            aim = f"\nResNet-152: legal_cuts and units {both:.1f} ms (aim: <= {AIM:.0f} ms)."
    print(aim)


if __name__ == "__main__":
    main()
