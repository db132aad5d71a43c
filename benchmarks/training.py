"""A training step of GHN-2 against its floor: ``python benchmarks/training.py`` writes benchmarks/training.md.

The floor is what the networks of the meta-batch need by themselves: forward and backward pass of each, with parameters of its own, on
the same images. Memory is the growth of the process's peak resident size, each figure in a process of its own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import tyro
from speed import environment, line, peak
from torch.nn import functional as F

from ppuda_like._files import replacing
from ppuda_like._ranks import ALONE
from ppuda_like.ghn import GHN, GHNConfig, NetsConfig, TrainConfig
from ppuda_like.ghn._images import StepImages, step_images
from ppuda_like.ghn._net_stream import MetaBatch, NetStream
from ppuda_like.ghn._train_run import TrainRun
from ppuda_like.ghn._train_state import Progress, WeightAverage
from ppuda_like.vision import digits, main_output

WIDTHS = {"C = 32": (32,), "published widths": None, "C = 16": (16,)}
CASES = ("step", "floor")


def build(widths: tuple[int, ...] | None, ghn: GHNConfig, threads: int) -> tuple[TrainRun, NetStream, list[StepImages]]:
    config = TrainConfig(
        out=Path(tempfile.gettempdir()),
        ghn=ghn,
        nets=NetsConfig(meta_batch=8, widths=widths, max_macs=10**10),
        batch_size=64,
        steps=100,
        net_threads=threads,
    )
    torch.manual_seed(0)
    net = GHN(config.ghn)
    data = digits("train")
    run = TrainRun(
        config, net, WeightAverage(net, 0.0), torch.optim.Adam(net.parameters()), Progress(), data,
        pool=ThreadPoolExecutor(threads) if threads else None, ranks=ALONE, logs=[],
    )  # fmt: skip
    stream = NetStream(config.nets, ghn, image_size=32, num_classes=10, seed=0)
    return run, stream, list(step_images(config, data, range(20)))


def floor(batch: MetaBatch, images: StepImages, *, keep: bool = False) -> float:
    """Seconds that the networks take by themselves; with ``keep``, they stay in memory with their gradients."""
    kept = []
    total = 0.0
    for position, net in zip(batch.positions, batch.nets, strict=True):
        model = net.config.build("cpu").eval()
        x, labels = images(position, net)
        start = time.perf_counter()
        F.cross_entropy(main_output(model(x)), labels).backward()
        total += time.perf_counter() - start
        if keep:
            kept.append(model)
    return total


def times(steps: int) -> list[str]:
    rows = [
        "", "## Time", "", "Meta-batches of 8 networks of `train`, 64 images of 32x32; seconds; medians over the steps, of the ratios too; *GHN* is prediction, decoding and",
        "their backward pass, clipping and the update. Preparing a meta-batch (sampling, graphs, schedules) is done by worker processes. *two threads* runs",
        "the networks side by side, one thread each (`net_threads=2`).", "",
        "| hypernetwork | widths | prepare | floor | step | GHN | share of GHN | step / floor | aim | two threads / floor |", "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, ghn in (("GHN-2", GHNConfig.ghn2()), ("GHN-3-T", GHNConfig.ghn3("T"))):
        for widths, values in WIDTHS.items():
            run, stream, images = build(values, ghn, 0)
            parallel, _, _ = build(values, ghn, 2)
            rounds = []
            for number in range(steps + 1):
                start = time.perf_counter()
                batch = stream[number]
                prepared = time.perf_counter() - start
                before = floor(batch, images[number])
                start = time.perf_counter()
                metrics = run.step(batch, images[number])
                taken = time.perf_counter() - start
                alone = (before + floor(batch, images[number])) / 2  # a machine's speed drifts within seconds
                start = time.perf_counter()
                parallel.step(batch, images[number])
                side = time.perf_counter() - start
                own = taken - metrics["seconds_nets"]
                rounds.append((prepared, alone, taken, own, 100 * own / taken, taken / alone, side / alone))
            # The first round warms up.
            prepared, alone, taken, own, share, ratio, parallel_ratio = map(
                statistics.median, zip(*rounds[1:], strict=True)
            )
            aims = "<= 15 %, <= 1.15"
            rows.append(line(name, widths, prepared, alone, taken, own, f"{share:.1f} %", ratio, aims, parallel_ratio))
    return rows


def measure_memory(case: str) -> None:
    """Print the growth of the peak, in MB, of a whole step or of the networks alone."""
    run, stream, images = build((32,), GHNConfig.ghn2(), 0)
    warm, batch = stream[0], stream[1]
    run.step(warm, images[0])
    before = peak()
    if case == "step":
        run.step(batch, images[1])
    else:
        floor(batch, images[1], keep=True)
    print(peak() - before)


def memory() -> list[str]:
    found = {}
    for case in CASES:
        done = subprocess.run(
            [sys.executable, __file__, "--memory-case", case], capture_output=True, text=True, check=True
        )
        found[case] = float(done.stdout)
    return [
        "", "## Memory", "",
        f"Growth of the peak after a first step: {found['step']:.0f} MB in a step of GHN-2 at C = 32, {found['floor']:.0f} MB where the networks train by themselves and keep",
        f"parameters and gradients: **{found['step'] / found['floor']:.2f}** (aim: at most 1.3).",
    ]  # fmt: skip


def main(out: Path = Path("benchmarks/training.md"), steps: int = 6, memory_case: str | None = None) -> None:
    """Measure everything and write the report.

    Args:
        out: where the report goes.
        steps: steps to average over.
        memory_case: measure the memory of this case only, and print it.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    if memory_case is not None:
        measure_memory(memory_case)
        return
    head = ["# A training step", "", f"`python benchmarks/training.py`, {environment()}, 2 threads."]
    report = "\n".join([*head, *times(steps), *memory()]) + "\n"
    with replacing(out) as temporary:
        temporary.write_text(report)
    print(report)


if __name__ == "__main__":
    tyro.cli(main)
