"""Training runs of hypernetworks for CIFAR-10."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ppuda_like.ghn import GHNConfig, NetsConfig, OptimConfig, TrainConfig

PUBLISHED_EPOCH = 45_000 // 64


def published(ghn: GHNConfig, data: str, out: Path, device: str = "cuda") -> TrainConfig:
    """The published recipe (arXiv:2110.13100, section 5 and appendix B): 300 epochs, for a GPU and days."""
    return TrainConfig(
        out=out,
        ghn=ghn,
        data=data,
        nets=NetsConfig(meta_batch=8, widths=None, max_macs=10**10),
        optim=OptimConfig(optimizer="adam", lr=1e-3, weight_decay=1e-5, schedule="step", clip=5.0),
        batch_size=64,
        steps=300 * PUBLISHED_EPOCH,
        device=device,
        workers=8,
        amp="none",
        val_steps=PUBLISHED_EPOCH,
    )


def narrow(ghn: GHNConfig, data: str, out: Path) -> TrainConfig:
    """Narrow networks, and images of 16 pixels at first: what two CPU cores can do in two hours."""
    return TrainConfig(
        out=out,
        ghn=ghn,
        data=data,
        augment="crop",
        nets=NetsConfig(
            meta_batch=8,
            repeat=4,
            widths=(8, 16, 16, 16, 32),
            fc_dims=(64, 128),
            max_params=1_000_000,
            max_macs=16_000_000,
            max_nodes=220,
        ),
        optim=OptimConfig(
            optimizer="adamw",
            lr=1e-3,
            betas=(0.9, 0.98),
            schedule="cosine",
            final_lr=0.01,
            warmup=100,
            net_norm=1.0,
            ema=0.998,
        ),
        init="identity" if ghn.decoder == "conv" else "torch",
        same_images=False,
        fast_size=16,
        fast_share=0.75,
        batch_size=64,
        steps=3_000 if ghn.hypernet == "graphormer" else 4_500,  # what there was time for
        net_threads=2,
        workers=1,
        val_steps=750 if ghn.hypernet == "graphormer" else 1_500,
        log_steps=20,
        val_nets=8,
        val_width=8,
    )


def smoke(ghn: GHNConfig, out: Path) -> TrainConfig:
    """Three steps on digits: that everything runs, and nothing more."""
    first = narrow(ghn, "digits", out)
    nets = replace(first.nets, meta_batch=2, widths=(8,), max_macs=4_000_000, max_nodes=120)
    return replace(first, nets=nets, batch_size=8, steps=3, log_steps=1, val_steps=0, net_threads=0, workers=0)
