"""Speed and memory against a forward pass, all ratios within one run: ``python benchmarks/speed.py`` writes benchmarks/report.md.

Times are medians of interleaved repetitions on two threads, in evaluation mode, without gradients. Memory is the growth of the
process's peak resident size, each figure in a process of its own.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch_geometric
import torchvision
import tyro

import ppuda_like
from ppuda_like import GHN, ComputationalGraph, trace, virtual_edges
from ppuda_like._files import replacing
from ppuda_like.ghn import GHNConfig
from ppuda_like.ghn._batch import GraphBatch
from ppuda_like.graph import PPUDA, make_edge_index

Memory = Literal["trace-vit-h-14", "predict-resnet50", "predict-densenet201"]


def seconds(*calls: Callable[[], object], repeats: int = 11) -> list[float]:
    """Median time of each call; they take turns, so that a slow spell of the machine meets all of them."""
    found: list[list[float]] = [[] for _ in calls]
    for number in range(repeats + 1):
        for call, times in zip(calls, found, strict=True):
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in found]


def line(*cells: object) -> str:
    return f"| {' | '.join(f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in cells)} |"


def environment() -> str:
    """Versions and processor."""
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((row.split(":")[1].strip() for row in rows if "model name" in row), platform.processor())
    return (
        f"ppuda_like {ppuda_like.__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"torch-geometric {torch_geometric.__version__}, Python {platform.python_version()}, {platform.system()}, {cpu}"
    )


def tracing() -> list[str]:
    rows = ["", "## Trace, lower, virtual edges, in forward passes of the same model (224 x 224, batch 1)", ""]
    rows += [
        "| model | forward ms | trace ms | lower ms | virtual edges ms | ratio | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("resnet50", "densenet201"):
        model = torchvision.models.get_model(name).eval()
        images = torch.randn(1, 3, 224, 224)
        full = trace(model)
        lowered = full.lower("ppuda")
        times = seconds(
            lambda m=model, x=images: m(x),
            lambda m=model: trace(m),
            lambda g=full: g.lower("ppuda"),
            lambda g=lowered: virtual_edges(g),
            lambda m=model: virtual_edges(trace(m).lower("ppuda")),
        )
        rows.append(line(name, *(1e3 * t for t in times[:4]), times[4] / times[0], "<= 1"))
    with torch.device("meta"):
        small, large = torchvision.models.convnext_small().eval(), torchvision.models.convnext_large().eval()
    narrow, wide = seconds(lambda: trace(small), lambda: trace(large))
    rows += [
        "",
        f"ConvNeXt-Large against ConvNeXt-Small, the same depth: {1e3 * wide:.1f} ms against {1e3 * narrow:.1f} ms, ",
    ]
    rows[-1] += f"**{wide / narrow:.2f}** (aim: within 1.5)."
    return rows


def predicting() -> list[str]:
    rows = ["", "## From model to parameters with GHN-2, in forward passes of the same model (224 x 224, batch 1)", ""]
    rows += [
        "*fill* writes into the model, from the untraced model to the last tensor; *predict* makes new tensors. Parts in ms;",
        "*copy* is the floor: copying as many bytes once, tensor by tensor.",
        "",
        "| model | forward | fill | predict | trace | lower | prepare | GNN | decode, write | copy | fill ratio | predict ratio | aim |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    ghn = GHN(GHNConfig.ghn2(num_classes=1000, kernel=16)).eval()
    for name, aim in (("resnet50", "<= 0.8"), ("densenet201", "<= 1.0")):
        model = torchvision.models.get_model(name).eval()
        images = torch.randn(1, 3, 224, 224)
        full = trace(model)
        lowered = full.lower("ppuda")
        batch = ghn.prepare(lowered)
        source = [torch.randn_like(parameter) for parameter in model.parameters()]

        def copy(model: torch.nn.Module = model, source: list[torch.Tensor] = source) -> None:
            for parameter, value in zip(model.parameters(), source, strict=True):
                parameter.data.copy_(value)

        forward, fill, predict, traced, low, prepared, embedded, copied = seconds(
            lambda m=model, x=images: m.eval()(x),
            lambda m=model: ghn.fill(m, bn_train=False),
            lambda m=model: ghn.predict(trace(m)),
            lambda m=model: trace(m),
            lambda g=full: g.lower("ppuda"),
            lambda g=lowered: GraphBatch.build([g], ghn.config, ghn.shape_enc),
            lambda b=batch: ghn._embed_nodes(b),
            copy,
        )
        rest = fill - traced - low - prepared - embedded
        parts = (forward, fill, predict, traced, low, prepared, embedded, rest, copied)
        rows.append(line(name, *(1e3 * t for t in parts), fill / forward, predict / forward, aim))
    return rows


def random_dag(num_nodes: int, generator: torch.Generator) -> ComputationalGraph:
    """A graph shaped like a network: every node takes one or two of the five nodes before it."""
    edges = []
    for node in range(1, num_nodes):
        choices = torch.randperm(min(5, node), generator=generator)[
            : 1 + int(torch.randint(2, (1,), generator=generator))
        ]
        edges += [(node - 1 - int(back), node) for back in choices]
    ops = ["input", *(PPUDA.primitives[i] for i in torch.randint(9, (num_nodes - 1,), generator=generator).tolist())]
    return ComputationalGraph(
        ops=tuple(ops), edge_index=make_edge_index(edges), inputs=(0,), outputs=(num_nodes - 1,), vocabulary="ppuda"
    )


def gated_gnn() -> list[str]:
    rows = ["", "## GatedGNN forward, in ResNet-18 forward passes (224 x 224, batch 1)", ""]
    rows += [
        "Random graphs with virtual edges up to distance 50: every node takes one or two of the five nodes before it.",
        "",
    ]
    rows += ["| nodes x graphs | levels | virtual edges | ms | ResNet-18 ms | ratio | aim | the reference |"]
    rows += ["|---|---|---|---|---|---|---|---|"]
    ghn = GHN(GHNConfig.ghn2()).eval()
    resnet = torchvision.models.resnet18().eval()
    images = torch.randn(1, 3, 224, 224)
    generator = torch.Generator().manual_seed(0)
    cases = ((200, 1, 0.4, 1.2), (200, 8, 0.6, 4.1), (1000, 1, 2.5, 16.0), (1000, 8, 4.0, 138.0))
    for num_nodes, num_graphs, aim, reference in cases:
        graphs = [random_dag(num_nodes, generator) for _ in range(num_graphs)]
        batch = ghn.prepare(graphs)
        pairs = sum(virtual_edges(graph).distance.numel() for graph in graphs)
        depth = max(int(ppuda_like.graph.levels(graph).max()) + 1 for graph in graphs)
        x = torch.randn(num_nodes * num_graphs, ghn.config.hid)
        unit, taken = seconds(lambda: resnet(images), lambda x=x, b=batch: ghn.gnn(x, b.schedule))
        size = f"{num_nodes} x {num_graphs}"
        rows.append(line(size, depth, pairs, 1e3 * taken, 1e3 * unit, taken / unit, f"<= {aim}", reference))
    return rows


def peak() -> float:
    """Largest resident size of this process so far, in MB; getrusage would count that of its parent before exec."""
    status = Path("/proc/self/status").read_text()
    return next(int(row.split()[1]) / 1024 for row in status.splitlines() if row.startswith("VmHWM"))


def measure_memory(case: Memory) -> None:
    """Print the growth of the peak and the size of the predicted tensors, in MB."""
    torch.set_grad_enabled(False)
    predicted = 0.0
    if case == "trace-vit-h-14":
        before = peak()
        with torch.device("meta"):
            model = torchvision.models.vit_h_14()
        graph = trace(model.eval())
        assert graph.num_params == sum(parameter.numel() for parameter in model.parameters())
    else:
        ghn = GHN(GHNConfig.ghn2(num_classes=1000, kernel=16)).eval()
        with torch.device("meta"):
            warm = torchvision.models.squeezenet1_0()
            model = torchvision.models.get_model(case.removeprefix("predict-")).eval()
        ghn.predict(trace(warm))
        before = peak()
        tensors = ghn.predict(trace(model))[0]
        predicted = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / 2**20
    print(peak() - before, predicted)


def memory() -> list[str]:
    rows = [
        "",
        "## Memory",
        "",
        "| what | peak above the import, MB | predicted tensors, MB | ratio | aim |",
        "|---|---|---|---|---|",
    ]
    cases: tuple[tuple[Memory, str], ...] = (
        ("trace-vit-h-14", "< 300 MB"), ("predict-resnet50", "<= 2"), ("predict-densenet201", "<= 2"),
    )  # fmt: skip
    for case, aim in cases:
        done = subprocess.run(
            [sys.executable, __file__, "--memory-case", case], capture_output=True, text=True, check=True
        )
        growth, predicted = map(float, done.stdout.split())
        rows.append(line(case, growth, predicted or "-", growth / predicted if predicted else "-", aim))
    return rows


def main(out: Path = Path("benchmarks/report.md"), memory_case: Memory | None = None) -> None:
    """Measure everything and write the report.

    Args:
        out: where the report goes.
        memory_case: measure the memory of this case only, and print it.
    """
    warnings.simplefilter("ignore")
    if memory_case is not None:
        measure_memory(memory_case)
        return
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    head = ["# Speed and memory", "", f"`python benchmarks/speed.py`, {environment()}, 2 threads."]
    report = "\n".join([*head, *tracing(), *predicting(), *gated_gnn(), *memory()]) + "\n"
    with replacing(out) as temporary:
        temporary.write_text(report)
    print(report)


if __name__ == "__main__":
    tyro.cli(main)
