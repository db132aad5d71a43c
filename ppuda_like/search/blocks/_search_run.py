"""The moving parts of SEDONA's search."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like._compute import available_device
from ppuda_like._runs import JsonLines, Log, check_same_run, read_state, write_state
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.blocks._relaxed import Relaxation
from ppuda_like.search.blocks._search_config import BlockSearchConfig
from ppuda_like.search.blocks._search_net import relaxed_net
from ppuda_like.search.blocks._search_outer import outer_gradient, step
from ppuda_like.search.blocks._search_step import Batch, NetState, validated
from ppuda_like.search.blocks._weight_memory import Snapshot, WeightMemory
from ppuda_like.vision import ImageSource, ImageStream, subset

__all__ = ["SearchRun", "logit_optimizer"]

STATE_FORMAT = 1


class SearchRun:
    """The moving parts of a search, and its loop."""

    def __init__(self, net: nn.Module, config: BlockSearchConfig, train: ImageSource, val: ImageSource | None) -> None:
        self.config = config
        self.device = available_device(config.device)
        if val is None:
            train, val = _parted(train, config)
        if tuple(val.class_names) != tuple(train.class_names) or val.image_size != train.image_size:
            raise DataError("the images to validate on must have the classes and the size of those to train on")
        self.stream = ImageStream(train, batch_size=config.batch_size, augment=config.augment, seed=config.seed)
        self.val = ImageStream(val, batch_size=min(config.val_batch_size, len(val)), seed=config.seed)
        relaxed, self.units = relaxed_net(net, config, train.image_size, len(train.class_names))
        self.net = relaxed.to(self.device)
        self.state = NetState.of(self.net)
        self.dtype = next(self.net.parameters()).dtype
        boundaries, candidates = relaxed.num_boundaries, len(config.candidates)
        self.alpha = torch.zeros(boundaries, dtype=self.dtype, device=self.device, requires_grad=True)
        self.beta = torch.zeros(boundaries, candidates, dtype=self.dtype, device=self.device, requires_grad=True)
        self.optimizer = logit_optimizer(self.alpha, self.beta, config)
        self.memory = WeightMemory(
            config.capacity, evict=config.evict, folder=config.out / "memory", on_disk=config.memory_on_disk
        )
        self.total = config.pretrain_steps + config.iterations
        self.done = 0
        self.skipped = 0
        config.out.mkdir(parents=True, exist_ok=True)
        self.facts: dict[str, dict[str, Any]] = {
            "config": config.identity,
            "updates": config.update_identity,
            "network": {name: f"{t.dtype} {tuple(t.shape)}" for name, t in self.state.tensors().items()},
            "data": {
                name: {"images": len(one), "classes": list(one.class_names), "size": one.image_size}
                for name, one in (("train", train), ("val", val))
            },
        }
        self._load()

    def loop(self, stop: threading.Event, bar: tqdm[None], logs: Sequence[Log]) -> None:
        """Search until all is done or ``stop`` is set, with checkpoints."""
        config = self.config
        pretraining = config.pretrain_steps
        pretrain = JsonLines(config.out / "pretrain.jsonl", self.done)
        search = JsonLines(config.out / "search.jsonl", max(0, self.done - pretraining))
        while self.done < self.total and not stop.is_set():
            first = self.done < pretraining
            end = min(self.done + config.checkpoint_steps, pretraining if first else self.total)
            batches = self._batches(self.done, end)
            file = pretrain if first else search
            while self.done < end and not stop.is_set():
                metrics = self._pretrain(batches) if first else self._update(batches)
                self.done += 1
                bar.update()
                if metrics:
                    file(metrics, self.done if first else self.done - pretraining)
                    for log in logs:
                        log(metrics, self.done)
                if self.skipped > config.max_skipped:
                    raise PpudaLikeError(
                        f"{self.skipped} steps and updates of {self.done} had no finite loss or gradient (at most "
                        f"{config.max_skipped} may); lower 'lr', or look for images or weights that are not finite; "
                        "the last checkpoint is untouched"
                    )
            self._save()

    def _pretrain(self, batches: Iterator[Batch]) -> dict[str, float]:
        """A step of training at even odds; metrics if its result went into the memory."""
        config, number = self.config, self.done
        lr = config.learning_rate(number)
        even = Relaxation(cut=torch.full_like(self.alpha, 0.5, requires_grad=False))
        relaxation = self._drawn(even, "pretrain", number)
        seed = derived_seed(config.seed, "pretrain", number)
        after, loss = step(self.net, self.state, next(batches), relaxation, config, lr=lr, seed=seed)
        self.skipped += after is None
        self.state = after or self.state
        if number % config.snapshot_steps:
            return {}
        images, labels = self._validation(number // config.snapshot_steps)
        with torch.no_grad():
            found = validated(self.net, self.state, (images, labels), config.label_smoothing, config.bn_batch_stats)
        error = float((found.logits.argmax(1) != labels).double().mean())
        self.memory.add(Snapshot(step=number, error=error, tensors=self.state.tensors()))
        return {"loss": loss, "val_loss": float(found.head), "val_error": error, "lr": lr, "skipped": self.skipped}

    def _update(self, batches: Iterator[Batch]) -> dict[str, float]:
        """An update of the logits; its metrics."""
        config, number = self.config, self.done - self.config.pretrain_steps
        drawn = self.memory.sample(torch.Generator().manual_seed(derived_seed(config.seed, "memory", number)))
        state = NetState.from_tensors(drawn.tensors, self.device)
        at = drawn.step + 1
        lr = config.learning_rate(at)
        outer = outer_gradient(
            self.net,
            state,
            [next(batches) for _ in range(config.unroll)],
            self._validation(number),
            (self.alpha, self.beta),
            self._relax(number),
            config,
            lr=lr,
            seeds=[derived_seed(config.seed, "unroll", number, i) for i in range(config.unroll)],
        )
        finite = all(bool(values.isfinite().all()) for values in (outer.objective, *outer.gradients))
        error = drawn.error
        if finite:
            error = error if outer.error is None else float(outer.error)
            self.alpha.grad, self.beta.grad = outer.gradients
            self.optimizer.step()
            self.optimizer.zero_grad()
        with torch.no_grad():
            relaxation = self._relax(number)(config.unroll)
        seed = derived_seed(config.seed, "unroll", number, config.unroll)
        after, loss = step(self.net, state, next(batches), relaxation, config, lr=lr, seed=seed)
        self.skipped += (not finite) + (after is None)
        kept = drawn.step if after is None else at
        self.memory.add(Snapshot(step=kept, error=error, tensors=(after or state).tensors()))
        of_alpha, of_beta = outer.gradients
        found: dict[str, float] = {"objective": float(outer.objective), "val_error": error, "loss": loss, "lr": lr}
        found |= {"weights_step": at, "skipped": self.skipped}
        found |= {f"alpha_{i}": value for i, value in enumerate(self.alpha.tolist())}
        found |= {f"alpha_grad_{i}": value for i, value in enumerate(of_alpha.abs().tolist())}
        return found | {f"beta_grad_{i}": value for i, value in enumerate(of_beta.norm(dim=1).tolist())}

    def _relax(self, number: int) -> Callable[[int], Relaxation]:
        """The relaxation, by the present logits, in each step of an update."""

        def relax(i: int) -> Relaxation:
            found = Relaxation(
                cut=torch.sigmoid(self.alpha),
                mix=torch.softmax(self.beta, dim=1),
                reference=self.config.gradient == "reference",
            )
            return self._drawn(found, "unroll", number, i)

        return relax

    def _drawn(self, relaxation: Relaxation, *use: int | str) -> Relaxation:
        """The same with the boundaries and candidates drawn that are to be evaluated, if not all are."""
        config = self.config
        total, candidates = len(self.alpha), len(config.candidates)
        boundaries, count = config.boundaries or total, config.num_candidates or candidates
        if boundaries == total and count == candidates:
            return relaxation
        generator = torch.Generator().manual_seed(derived_seed(config.seed, "drawn", *use))
        chosen = torch.randperm(total, generator=generator)[:boundaries].sort().values.tolist()
        drawn = {
            i: tuple(torch.randperm(candidates, generator=generator)[:count].sort().values.tolist()) for i in chosen
        }
        return replace(relaxation, drawn=drawn, share=boundaries / total)

    def _batches(self, start: int, end: int) -> Iterator[Batch]:
        """The training batches of that range of steps or updates, of which each has its own."""
        pretraining, each = self.config.pretrain_steps, self.config.unroll + 1
        numbers = [done if done < pretraining else pretraining + (done - pretraining) * each for done in (start, end)]
        for batch in self.stream.batches(range(*numbers), self.config.workers):
            yield self._placed(batch)

    def _validation(self, number: int) -> Batch:
        return self._placed(self.val[number])

    def _placed(self, batch: Batch) -> Batch:
        images, labels = batch
        return images.to(self.device, self.dtype), labels.to(self.device)

    def _save(self) -> None:
        parts = {
            "facts": json.dumps(self.facts),
            "done": self.done,
            "skipped": self.skipped,
            "net": self.state.tensors() if self.done < self.config.pretrain_steps else {},
            "alpha": self.alpha.detach(),
            "beta": self.beta.detach(),
            "optimizer": self.optimizer.state_dict(),
            "memory": self.memory.commit(),
        }
        write_state(self.config.out, STATE_FORMAT, parts)
        self.memory.prune()

    def _load(self) -> None:
        folder = self.config.out
        state = read_state(folder, STATE_FORMAT, self.device)
        if state is None:
            self.memory.prune()  # of what a search left that ended before its first checkpoint
            return
        before: Mapping[str, Mapping[str, Any]] = json.loads(state["facts"])
        self.done, self.skipped = state["done"], state["skipped"]
        for topic, now in self.facts.items():
            if topic != "updates" or self.done > self.config.pretrain_steps:
                check_same_run(folder, topic, before[topic], now)
        if state["net"]:
            self.state = NetState.from_tensors(state["net"], self.device)
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
            self.beta.copy_(state["beta"])
        if self.done > self.config.pretrain_steps:
            self.optimizer.load_state_dict(state["optimizer"])
        self.memory.load_state_dict(state["memory"])


def logit_optimizer(alpha: Tensor, beta: Tensor, config: BlockSearchConfig) -> torch.optim.Adam:
    """What updates the logits.

    The published code has two logits per boundary, and they move against each other: their difference, which is all
    that counts, has twice the rate and half the decay.

    Args:
        alpha: shape (B - 1,).
        beta: shape (B - 1, candidates).
        config: of the search.
    """
    pair = 2 if config.gradient == "reference" else 1
    rate, decay = config.outer_lr, config.outer_weight_decay
    groups = [
        {"params": [alpha], "lr": pair * rate, "weight_decay": decay / pair},
        {"params": [beta], "lr": rate, "weight_decay": decay},
    ]
    return torch.optim.Adam(groups, betas=config.outer_betas)


def _parted(images: ImageSource, config: BlockSearchConfig) -> tuple[ImageSource, ImageSource]:
    """Those to train on and those to validate on."""
    held_out = math.floor(config.val_share * len(images))
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "validation"))
    order = torch.randperm(len(images), generator=generator)
    if not 0 < held_out < len(images):
        raise DataError(f"a share of {config.val_share} of {len(images)} images leaves none for one of the two parts")
    return subset(images, order[held_out:]), subset(images, order[:held_out])
