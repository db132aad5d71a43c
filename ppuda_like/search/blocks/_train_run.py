"""The loop of a training by blocks: epochs, validation, checkpoints."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like._compute import available_device
from ppuda_like._ranks import ALONE, ranks
from ppuda_like._runs import Log, Means, check_same_run, read_state, write_state
from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.search.blocks._async import Async
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._dni import Dni
from ppuda_like.search.blocks._driver import Driver, Job, Net
from ppuda_like.search.blocks._evaluate_blocks import BlockEvaluation, evaluate_blocks
from ppuda_like.search.blocks._in_step import Backprop, Sequential, Sync
from ppuda_like.search.blocks._parallel import Parallel
from ppuda_like.search.blocks._ranks import OnRanks, shared
from ppuda_like.search.blocks._staged_stream import stream_of
from ppuda_like.search.blocks._synthesiser import Synthesiser
from ppuda_like.search.blocks._train_config import BlockTrainConfig, Method
from ppuda_like.vision import ImageSource, evaluate
from ppuda_like.vision._train_schedule import learning_rate

__all__ = ["STATE_FORMAT", "Run"]

STATE_FORMAT = 2

_DRIVERS: dict[Method, type[Driver]] = {
    "sync": Sync,
    "sequential": Sequential,
    "parallel": Parallel,
    "ranks": OnRanks,
    "async": Async,
    "dni": Dni,
    "backprop": Backprop,
}


class Run:
    """The moving parts of a run, and its loop.

    Attributes:
        driver: the way to train.
        step: steps done; of a method that trains one block after another, those of all blocks.
        total: steps to be done.
        epoch: epochs done.
        found: what the last validation found.
        group: the processes of the run, of which the first writes its files.
    """

    def __init__(
        self,
        model: BlockwiseModel,
        auxiliaries: Sequence[Net],
        config: BlockTrainConfig,
        train: ImageSource,
        val: ImageSource | None,
    ) -> None:
        training = config.training
        self.model, self.auxiliaries, self.config, self.val = model, list(auxiliaries), config, val
        self._check(train)
        self.group = ranks() if config.method == "ranks" else ALONE
        self.device = available_device(training.device)
        for one in (model, *auxiliaries):
            one.to(self.device)
        self.stream = stream_of(config, train)
        classes = len(train.class_names)
        job = Job(model=model, nets=self.auxiliaries, config=config, stream=self.stream, num_classes=classes)
        self.driver = _DRIVERS[config.method](job)
        self.per_block = training.epochs * self.stream.per_epoch
        self.total = self.per_block * self.driver.in_turn
        self.step = 0
        self.epoch = 0
        self.means = Means()
        self.found: BlockEvaluation | None = None
        training.out.mkdir(parents=True, exist_ok=True)
        self.facts = {
            "config": config.identity,
            "model": {
                f"{k}.{name}": f"{tensor.dtype} {tuple(tensor.shape)}"
                for k, learner in enumerate(self.driver.learners)
                for name, tensor in learner.modules.state_dict().items()
            },
            "data": {"images": len(train), "classes": list(train.class_names), "size": train.image_size},
        }
        self._load()

    def loop(self, stop: threading.Event, bar: tqdm[None], logs: Sequence[Log]) -> None:
        """Train until all is done or ``stop`` is set; then write a checkpoint."""
        per_epoch = self.stream.per_epoch
        if self.step < self.total:
            with self.driver.running():
                while self.step < self.total and not self.group.any(stop.is_set()):
                    done = self.step
                    end = min(done + self.config.checkpoint_steps, (done // per_epoch + 1) * per_epoch)
                    for steps, metrics in self.driver.run(range(done, end)):
                        for one in metrics:
                            self.means.add(one)
                        self.step += steps
                        bar.update(steps)
                        if stop.is_set():
                            break
                    if self.step // per_epoch > self.epoch:
                        self._finish_epoch(logs)
                    if self.step == end:
                        self._save()
        self._save()

    def _check(self, train: ImageSource) -> None:
        if ranks().world > 1 and self.config.method != "ranks":
            raise PpudaLikeError(
                f"in a process group only the method 'ranks' trains blocks (got {self.config.method!r}); take it, or "
                "start a single process"
            )
        model, val, given = self.model, self.val, len(self.auxiliaries)
        method = self.config.method
        local = method not in ("backprop", "dni")
        kind, what, maker = (
            (Synthesiser, "synthesisers", "synthesisers_for")
            if method == "dni"
            else (AuxiliaryNet, "auxiliary networks", "auxiliaries_for")
        )
        if given != model.num_blocks - 1 and not (method == "backprop" and not given):
            raise DataError(f"{model.num_blocks} blocks need {model.num_blocks - 1} {what} (got {given}); see {maker}")
        wrong = [type(net).__name__ for net in self.auxiliaries if not isinstance(net, kind)]
        if wrong and method != "backprop":
            raise DataError(f"the method {method!r} takes {what} (got {', '.join(wrong)}); see {maker}")
        if max(self.config.per_block, default=0) >= model.num_blocks:
            raise DataError(
                f"'per_block' of the config must name some of the blocks 0 to {model.num_blocks - 1} "
                f"(got {max(self.config.per_block)})"
            )
        wide = [len(frontier) for frontier in model.partition.frontiers]
        if local and max(wide, default=1) > 1 and model.partition.reads != "newest":
            raise DataError(
                f"auxiliary networks read the newest value that leaves a block, but {max(wide)} leave one here; the "
                "partition was not checked for that: cut with reads='newest', or where a single value crosses"
            )
        if val is not None and tuple(val.class_names) != tuple(train.class_names):
            raise DataError("the images to validate on must have the classes of those to train on, in their order")

    def _finish_epoch(self, logs: Sequence[Log]) -> None:
        per_epoch = self.stream.per_epoch
        self.epoch += 1
        found: dict[str, float] = {"epoch": self.epoch, **self.means.take()}
        step = (self.step - 1) % self.per_block
        found |= {"lr": learning_rate(self.config.training, step, per_epoch)}
        for i in self.config.per_block:
            found[f"lr_{i}"] = learning_rate(self.config.of_block(i), step, per_epoch)
        found |= {f"skipped_{i}": learner.skipped for i, learner in enumerate(self.driver.learners)}
        for i, learner in enumerate(self.driver.learners):
            if learner.scaler is not None:
                found |= {f"overflows_{i}": learner.overflows, f"scale_{i}": learner.scaler.scale}
        for i, replay in enumerate(self.driver.replay):
            found |= {f"mean_age_{i}": replay.mean_age, f"reread_{i}": replay.reread / max(1, replay.read)}
        if self.val is not None:
            self.found = shared(self.group, self._validated(self.val) if self.group.first else None)
            assert self.found is not None
            for i, value in enumerate(self.found.top1):
                found[f"val_top1_{i}"] = value
            found |= {"val_top1": self.found.top1[-1], "val_loss": self.found.loss[-1]}
            found |= {f"val_last_{n}": value for n, value in enumerate(self.found.last, 1)}
            found |= {f"val_weighted_{n}": value for n, value in enumerate(self.found.weighted)}
        for log in logs if self.group.first else ():
            log(found, self.step)

    def _validated(self, val: ImageSource) -> BlockEvaluation:
        size = self.config.training.val_batch_size
        if not self.driver.whole:
            return evaluate_blocks(self.model, self.auxiliaries, val, batch_size=size)
        whole = _Cast(self.model).eval()
        found = evaluate(whole, val, batch_size=size, device=self.device, progress=False)
        one = (found.top1,)
        return BlockEvaluation(top1=one, loss=(found.loss,), last=one, weighted=one, num_images=found.num_images)

    def _save(self) -> None:
        if not self.group.first:
            return
        parts = {
            "facts": json.dumps(self.facts),
            "learners": [learner.state_dict() for learner in self.driver.learners],
            "driver": self.driver.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "means": self.means.state_dict(),
        }
        write_state(self.config.training.out, STATE_FORMAT, parts)

    def _read(self) -> dict[str, Any] | CheckpointError | None:
        """The state of the run, if there is one; its error as a value, for all processes to raise."""
        try:
            # Tensors that go to other processes come from the CPU; states are loaded to where they belong from there.
            return read_state(self.config.training.out, STATE_FORMAT, "cpu" if self.group.world > 1 else self.device)
        except CheckpointError as error:
            return error

    def _load(self) -> None:
        folder: Path = self.config.training.out
        state = shared(self.group, self._read() if self.group.first else None)
        if isinstance(state, CheckpointError):
            raise state
        if state is None:
            return
        before: Mapping[str, Mapping[str, Any]] = json.loads(state["facts"])
        for topic, now in self.facts.items():
            check_same_run(folder, topic, before[topic], now)
        for learner, found in zip(self.driver.learners, state["learners"], strict=True):
            learner.load_state_dict(found)
        self.driver.load_state_dict(state["driver"])
        self.step, self.epoch = state["step"], state["epoch"]
        self.means.load_state_dict(state["means"])


class _Cast(nn.Module):
    """A network fed with images of its own precision."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images.to(next(self.model.parameters()).dtype))
