"""Speed and size of datasets of networks: ``python benchmarks/datasets.py`` writes benchmarks/datasets.md.

Nothing else should run meanwhile. Scratch files, about a gigabyte, go to a temporary folder.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import tyro
from speed import environment, line, peak

from ppuda_like._files import replacing
from ppuda_like.deepnets import DeepNets, generate
from ppuda_like.deepnets._columns import Columns
from ppuda_like.deepnets._generate import start_worker
from ppuda_like.deepnets._store import write_split


def generation(folder: Path, num_nets: int) -> tuple[list[str], Path]:
    rates = {}
    for workers in (1, 2):
        path = folder / f"train{workers}.h5"
        with ProcessPoolExecutor(workers, initializer=start_worker) as executor:
            executor.submit(start_worker).result()  # processes start before the clock
            start = time.perf_counter()
            generate("train", num_nets, path, executor=executor)
            rates[workers] = num_nets / (time.perf_counter() - start)
    same = (folder / "train1.h5").read_bytes() == path.read_bytes()
    rows = [
        "",
        f"## Generation, {num_nets:,} networks of `train`, writing included",
        "",
        "| what | found | aim |",
        "|---|---|---|",
        line("networks per second, 1 process", f"{rates[1]:.0f}", ">= 100"),
        line("networks per second, 2 processes", f"{rates[2]:.0f}", ""),
        line("2 processes against 1", rates[2] / rates[1], ">= 1.7"),
        line("same bytes", "yes" if same else "NO", "yes"),
        line("bytes per network on disk", f"{path.stat().st_size / num_nets:.0f}", "<= 2,048"),
    ]
    return rows, path


def million(folder: Path, source: Path, copies: int) -> Path:
    """A large store: the networks of another one, again and again."""
    dataset = DeepNets(source, "train")
    columns = Columns.pack([dataset.record(i) for i in range(min(len(dataset), 1_000))])

    def parts() -> Iterator[Columns]:
        for _ in range(copies):
            yield columns

    path = folder / "million.h5"
    write_split(path, parts(), dataset.facts)
    return path


def reading(path: Path, reads: int = 2_000) -> list[str]:
    rows = []
    numbers = [random.Random(0).randrange(len(DeepNets(path, "train"))) for _ in range(reads)]
    for what, cutoff, aim in (("without virtual edges", None, "<= 0.2"), ("with virtual edges up to 50", 50, "<= 2")):
        dataset = DeepNets(path, "train", virtual_cutoff=cutoff, cache=0)
        dataset[0]
        times = []
        for number in numbers:
            start = time.perf_counter()
            dataset[number]
            times.append(1e3 * (time.perf_counter() - start))
        deciles = statistics.quantiles(times, n=10)
        rows.append(line(f"{what}, {len(dataset):,} networks", f"{deciles[4]:.3f}", f"{deciles[8]:.3f}", aim))
    return rows


def opening(path: Path) -> list[str]:
    done = subprocess.run([sys.executable, __file__, "--open", str(path)], capture_output=True, text=True, check=True)
    seconds, growth = map(float, done.stdout.split())
    size = path.stat().st_size / len(DeepNets(path, "train"))
    return [
        line("open and read the first network, seconds", seconds, "<= 1"),
        line("growth of the process's peak, MB", growth, "< 200"),
        line("bytes per network on disk", f"{size:.0f}", "<= 2,048"),
    ]


def measure_opening(path: Path) -> None:
    """Print seconds, and MB above what the imports and a small tensor take."""
    torch.zeros(1).numpy()
    before, start = peak(), time.perf_counter()
    DeepNets(path, "train")[0]
    print(time.perf_counter() - start, peak() - before)


def main(
    out: Path = Path("benchmarks/datasets.md"), num_nets: int = 5_000, copies: int = 1_000, open: Path | None = None
) -> None:
    """Measure everything and write the report.

    Args:
        out: where the report goes.
        num_nets: networks to generate.
        copies: of a thousand networks, that the large store is made of.
        open: measure the opening of this store only, and print it.
    """
    warnings.simplefilter("ignore")
    if open is not None:
        measure_opening(open)
        return
    torch.set_num_threads(1)
    head = ["# Datasets of networks", "", f"`python benchmarks/datasets.py`, {environment()}."]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, small = generation(folder, num_nets)
        large = million(folder, small, copies)
        reads = [
            "", "## One network at random", "", "| read | median ms | 90 % ms | aim (median) |", "|---|---|---|---|",
            *reading(small), *reading(large),
        ]  # fmt: skip
        opened = [
            "",
            "## A store of a million networks",
            "",
            "| what | found | aim |",
            "|---|---|---|",
            *opening(large),
        ]
    report = "\n".join([*head, *made, *reads, *opened]) + "\n"
    with replacing(out) as temporary:
        temporary.write_text(report)
    print(report)


if __name__ == "__main__":
    tyro.cli(main)
