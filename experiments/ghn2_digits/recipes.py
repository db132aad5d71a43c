"""Training runs behind the bundled hypernetwork."""

from __future__ import annotations

from pathlib import Path

from ppuda_like.ghn import GHNConfig, NetsConfig, OptimConfig, TrainConfig


def ghn2_digits(out: Path = Path("data/ghn2_digits")) -> TrainConfig:
    """GHN-2 on handwritten digits, within about an hour on two CPU cores."""
    return TrainConfig(
        out=out,
        ghn=GHNConfig(max_shape=(64, 64, 11, 11), num_classes=10, hid=32),
        nets=NetsConfig(
            meta_batch=4,
            widths=(8, 8, 16, 16, 24, 32),
            fc_dims=(32, 64, 128),
            max_params=2_000_000,
            max_macs=30_000_000,
            max_nodes=350,
        ),
        optim=OptimConfig(
            optimizer="adamw", lr=1e-3, weight_decay=1e-5, schedule="cosine", final_lr=0.01, warmup=100, ema=0.998
        ),
        data="digits",
        batch_size=32,
        steps=4_000,
        net_threads=2,
        workers=1,
        val_steps=500,
        val_nets=16,
    )
