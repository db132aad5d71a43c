"""Memory and throughput of training by blocks: ``python benchmarks/blocks.py`` prints two tables, ``--outer`` a third.

Memory: the most bytes of activations that autograd holds at a time in one step, which does not depend on the machine.
Throughput: steps per second of ``parallel`` with two processes against ``sync``, the best of repetitions; and, for a
machine that has other things to do, the same by processor time: that of ``sync`` over that of the busier process.
Outer step: seconds for the gradient of the logits of SEDONA's search, for the whole update with it, and for as many
plain steps as it looks ahead; by processor time of one thread, the best of repetitions.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like._memory import keep_freed_memory
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    BlockSearchConfig,
    BlockTrainConfig,
    BlockwiseModel,
    auxiliaries_for,
    sedona_net,
    split,
    train_blocks,
)
from ppuda_like.search.blocks._parallel import Workers
from ppuda_like.search.blocks._search_outer import outer_gradient, step
from ppuda_like.search.blocks._search_run import SearchRun
from ppuda_like.search.blocks._train_run import Run
from ppuda_like.vision import ImageData, NetTrainConfig

CLASSES = tuple(map(str, range(10)))


def images(n: int, size: int = 32) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(n, 3, size, size, generator=generator)
    return ImageData(images=pixels, labels=torch.arange(n) % 10, class_names=CLASSES)


def blocks_of(name: str, num_blocks: int, cost: Any, **options: int) -> BlockwiseModel:
    net = sedona_net(name, **options)
    graph = trace(net, (2, 3, 32, 32))
    return split(net, Partition.balanced(graph, num_blocks, cost))


class Meter:
    """Bytes that autograd holds, each piece of memory counted once, parameters left out."""

    def __init__(self, model: nn.Module) -> None:
        self.skip = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.held: dict[int, int] = {}
        self.kept = self.peak = 0

    def pack(self, tensor: Tensor) -> Held:
        return Held(self, tensor)

    def unpack(self, held: Held) -> Tensor:
        return held.tensor


class Held:
    def __init__(self, meter: Meter, tensor: Tensor) -> None:
        self.meter, self.tensor = meter, tensor
        self.key = tensor.untyped_storage().data_ptr()
        if self.key in meter.skip:
            return
        meter.held[self.key] = meter.held.get(self.key, 0) + 1
        if meter.held[self.key] == 1:
            meter.kept += tensor.untyped_storage().nbytes()
            meter.peak = max(meter.peak, meter.kept)

    def __del__(self) -> None:
        meter = self.meter
        if self.key not in meter.skip:
            meter.held[self.key] -= 1
            if not meter.held[self.key]:
                del meter.held[self.key]
                meter.kept -= self.tensor.untyped_storage().nbytes()


def memory(method: str, cost: str, auxiliary: str, batch: int) -> float:
    model = blocks_of("resnet50", 4, cost)
    nets = auxiliaries_for(model, auxiliary, 10)
    meter = Meter(nn.ModuleList([model, *nets]))
    with tempfile.TemporaryDirectory() as folder:
        training = NetTrainConfig(out=Path(folder), epochs=1, batch_size=batch, augment="none")
        config = BlockTrainConfig(training=training, method=method)  # type: ignore[arg-type]
        with torch.autograd.graph.saved_tensors_hooks(meter.pack, meter.unpack):
            train_blocks(model, nets, config, images(batch), progress=False)
    return meter.peak / 2**20


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far, on Linux."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def throughput(steps: int, repeats: int) -> list[tuple[str, float, float]]:
    """Steps per second by the clock, and by the processor time of the busiest process: the best of turns of each."""
    found = {"sync, 1 thread": [0.0, 0.0], "sync, 2 threads": [0.0, 0.0], "parallel, 2 processes of 1": [0.0, 0.0]}
    with tempfile.TemporaryDirectory() as folder:
        training = NetTrainConfig(out=Path(folder), epochs=1, batch_size=32, augment="none")
        config = BlockTrainConfig(training=training)
        runs = []
        for _ in found:
            model = blocks_of("resnet18", 2, "macs")
            runs.append(Run(model, auxiliaries_for(model, "linear", 10), config, images(32 * steps), None))
        torch.set_num_threads(2)  # one for each process
        with Workers(runs[2].driver.learners, runs[2].stream, config) as workers:
            for repeat in range(repeats + 1):
                for (name, best), threads, run in zip(found.items(), (1, 2, 2), runs, strict=True):
                    torch.set_num_threads(threads)
                    parallel = name.startswith("parallel")
                    pids = [process.pid for process in workers._processes] if parallel else [os.getpid()]
                    before = [processor_seconds(pid) for pid in pids]
                    start = time.perf_counter()
                    count = steps if repeat else 2  # the first turn warms up
                    list((workers if parallel else run.driver).run(range(count)))
                    clock = time.perf_counter() - start
                    used = max(processor_seconds(pid) - b for pid, b in zip(pids, before, strict=True))
                    if repeat:
                        best[:] = max(best[0], count / clock), max(best[1], count / used)
    torch.set_num_threads(1)
    return [(name, clock, used) for name, (clock, used) in found.items()]


def throughput_table(steps: int, repeats: int) -> None:
    rows = throughput(steps, repeats)
    print("\n| ResNet-18 (narrow), K = 2, by MACs | steps/s | to sync, 1 thread | by processor time | to sync |")
    print("|---|---|---|---|---|")
    for name, clock, used in rows:
        print(f"| {name} | {clock:.2f} | {clock / rows[0][1]:.2f} | {used:.2f} | {used / rows[0][2]:.2f} |")
    print("\nParallel is to reach 1.5 times sync.")


def outer_step(gradient: str, batch: int, unroll: int, repeats: int, **drawn: int) -> tuple[float, float, float]:
    """Processor seconds of plain steps, of the gradient of the logits, and of an update of the search."""
    with tempfile.TemporaryDirectory() as folder:
        config = BlockSearchConfig(
            out=Path(folder),
            unroll=unroll,
            batch_size=batch,
            val_batch_size=batch,
            gradient=gradient,  # type: ignore[arg-type]
            **drawn,  # type: ignore[arg-type]
        )
        search = SearchRun(sedona_net("vgg11"), config, images(2 * batch), images(batch))
        logits = search.alpha, search.beta
        batches = [search.stream[i] for i in range(unroll + 1)]
        seeds = range(unroll)

        def plain(count: int) -> None:
            state = search.state
            for i in range(count):
                with torch.no_grad():
                    relaxation = search._relax(0)(i)
                after, _ = step(search.net, state, batches[i], relaxation, config, lr=0.001, seed=i)
                state = after or state

        def gradients() -> None:
            outer_gradient(
                search.net,
                search.state,
                batches[:-1],
                batches[-1],
                logits,
                search._relax(0),
                config,
                lr=0.001,
                seeds=seeds,
            )

        def update() -> None:
            gradients()
            plain(1)

        return seconds(lambda: plain(unroll), repeats), seconds(gradients, repeats), seconds(update, repeats)


def seconds(function: Callable[[], None], repeats: int) -> float:
    """Processor time of the fastest call but the first."""
    function()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def outer_table(batch: int, unroll: int, repeats: int) -> None:
    print(
        f"| VGG-11 (narrow), T = {unroll}, batch {batch} | {unroll} plain steps | gradient | update | update / steps |"
    )
    print("|---|---|---|---|---|")
    whole = 0.0
    for gradient, drawn in (
        ("exact", {}),
        ("first-order", {}),
        ("reference", {}),
        ("exact", {"boundaries": 2, "num_candidates": 2}),
    ):
        steps, alone, update = outer_step(gradient, batch, unroll, repeats, **drawn)
        whole = whole or steps
        name = gradient + (", 2 of 7 boundaries, 2 of 4 candidates" if drawn else "")
        print(f"| {name} | {steps:.2f} s | {alone:.2f} s | {update:.2f} s | {update / whole:.2f} |", flush=True)
    print("\nThe ratio is to the plain steps with all boundaries and candidates; aim: <= 6 for the exact gradient.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--throughput", action="store_true", help="leave the memory out")
    parser.add_argument("--outer", action="store_true", help="the search only; --batch 64 is what is aimed at")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if arguments.outer:
        outer_table(arguments.batch, 2, arguments.repeats)
        return
    if not arguments.throughput:
        memory_table(arguments.batch)
    throughput_table(arguments.steps, arguments.repeats)


def memory_table(batch: int) -> None:
    whole = memory("backprop", "activation_bytes", "linear", batch)
    print("| ResNet-50 (narrow), K = 4, cut by | auxiliary | sync MiB | end to end MiB | share (aim: <= 0.5) |")
    print("|---|---|---|---|---|")
    for cost in ("activation_bytes", "macs"):
        for auxiliary in ("light-1", "mlp-sr"):
            found = memory("sync", cost, auxiliary, batch)
            print(f"| {cost} | {auxiliary} | {found:.1f} | {whole:.1f} | {found / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
