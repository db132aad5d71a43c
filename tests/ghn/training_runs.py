"""Short training runs of a tiny hypernetwork on tiny networks."""

import json
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ppuda_like.deepnets import Genotype, NetworkConfig
from ppuda_like.ghn import GHN, GHNConfig, NetsConfig, OptimConfig, TrainConfig


def small_network(split: str, index: int, seed: int) -> NetworkConfig:
    """A network of two cells, a tenth of the size of most that splits give."""
    ops = ("conv_3x3", "sep_conv_3x3", "dil_conv_3x3", "msa")
    cell = ((ops[index % 4], 0), (ops[(index + seed) % 3], 1))
    genotype = Genotype(normal=cell, normal_concat=(2,), reduce=cell, reduce_concat=(2,))
    return NetworkConfig(genotype=genotype, n_cells=2, stem_type=index % 2)


def tiny(out: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        out=out,
        ghn=GHNConfig.ghn2(kernel=11, hid=8),
        nets=NetsConfig(meta_batch=2, widths=(8,), fc_dims=(16,), pool=2),
        optim=OptimConfig(schedule="cosine", ema=0.9, net_norm=1.0),
        batch_size=8,
        fast_size=16,
        steps=4,
        log_steps=1,
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, Tensor]:
    return GHN.from_pretrained(path).state_dict()


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
