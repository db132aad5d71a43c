"""Memory and throughput of training by blocks: ``python benchmarks/blocks.py`` prints two tables.

Memory: the most bytes of activations that autograd holds at a time in one step, which does not depend on the machine.
Throughput: steps per second of ``parallel`` with two processes against ``sync``, the best of repetitions; and, for a
machine that has other things to do, the same by processor time: that of ``sync`` over that of the busier process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    BlockTrainConfig,
    BlockwiseModel,
    auxiliaries_for,
    sedona_net,
    split,
    train_blocks,
)
from ppuda_like.search.blocks._parallel import Workers
from ppuda_like.search.blocks._train_blocks import _Run
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


def steps_per_second(method: str, steps: int, repeats: int) -> tuple[float, float]:
    """By the clock, and by the processor time of the busiest process."""
    torch.set_num_threads(2 if method == "parallel" else 1)  # one for each process
    model = blocks_of("resnet18", 2, "macs")
    nets = auxiliaries_for(model, "linear", 10)
    best = fast = 0.0
    pids = [os.getpid()]
    with tempfile.TemporaryDirectory() as folder:
        training = NetTrainConfig(out=Path(folder), epochs=1, batch_size=32, augment="none")
        config = BlockTrainConfig(training=training, method=method)  # type: ignore[arg-type]
        run = _Run(model, nets, config, images(32 * steps), None)
        if method == "parallel":
            with Workers(run.learners, run.stream, config) as workers:
                list(workers.run(range(0, 2)))
                pids = [process.pid for process in workers._processes]
                for _ in range(repeats):
                    before = [processor_seconds(pid) for pid in pids]
                    start = time.perf_counter()
                    list(workers.run(range(0, steps)))
                    best = max(best, steps / (time.perf_counter() - start))
                    used = [processor_seconds(pid) - b for pid, b in zip(pids, before, strict=True)]
                    fast = max(fast, steps / max(used))
            return best, fast
        for repeat in range(repeats + 1):
            before = [processor_seconds(pids[0])]
            start = time.perf_counter()
            for step in range(steps if repeat else 2):
                run._update(*run.stream[step])
            if repeat:
                best = max(best, steps / (time.perf_counter() - start))
                fast = max(fast, steps / (processor_seconds(pids[0]) - before[0]))
    return best, fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--throughput", action="store_true", help="leave the memory out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.throughput:
        memory_table(arguments.batch)
    sync = steps_per_second("sync", arguments.steps, arguments.repeats)
    parallel = steps_per_second("parallel", arguments.steps, arguments.repeats)
    print("\n| ResNet-18 (narrow), K = 2, by MACs | sync steps/s | parallel steps/s | ratio (aim: >= 1.5) |")
    print("|---|---|---|---|")
    for kind, a, b in zip(("clock", "processor time"), sync, parallel, strict=True):
        print(f"| {kind} | {a:.2f} | {b:.2f} | {b / a:.2f} |")


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
