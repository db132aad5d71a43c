"""What the networks of a store are like, in numbers and in one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ppuda_like._files import replacing
from ppuda_like.deepnets._columns import NODES
from ppuda_like.deepnets._sampler import Rejection
from ppuda_like.deepnets._store import SplitFacts, open_store, read_column, split_facts, split_group
from ppuda_like.graph import PPUDA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["REFERENCE", "SplitStats", "plot_stats", "statistics"]

REFERENCE: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "test": {"num_nodes": (179.1, 161.5), "num_params_cifar10": (961_637, 425_090)},
}
"""Mean and median in 500 networks that the reference generator drew for split ``test``; its graphs lack many nodes of
``cse`` and ``msa``."""

_NETS = 10_000  # networks whose nodes are in memory at the same time

_SUMMARISED = (
    "num_nodes",
    "num_edges",
    "depth",
    "n_cells",
    "num_params_cifar10",
    "num_params_imagenet",
    "flops_cifar10",
    "flops_imagenet",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitStats:
    """Statistics of one split.

    Attributes:
        facts: what the split says of itself.
        num_nets: number of networks.
        table: the columns of numbers that the statistics are of.
        op_counts: number of nodes of each primitive, the most frequent first.
        op_nets: number of networks with at least one such node.
        rejected: candidates that were passed over, by reason.
        duplicates: networks in the split whose graph equals that of an earlier one.
        bytes_per_net: size of the columns on disk.
    """

    facts: SplitFacts
    num_nets: int
    table: dict[str, np.ndarray]
    op_counts: dict[str, int]
    op_nets: dict[str, int]
    rejected: dict[Rejection, int]
    duplicates: int
    bytes_per_net: float

    def summary(self) -> str:
        """The statistics as text."""
        facts = self.facts
        origin = f"seed {facts.seed}" if facts.generator else facts.source
        lines = [
            f"{facts.split}: {self.num_nets:,} networks ({origin}), {self.bytes_per_net:,.0f} bytes each on disk",
            "",
        ]
        lines.append(f"{'':22}{'mean':>14}{'median':>14}{'least':>14}{'most':>16}")
        for name in _SUMMARISED:
            values = self.table[name]
            lines.append(
                f"{name:22}{values.mean():>14,.1f}{np.median(values):>14,.1f}{values.min():>14,}{values.max():>16,}"
            )
            if name in REFERENCE.get(facts.split, {}):
                mean, median = REFERENCE[facts.split][name]
                lines.append(f"{'  reference generator':22}{mean:>14,.1f}{median:>14,.1f}")
        total = sum(self.op_counts.values())
        lines += ["", f"{'primitive':22}{'nodes':>14}{'share':>14}{'networks with':>16}"]
        for op, nodes in self.op_counts.items():
            lines.append(f"{op:22}{nodes:>14,}{nodes / total:>14.1%}{self.op_nets[op] / self.num_nets:>16.1%}")
        candidates = self.num_nets + facts.duplicates + sum(self.rejected.values())
        lines += ["", f"{candidates:,} candidates were drawn, of which rejected:"]
        lines += [
            f"  {count:>10,}  {count / candidates:6.2%}  {reason.value}" for reason, count in self.rejected.items()
        ]
        lines += [
            "",
            f"{self.duplicates:,} networks have the graph of an earlier one ({self.duplicates / self.num_nets:.2%})",
        ]
        if facts.deduplicated:
            lines.append(f"{facts.duplicates:,} more were passed over")
        return "\n".join(lines)


def statistics(path: str | os.PathLike[str], split: str | None = None) -> dict[str, SplitStats]:
    """Statistics of the splits of a store.

    Args:
        path: the store.
        split: which split; None for all.

    Raises:
        DataError: if the file is missing, no store or damaged, or does not hold the split.
    """
    with open_store(path) as file:
        found = {}
        for name in sorted(file) if split is None else [split]:
            group = split_group(file, name)
            node_ptr = read_column(group["node_ptr"])
            table = {key: read_column(group[f"table/{key}"]) for key in group["table"]}
            table |= {"num_nodes": np.diff(node_ptr), "num_edges": np.diff(read_column(group["edge_ptr"]))}
            counts, nets = _count_primitives(group, node_ptr)
            order = np.argsort(-counts, kind="stable")
            sizes = [group[key].id.get_storage_size() for key in group if key != "table"]
            sizes += [group[f"table/{key}"].id.get_storage_size() for key in group["table"]]
            found[name] = SplitStats(
                facts=split_facts(group),
                num_nets=len(table["index"]),
                table=table,
                op_counts={PPUDA.primitives[k]: int(counts[k]) for k in order},
                op_nets={PPUDA.primitives[k]: int(nets[k]) for k in order},
                rejected={reason: int(table[f"rejected_{reason.name.lower()}"].sum()) for reason in Rejection},
                duplicates=len(table["index"]) - len(np.unique(table["structure_hash"])),
                bytes_per_net=sum(sizes) / len(table["index"]),
            )
        return found


def _count_primitives(group: h5py.Group, node_ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many nodes each primitive has, and how many networks have such a node."""
    counts, nets = np.zeros(len(PPUDA), dtype=np.int64), np.zeros(len(PPUDA), dtype=np.int64)
    for start in range(0, len(node_ptr) - 1, _NETS):
        bounds = node_ptr[start : start + _NETS + 1]
        primitives = read_column(group[NODES.name], slice(int(bounds[0]), int(bounds[-1])))[0].astype(np.int64)
        net = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        held = np.bincount(net * len(PPUDA) + primitives, minlength=(len(bounds) - 1) * len(PPUDA))
        held = held.reshape(-1, len(PPUDA))
        counts += held.sum(0)
        nets += (held > 0).sum(0)
    return counts, nets


def plot_stats(stats: SplitStats, path: str | os.PathLike[str]) -> None:
    """Draw histograms of nodes, depth, parameters and costs, and bars of primitives and rejections, as one picture.

    Args:
        stats: of one split.
        path: a file that matplotlib can write: ``.png``, ``.svg`` or ``.pdf``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.2), layout="constrained")
    axes = figure.subplots(2, 3)
    table = stats.table
    _histogram(axes[0, 0], table["num_nodes"], "nodes", "networks")
    _histogram(axes[0, 1], table["depth"], "depth: edges on the longest path", "networks")
    _histogram(axes[0, 2], table["num_params_cifar10"], "parameters, 32x32 images", "networks", log=True)
    _histogram(axes[1, 0], table["flops_cifar10"], "floating-point operations, one 32x32 image", "networks", log=True)
    ops = list(stats.op_counts)[::-1]
    total = sum(stats.op_counts.values())
    _bars(axes[1, 1], ops, [stats.op_counts[op] / total for op in ops], "share of all nodes")
    reasons = sorted(stats.rejected, key=stats.rejected.__getitem__)
    drawn = stats.num_nets + stats.facts.duplicates + sum(stats.rejected.values())
    labels = [reason.name.lower().replace("_", " ") for reason in reasons]
    _bars(axes[1, 2], labels, [stats.rejected[reason] / drawn for reason in reasons], "share of candidates rejected")
    figure.suptitle(f"{stats.num_nets:,} networks of split '{stats.facts.split}'")
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=110)


_COLOUR = "#3b6ea5"


def _histogram(axis: Axes, values: np.ndarray, label: str, unit: str, *, log: bool = False) -> None:
    low, high = float(values.min()), float(values.max())
    bins = np.geomspace(max(low, 1), max(high, 2), 50) if log else np.linspace(low, max(high, low + 1), 50)
    axis.hist(values, bins=bins.tolist(), color=_COLOUR)
    if log:
        axis.set_xscale("log")
    median = float(np.median(values))
    axis.axvline(median, color="#c0392b", linewidth=1.2)
    axis.text(median, axis.get_ylim()[1] * 0.97, f" median {median:,.0f}", color="#c0392b", va="top", fontsize=9)
    axis.set_xlabel(label)
    axis.set_ylabel(unit)
    axis.spines[["top", "right"]].set_visible(False)


def _bars(axis: Axes, labels: list[str], shares: list[float], label: str) -> None:
    axis.barh(labels, shares, color=_COLOUR)
    for place, share in enumerate(shares):
        axis.text(share, place, f" {share:.1%}", va="center", fontsize=8)
    axis.set_xlim(0, max([*shares, 0.01]) * 1.18)
    axis.set_xlabel(label)
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.tick_params(axis="y", labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
