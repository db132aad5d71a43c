from pathlib import Path

import pytest
import torch

from ppuda_like.errors import GraphError, PpudaLikeError
from ppuda_like.search.blocks import ReplayConfig, train_blocks
from tests.search.blocks._training import Stopper, assert_equal, config, images, parts, weights


@pytest.mark.parametrize(
    "replay",
    [
        ReplayConfig(size=1, order="round-robin", warmup=1),
        # Each batch is read once, in order: only the waiting depends on who is faster.
        ReplayConfig(size=100, policy="fifo", max_reuse=2, rates=(1, 3, 2)),
        ReplayConfig(size=100, policy="fifo", max_reuse=2, slow_block=1, slow_noise=0.7),
    ],
)
def test_what_equals_sync(tmp_path: Path, replay: ReplayConfig) -> None:
    model, nets = parts(0.3)
    wanted = train_blocks(model, nets, config(tmp_path / "a"), images(), images(seed=1))
    other, others = parts(0.3)
    found = train_blocks(other, others, config(tmp_path / "b", "async", replay=replay), images(), images(seed=1))
    assert_equal(weights(other, *others), weights(model, *nets))
    assert (found.val, found.steps, found.finished) == (wanted.val, 8, True)
    assert [(one.read, one.reread, one.lost) for one in found.replay] == [(8, 0, 0)] * 2


@pytest.mark.parametrize("policy", ["least-used-newest", "uniform"])
def test_resumed_bit_for_bit(tmp_path: Path, policy: str) -> None:
    replay = ReplayConfig(size=3, policy=policy, rates=(1, 2, 1))  # type: ignore[arg-type]
    options = {"augment": "crop", "checkpoint_steps": 3, "replay": replay}
    model, nets = parts(0.3)
    wanted = train_blocks(model, nets, config(tmp_path / "a", "async", **options), images())
    other, others = parts(0.3)
    stopped = train_blocks(other, others, config(tmp_path / "b", "async", **options), images(), log=Stopper())
    assert (stopped.steps, stopped.finished) == (4, False)
    new, news = parts(0.3)
    found = train_blocks(new, news, config(tmp_path / "b", "async", **options), images())
    assert found.replay == wanted.replay
    assert_equal(weights(new, *news), weights(model, *nets))


def test_paces_show_in_the_statistics(tmp_path: Path) -> None:
    model, nets = parts()
    slow = ReplayConfig(size=4, slow_block=0, slow_noise=0.8)
    found = train_blocks(model, nets, config(tmp_path / "a", "async", epochs=4, replay=slow), images()).replay
    other, others = parts()
    fast = ReplayConfig(size=4, rates=(5, 1, 1))
    rapid = train_blocks(other, others, config(tmp_path / "b", "async", epochs=4, replay=fast), images()).replay
    assert found[0].reread > rapid[0].reread  # a slow block is read again
    assert rapid[0].lost > found[0].lost  # a fast one is overwritten
    assert all(torch.isfinite(t).all() for t in weights(model, *nets, other, *others).values())


def test_bad_input(tmp_path: Path) -> None:
    model, nets = parts()
    with pytest.raises(PpudaLikeError, match="3 blocks need as many 'rates'"):
        train_blocks(model, nets, config(tmp_path, "async", replay=ReplayConfig(rates=(1, 2))), images())
    with pytest.raises(PpudaLikeError, match="'replay' is of the method 'async' only"):
        config(tmp_path, replay=ReplayConfig(size=3))
    model.only_mode = True
    with pytest.raises(GraphError, match="'async' runs blocks in training and in evaluation"):
        train_blocks(model, nets, config(tmp_path, "async"), images())
