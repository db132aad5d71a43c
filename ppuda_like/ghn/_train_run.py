"""The loop of a training run."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like._compute import one_thread
from ppuda_like._ranks import Ranks
from ppuda_like._runs import Log, Means
from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn._evaluation import eval_ghn
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._images import StepImages, run_images, step_images
from ppuda_like.ghn._net_run import NetResult, NetRun, is_out_of_memory
from ppuda_like.ghn._net_stream import MetaBatch, NetStream, meta_batches
from ppuda_like.ghn._train_config import TrainConfig, learning_rate
from ppuda_like.ghn._train_state import Progress, WeightAverage, save_state, write_checkpoint
from ppuda_like.vision import ImageSource

__all__ = ["TrainRun"]


class TrainRun:
    """The moving parts of one run, and its loop.

    Of several processes, each runs its share of the networks; their gradients are summed before each update, so that
    the weights stay the same in all of them.  The first one writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        ghn: GHN,
        average: WeightAverage,
        optimizer: torch.optim.Optimizer,
        state: Progress,
        data: ImageSource,
        *,
        pool: ThreadPoolExecutor | None,
        ranks: Ranks,
        logs: Sequence[Log],
    ) -> None:
        self.config = config
        self.ghn = ghn
        self.average = average
        self.optimizer = optimizer
        self.state = state
        self.data = data
        self.pool = pool
        self.ranks = ranks
        self.logs = logs

    def loop(self, stop: threading.Event, disable: bool | None) -> None:
        config, state = self.config, self.state
        stream = NetStream(
            config.nets,
            config.ghn,
            image_size=config.image_size,
            num_classes=len(self.data.class_names),
            seed=config.seed,
            ranks=self.ranks,
        )
        means = Means()
        started = time.perf_counter() - state.seconds
        saved = last = time.perf_counter()
        steps = range(state.step, config.steps)
        with tqdm(
            desc="train",
            total=config.steps,
            initial=state.step,
            unit="step",
            disable=disable if self.ranks.first else True,
            smoothing=0.1,
        ) as bar:
            images = step_images(config, self.data, steps)
            for batch, seen in zip(meta_batches(stream, steps, config.workers), images, strict=True):
                waited = time.perf_counter() - last
                metrics = self.step(batch, seen)
                state.step += 1
                state.seconds = time.perf_counter() - started
                now = time.perf_counter()
                means.add({**metrics, "seconds_waiting": waited, "seconds_step": now - last})
                last = now
                bar.update()
                if state.step % config.log_steps == 0 or state.step == config.steps:
                    found = means.take()
                    found |= {"nets_per_second": round(found["nets"] / found["seconds_step"], 3)}
                    found |= {"skipped_steps": state.skipped_steps, "skipped_nets": state.skipped_nets}
                    self.emit(found | {"minutes": round(state.seconds / 60, 3)})
                    shown = {key: f"{found[key]:.3g}" for key in ("loss", "top1", "nets_per_second") if key in found}
                    bar.set_postfix(shown, refresh=False)
                if config.val_steps and (state.step % config.val_steps == 0 or state.step == config.steps):
                    self.emit(self.validate())
                    state.seconds = time.perf_counter() - started
                    last = time.perf_counter()
                due = config.max_minutes is not None and state.seconds >= 60 * config.max_minutes
                if self.ranks.any(stop.is_set() or due):
                    break
                if self.ranks.any(last - saved >= 60 * config.checkpoint_minutes):
                    self.save()
                    saved = last
        self.save()

    def step(self, batch: MetaBatch, images: StepImages) -> dict[str, float]:
        """One update from a meta-batch; its metrics."""
        config, state = self.config, self.state
        lr = learning_rate(config.optim, state.step, config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        results, times = self._gradients(batch, images)
        found = [result for result in results if result.tensors]
        here = [
            len(results),
            len(found),
            sum(result.loss for result in found),
            sum(result.top1 for result in found),
            sum(result.overflow for result in results),
            sum(result.out_of_memory for result in results),
        ]
        together = self.ranks.sum(torch.tensor(here, dtype=torch.float64, device=config.device)).tolist()
        nets, finite, loss, top1, overflows, out_of_memory = together
        state.skipped_nets += int(nets - finite)
        state.out_of_memory += int(out_of_memory)
        if config.amp == "fp16":
            state.loss_scale.update(overflow=overflows > 0)
        norm = math.nan
        if finite:
            self.ranks.sum_gradients(list(self.ghn.parameters()))
            norm = float(nn.utils.clip_grad_norm_(self.ghn.parameters(), config.optim.clip))
        times["nets"] = nets
        if not math.isfinite(norm):
            self.skip()
            return {"lr": lr, **times}
        self.optimizer.step()
        self.average.update(self.ghn)
        return {"loss": loss / finite, "top1": top1 / finite, "lr": lr, "grad_norm": norm, **times}

    def _gradients(self, batch: MetaBatch, images: StepImages) -> tuple[list[NetResult], dict[str, float]]:
        """What this process's networks give, and the time of each part; the hypernetwork's weights get the gradient."""
        failed = [NetResult(out_of_memory=True)] * len(batch.nets)
        start = middle = back = time.perf_counter()
        results: list[NetResult] = []
        try:
            predicted = self.ghn.predict(batch.graphs) if batch.graphs is not None else []
            middle = time.perf_counter()
            results = self._run_nets(batch, predicted, images)
            back = time.perf_counter()
            if any(result.tensors for result in results):
                torch.autograd.backward(
                    [tensor for result in results for tensor in result.tensors],
                    [gradient for result in results for gradient in result.gradients],
                )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.optimizer.zero_grad()  # part of them may be there
            results = failed
        end = time.perf_counter()
        return results, {
            "seconds_predict": middle - start,
            "seconds_nets": back - middle,
            "seconds_backward": end - back,
        }

    def _run_nets(
        self, batch: MetaBatch, predicted: Sequence[Mapping[str, Tensor]], images: StepImages
    ) -> list[NetResult]:
        run = NetRun(self.config, images, self.state.loss_scale.value if self.config.amp == "fp16" else 1.0)
        work = list(zip(batch.positions, batch.nets, predicted, strict=True))
        if self.pool is None:
            return [run(*each) for each in work]
        # The dearest first, so that no thread is left with one of them at the end.
        order = sorted(range(len(work)), key=lambda i: -(batch.nets[i].graph.macs or 0))
        with one_thread():
            futures = {i: self.pool.submit(run, *work[i]) for i in order}
            return [futures[i].result() for i in range(len(work))]

    def skip(self) -> None:
        """Count a step without a finite loss and gradient."""
        self.state.skipped_steps += 1
        if self.state.skipped_steps > self.config.optim.max_skipped:
            raise PpudaLikeError(
                f"{self.state.skipped_steps} steps of {self.state.step + 1} had no network with a finite loss and "
                f"gradient (at most {self.config.optim.max_skipped} may; {self.state.out_of_memory} networks ran out "
                "of memory); lower the learning rate or the clip, give the networks narrower limits, or use another "
                "seed"
            )

    def validate(self) -> dict[str, float]:
        """Mean accuracy on networks and images held out; the best hypernetwork so far is kept."""
        config, averaged = self.config, self.averaged()
        mine = range(self.ranks.rank, config.val_nets, self.ranks.world)
        top1: list[float] = []
        if mine:
            found = eval_ghn(
                averaged,
                "val",
                mine,
                run_images(config, "val"),
                width=config.val_width,
                batch_size=config.batch_size,
                device=config.device,
                progress=False,
            )
            top1 = [net.top1 for net in found.nets]
        everywhere = [value for part in self.ranks.gather(top1) for value in part]
        mean = statistics.fmean(everywhere)
        error = statistics.stdev(everywhere) / len(everywhere) ** 0.5 if len(everywhere) > 1 else 0.0
        if mean > self.state.best_top1:
            self.state.best_top1 = mean
            if self.ranks.first:
                write_checkpoint(averaged, config.out / "best.safetensors")
        return {"val_top1": round(mean, 6), "val_standard_error": round(error, 6)}

    def averaged(self) -> GHN:
        """The hypernetwork with the averaged weights."""
        with torch.device("meta"):
            ghn = GHN(self.config.ghn)
        ghn.load_state_dict(self.average.weights, assign=True)
        return ghn.eval()

    def emit(self, metrics: Mapping[str, float]) -> None:
        for log in self.logs:
            log(metrics, self.state.step)

    def save(self) -> None:
        if self.ranks.first:
            save_state(self.config, self.ghn, self.average, self.optimizer, self.state)
            write_checkpoint(self.averaged(), self.config.out / "ghn.safetensors")
        self.ranks.wait()
