"""Training runs behind the bundled hypernetwork."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ppuda_like.ghn import GHNConfig, NetsConfig, OptimConfig, TrainConfig


def narrow(out: Path) -> TrainConfig:
    """GHN-2 on handwritten digits and narrow networks, about 35 minutes on two CPU cores."""
    return TrainConfig(
        out=out,
        ghn=GHNConfig.ghn2(),
        nets=NetsConfig(
            meta_batch=8,
            repeat=8,
            widths=(8, 8, 16, 16, 32),
            fc_dims=(64, 128),
            max_params=1_000_000,
            max_macs=12_000_000,
            max_nodes=220,
        ),
        optim=OptimConfig(
            optimizer="adamw",
            lr=1e-3,
            betas=(0.9, 0.98),
            schedule="cosine",
            final_lr=0.01,
            warmup=50,
            net_norm=1.0,
            ema=0.998,
        ),
        init="identity",
        same_images=False,
        fast_size=16,
        fast_share=0.85,
        batch_size=64,
        steps=2_000,
        net_threads=2,
        workers=1,
        val_steps=500,
        log_steps=20,
        val_nets=16,
        val_width=8,
    )


def wide(out: Path, start: Path) -> TrainConfig:
    """Goes on from the checkpoint of :func:`narrow`, on wider and larger networks, for about two hours."""
    first = narrow(out)
    return replace(
        first,
        start=start,
        seed=1,
        nets=replace(first.nets, widths=(16, 16, 32, 32, 64), max_params=2_500_000, max_macs=24_000_000),
        optim=replace(first.optim, lr=6e-4, warmup=100),
        steps=4_000,
        val_width=16,
    )
