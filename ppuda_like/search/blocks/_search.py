"""SEDONA's search for blocks."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

from torch import nn
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._runs import Log, stop_on_signals
from ppuda_like.search.blocks._search_config import BlockSearchConfig
from ppuda_like.search.blocks._search_result import BlockSearchResult
from ppuda_like.search.blocks._search_run import SearchRun
from ppuda_like.vision import ImageSource

__all__ = ["search_blocks"]


def search_blocks(
    net: nn.Module,
    config: BlockSearchConfig,
    train: ImageSource,
    val: ImageSource | None = None,
    *,
    log: Log | None = None,
    progress: bool | None = None,
) -> BlockSearchResult:
    """Search where to cut a network into blocks, and which auxiliary network each gets (SEDONA, ICLR 2021).

    The network is cut between all its units to the degree that a logit for each boundary says, with a mixture of all
    candidates there.  First it is trained so, with all logits 0, and its state is kept now and then in a memory.  Then
    each update draws a state, takes the gradient of the logits through ``unroll`` further steps of training, and puts
    the state back one ordinary step further.

    A step or update whose loss or gradient is not finite leaves no trace in weights and logits: it is skipped and
    counted, and more than ``max_skipped`` stop the search.

    The folder of the search holds ``config.json``, ``pretrain.jsonl`` and ``search.jsonl`` (a line per snapshot and
    update, the latter with the norm of the gradient at each boundary), ``state.pt``, ``memory/`` and, at the end of a
    call, ``result.npz``.  If it holds the state of the same search, that is continued, bit for bit on a CPU.  SIGTERM
    and Ctrl-C make a checkpoint and return.

    Args:
        net: takes (n, 3, H, W), returns logits (n, classes); it is copied, and starts with the weights it has.
        config: all that the search depends on besides the network and the images.
        train: images to train on.
        val: images to validate on; None for a share of those to train on, which is left out of the training.
        log: where the metrics go besides the files, with the number of steps and updates so far.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        The logits, finished or interrupted.

    Raises:
        CheckpointError: if the folder holds a broken state or that of another search, or a checkpoint cannot be
            written.
        DataError: if the images do not go with the network or with each other.
        GraphError: if the network cannot be traced or cut.
        PpudaLikeError: if a candidate does not fit a boundary, the device is missing, or too much was skipped.

    Example:
        >>> import tempfile
        >>> from ppuda_like.vision import digits
        >>> first, second = nn.Conv2d(3, 8, 3, 4), nn.Conv2d(8, 8, 3, 2)
        >>> layers = [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = BlockSearchConfig(
        ...         out=folder, pretrain_steps=2, iterations=2, unroll=2, candidates=("linear", "mlp"), batch_size=32
        ...     )
        ...     found = search_blocks(nn.Sequential(*layers), config, digits("train"), digits("val"))
        >>> found.finished, found.alpha.shape, found.decode(2).num_blocks
        (True, (1,), 2)
    """
    start = time.perf_counter()
    run = SearchRun(net, config, train, val)
    with ExitStack() as stack:
        with replacing(config.out / "config.json") as path:
            path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        stop = stack.enter_context(stop_on_signals())
        disable = None if progress is None else not progress
        bar = stack.enter_context(tqdm(desc="search", total=run.total, initial=run.done, disable=disable))
        run.loop(stop, bar, [log] if log else [])
    result = BlockSearchResult(
        alpha=run.alpha.detach().double().cpu().numpy(),
        beta=run.beta.detach().double().cpu().numpy(),
        candidates=config.candidates,
        units=tuple([unit.name for unit in run.units]),
        iterations=max(0, run.done - config.pretrain_steps),
        finished=run.done >= run.total,
        skipped=run.skipped,
        seconds=time.perf_counter() - start,
    )
    result.save(config.out / "result.npz")
    return result
