import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ppuda_like._runs import read_state
from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import (
    BlockTrainConfig,
    Frontier,
    auxiliaries_for,
    ensembles,
    evaluate_blocks,
    smoothed_cross_entropy,
    split,
    train_blocks,
)
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._recipes import RECIPES, RecipeName
from ppuda_like.search.blocks._staged_stream import stream_of
from ppuda_like.vision import ImageStream, NetTrainConfig, train_net
from ppuda_like.vision._train_schedule import learning_rate
from tests.search.blocks._training import Stopper, assert_equal, blocks_of, config, images, network, parts, weights

# ------------------------------------------------------------------------------------------------------- methods


def test_sync_is_the_sum_of_local_losses_detached(tmp_path: Path) -> None:
    model, nets = parts()
    result = train_blocks(model, nets, config(tmp_path, label_smoothing=0.1, clip=0.0), images(), images(seed=1))
    assert result.finished
    assert result.val == evaluate_blocks(model, nets, images(seed=1), batch_size=32)

    other, others = parts()
    other.train()
    optimizer = torch.optim.SGD(
        [*other.parameters(), *(p for net in others for p in net.parameters())], lr=0.1, momentum=0.9, weight_decay=3e-4
    )
    stream = ImageStream(images(), batch_size=8)
    for step in range(8):
        x, labels = stream[step]
        optimizer.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / 8)) / 2
        frontiers = []
        frontier = other.start(x.double())
        *inner, last = other.blocks
        for block in inner:
            frontiers.append(block(frontier))
            frontier = frontiers[-1].detached()
        losses = [smoothed_cross_entropy(last(frontier), labels, 0.1)]
        losses += [net.loss(f.newest, labels, 0.1)[0] for net, f in zip(others, frontiers, strict=True)]
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(losses).sum())
        optimizer.step()
    for (key, found), wanted in zip(weights(model, *nets).items(), weights(other, *others).values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12, msg=key)


def test_backprop_is_the_training_of_the_network(tmp_path: Path) -> None:
    model = network()
    blocks = blocks_of(model)
    result = train_blocks(blocks, [], config(tmp_path / "a", "backprop"), images(), images(seed=1))
    assert result.val is not None
    assert len(result.val.top1) == 1
    other = network().double()

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = other

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(x.double())
            return out

    train_net(Double(), config(tmp_path / "b").training, images())
    for found, wanted in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_sequential_trains_the_first_block_as_sync_does_then_freezes_it(tmp_path: Path) -> None:
    model, nets = parts(ends=("3",))
    train_blocks(model, nets, config(tmp_path / "a"), images())
    first = weights(model.blocks[0], nets[0])
    other, others = parts(ends=("3",))
    before = weights(other.blocks[1])
    result = train_blocks(other, others, config(tmp_path / "b", "sequential"), images())
    assert (result.steps, result.finished) == (16, True)
    assert_equal(weights(other.blocks[0], others[0]), first)
    after = weights(other.blocks[1])
    assert any(not after[key].equal(before[key]) for key in before)
    assert any(not after[key].equal(value) for key, value in weights(model.blocks[1]).items())


@pytest.mark.parametrize("method", ["sync", "sequential", "backprop"])
def test_resumed_bit_for_bit(tmp_path: Path, method: str) -> None:
    options: dict[str, Any] = {"augment": "crop", "checkpoint_steps": 3}
    model, nets = parts(0.3, ("3",))
    train_blocks(model, nets, config(tmp_path / "a", method, **options), images())
    other, others = parts(0.3, ("3",))
    stopped = train_blocks(other, others, config(tmp_path / "b", method, **options), images(), log=Stopper())
    assert (stopped.steps, stopped.finished) == (4, False)
    new, news = parts(0.3, ("3",))
    assert train_blocks(new, news, config(tmp_path / "b", method, **options), images()).finished
    assert_equal(weights(new, *news), weights(model, *nets))
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))


def test_parallel_continues_sync_to_the_same_weights(tmp_path: Path) -> None:
    options: dict[str, Any] = {"augment": "crop", "queue": 1}
    model, nets = parts(0.3, ("3",))
    wanted = train_blocks(model, nets, config(tmp_path / "a", **options), images(), images(seed=1))
    other, others = parts(0.3, ("3",))
    train_blocks(other, others, config(tmp_path / "b", **options), images(), log=Stopper())
    new, news = parts(0.3, ("3",))
    found = train_blocks(new, news, config(tmp_path / "b", "parallel", **options), images(), images(seed=1))
    assert found.val == wanted.val
    assert_equal(weights(new, *news), weights(model, *nets))


class Ends(nn.Module):
    """Ends its process, or fails, in the sixth forward pass."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += self.training
        if self.count == 6:
            if self.kind == "ends":
                os._exit(7)
            raise RuntimeError("nothing works")
        return x * 1.0


@pytest.mark.parametrize(
    ("kind", "message"),
    [("ends", "process of block 1 ended with exit code 7"), ("fails", "block 1 failed .* RuntimeError: nothing works")],
)
def test_a_process_that_does_not_finish(tmp_path: Path, kind: str, message: str) -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), Ends(kind)), nn.Linear(8, 3)
    )
    blocks = split(model, Partition.at(trace(model.eval(), (2, 3, 8, 8)), ["2"])).train()
    nets = auxiliaries_for(blocks, "linear", 3)
    with pytest.raises(PpudaLikeError, match=message):
        train_blocks(blocks, nets, config(tmp_path, "parallel", queue=1), images())
    state = read_state(tmp_path, 2, "cpu")
    assert state is not None
    assert state["step"] == 4


# ------------------------------------------------------------------------------------------------------ bad input


def test_a_block_without_finite_numbers_is_skipped_and_the_others_go_on(tmp_path: Path) -> None:
    model, nets = parts()
    train_blocks(model, nets, config(tmp_path / "a"), images())
    other, others = parts()
    with torch.no_grad():
        others[1].get_parameter("classifier.weight").fill_(math.nan)
    before = weights(other.blocks[1])
    result = train_blocks(other, others, config(tmp_path / "b"), images())
    assert result.skipped == (0, 8, 0)
    assert_equal(weights(other.blocks[0], others[0]), weights(model.blocks[0], nets[0]))
    assert_equal(weights(other.blocks[1]), before)
    new, news = parts()
    with torch.no_grad():
        news[1].get_parameter("classifier.weight").fill_(math.nan)
    with pytest.raises(PpudaLikeError, match="3 steps of 3 of block 1 had no finite loss"):
        train_blocks(new, news, config(tmp_path / "c", max_skipped=2), images())


def test_what_does_not_go_together(tmp_path: Path) -> None:
    model, nets = parts()
    with pytest.raises(DataError, match="3 blocks need 2 auxiliary networks \\(got 1\\)"):
        train_blocks(model, nets[:1], config(tmp_path), images())
    with pytest.raises(DataError, match="2 auxiliary networks"):
        auxiliaries_for(model, ["linear"], 3)
    with pytest.raises(DataError, match="2 auxiliary networks"):
        evaluate_blocks(model, nets[:1], images())
    train_blocks(model, nets, config(tmp_path, epochs=1), images())
    with pytest.raises(CheckpointError, match=r"training.*another config|another config.*lr"):
        train_blocks(model, nets, config(tmp_path, epochs=1, lr=0.2), images())


def test_networks_that_cannot_be_built_and_blocks_that_cannot_learn(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 3))
    blocks = split(model, Partition.at(trace(model, (2, 3, 8, 8)), ["1", "4"]))
    with pytest.raises(PpudaLikeError, match=r"boundary behind block 1: 'cnn' reads maps \(C, H, W\).* one of mlp"):
        auxiliaries_for(blocks, "cnn", 3)
    nets = auxiliaries_for(blocks, "linear", 3)
    model[3].requires_grad_(False)
    with pytest.raises(DataError, match="block 1 has no parameter that requires a gradient"):
        train_blocks(blocks, nets, config(tmp_path), images())


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.a, self.b = nn.Flatten(), nn.Linear(192, 8), nn.Linear(8, 8)
        self.c = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(self.flat(x))
        b = torch.relu(self.b(a))
        out: Tensor = self.c(a + b)
        return out


def test_wide_frontiers_need_the_check_that_all_can_learn(tmp_path: Path) -> None:
    graph = trace(Wide(), (2, 3, 8, 8))
    blocks = split(Wide(), Partition.at(graph, ["relu"], max_width=2))
    nets = auxiliaries_for(blocks, "linear", 3)
    with pytest.raises(DataError, match="2 leave one here"):
        train_blocks(blocks, nets, config(tmp_path), images())
    model = Wide()
    blocks = split(model, Partition.at(graph, ["relu"], max_width=2, reads="newest"))
    before = weights(model)
    assert train_blocks(blocks, nets, config(tmp_path), images()).finished
    assert [key for key, value in weights(model).items() if value.equal(before[key])] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "psync"}, "'method' must be one of sync"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"queue": 0}, "at least 1"),
        ({"restart": True}, "is at 'milestones'"),
        ({"classes_steps": 5}, "goes with 'classes_per_batch'"),
        ({"per_block": {0: {"epochs": 3}}}, "got 'epochs' for block 0"),
        ({"per_block": {0: {"lr": -1.0}}}, "'per_block' of block 0: 'lr' must be positive"),
        ({"method": "backprop", "per_block": {0: {"lr": 1.0}}}, "trains all blocks as one"),
        ({"training": {"ema": 0.9}}, "knows no 'ema'"),
        ({"method": "parallel", "training": {"device": "cuda"}}, "take device='cpu'"),
    ],
)
def test_bad_configs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    training = NetTrainConfig(out=tmp_path, **changes.pop("training", {}))
    with pytest.raises(PpudaLikeError, match=message):
        BlockTrainConfig(training=training, **changes)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(tmp_path: Path, name: RecipeName) -> None:
    found = BlockTrainConfig.recipe(name, tmp_path)
    assert (found.method, found.training.amp) == (RECIPES[name].method, "none")
    on_gpu = BlockTrainConfig.recipe(name, tmp_path, device="cuda", method="sync")
    assert on_gpu.training.amp == ("fp16" if name in ("sedona-tiny", "sedona-imagenet", "predsim-tiny") else "none")
    # In single steps, at the published sizes of the data: what the papers count in.
    per_epoch = {"sedona": 351, "sedona-tiny": 390, "sedona-imagenet": 5004, "predsim-tiny": 390}.get(name)
    if per_epoch is not None:
        wanted = {"sedona": 64_000, "sedona-imagenet": 600_000}.get(name, 30_000)
        assert found.training.epochs * per_epoch == pytest.approx(wanted, abs=per_epoch)
        assert found.training.lr * found.training.final_lr == pytest.approx(found.training.lr / 100)


def test_rates_of_recipes(tmp_path: Path) -> None:
    def rates(name: RecipeName, *epochs: int) -> list[float]:
        return [learning_rate(BlockTrainConfig.recipe(name, tmp_path).training, epoch, 1) for epoch in epochs]

    assert rates("dgl", 0, 14, 15, 44, 45, 49) == pytest.approx([0.1, 0.1, 0.02, 0.004, 0.0008, 0.0008])
    assert rates("dgl-curves", 89, 90, 99) == pytest.approx([0.1 * 0.2**5, 0.1 * 0.2**6, 0.1 * 0.2**6])
    assert rates("dgl-imagenet", 9, 10, 49) == pytest.approx([0.1, 0.01, 1e-5])
    assert rates("ddg", 149, 150, 225, 299) == pytest.approx([0.01, 1e-3, 1e-4, 1e-4])
    assert rates("dni", 0, 1999) == [3e-5, 3e-5]
    assert rates("sedona", 0, 182) == pytest.approx([0.1, 0.001])


def test_a_recipe_and_its_changes(tmp_path: Path) -> None:
    one = BlockTrainConfig.recipe("dgl", tmp_path, method="sequential", epochs=60)
    assert (one.training.epochs, one.training.milestones, one.method) == (60, (15, 30, 45), "sequential")
    parallel = dataclasses.replace(BlockTrainConfig.recipe("sedona", tmp_path), method="parallel")
    assert parallel.identity == BlockTrainConfig.recipe("sedona", tmp_path).identity
    with pytest.raises(PpudaLikeError, match="called 'dgl-bufer'; did you mean 'dgl-buffer'"):
        BlockTrainConfig.recipe("dgl-bufer", tmp_path)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------- evaluation


def test_evaluation_of_each_block_and_of_ensembles() -> None:
    model, nets = parts(name="predsim")
    data = images(50, seed=3)
    modes = [m.training for m in model.modules()]
    found = evaluate_blocks(model, nets, data, batch_size=16)
    assert [m.training for m in model.modules()] == modes
    model.eval()
    x, labels = data.batch(torch.arange(50))
    with torch.no_grad():
        logits = [net.eval()(f.newest) for net, f in zip(nets, model.frontiers(x.double()), strict=True)]
        logits.append(model(x.double()))

    def top1(scores: Tensor) -> float:
        return float((scores.argmax(1) == labels).double().mean())

    p = [one.softmax(1) for one in logits]
    assert found.top1 == pytest.approx([top1(one) for one in logits])
    assert found.last == pytest.approx([top1(p[2]), top1(p[2] * p[1]), top1(p[2] * p[1] * p[0])])
    assert found.weighted == pytest.approx([top1(p[0]), top1(p[0] + 2 * p[1]), top1(p[0] + 2 * p[1] + 4 * p[2])])
    _, weighted = ensembles(logits)
    torch.testing.assert_close(weighted[2].sum(1), torch.ones(50, dtype=torch.double))


def test_sync_keeps_the_activations_of_one_block_only(tmp_path: Path) -> None:
    alive: dict[str, int] = {}

    def peak(method: str) -> int:
        kept, most = 0, 0

        class Held:
            def __init__(self, tensor: Tensor) -> None:
                nonlocal kept, most
                self.tensor = tensor
                kept += tensor.nbytes
                most = max(most, kept)

            def __del__(self) -> None:
                nonlocal kept
                kept -= self.tensor.nbytes

        model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3 if not i else 8, 8, 3, 1, 1), nn.Tanh()) for i in range(8)))
        model.add_module("head", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)))
        blocks = split(model, Partition.at(trace(model, (2, 3, 8, 8)), ["1", "3", "5"]))
        nets = auxiliaries_for(blocks, "linear", 3)
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            train_blocks(blocks, nets, config(tmp_path / method, method, epochs=1), images())
        return most

    alive = {method: peak(method) for method in ("sync", "backprop")}
    assert alive["sync"] < 0.5 * alive["backprop"]


def test_settings_of_a_block_of_its_own(tmp_path: Path) -> None:
    model, nets = parts()
    train_blocks(model, nets, config(tmp_path / "a"), images())
    other, others = parts()
    own = {1: {"optimizer": "adam", "lr": 0.01, "schedule": "constant"}}
    train_blocks(other, others, config(tmp_path / "b", per_block=own), images())
    assert_equal(weights(other.blocks[0], others[0]), weights(model.blocks[0], nets[0]))
    assert any(
        not one.equal(two)
        for one, two in zip(weights(other.blocks[1]).values(), weights(model.blocks[1]).values(), strict=True)
    )
    line = json.loads((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["lr_1"] == 0.01
    with pytest.raises(DataError, match="some of the blocks 0 to 2 \\(got 3\\)"):
        train_blocks(other, others, config(tmp_path / "c", per_block={3: {"lr": 1.0}}), images())


def test_momentum_is_lost_at_milestones(tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "step", "milestones": (1,), "restart": True}
    found: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    for first in (0, 3, 4):  # steps are 4 to an epoch: after the fifth no trace is left of the momentum of those before
        model, nets = parts()
        learner = Learner(0, model.blocks[0], nets[0], config(tmp_path, **options), 4, 3)
        stream = ImageStream(images(), batch_size=8)
        for number in range(5):
            x, labels = stream[number]
            if number == 4:
                learner.modules.load_state_dict(found[0][0] if found else learner.modules.state_dict())
                start = {key: t.clone() for key, t in learner.modules.state_dict().items()}
            if number >= first:
                learner.step(Frontier((), (x.double(),)), labels, number)
        found.append((start, weights(learner.modules)))
    assert_equal(found[1][1], found[0][1])
    assert_equal(found[2][1], found[0][1])


def test_few_classes_in_a_batch_at_first(tmp_path: Path) -> None:
    run = config(tmp_path, classes_per_batch=1, classes_steps=5)
    stream = stream_of(run, images())
    wanted = ImageStream(images(), batch_size=8)
    for number in range(8):
        labels = stream[number][1]
        assert (len(set(labels.tolist())) == 1) == (number < 5)
        if number >= 5:
            assert stream[number][0].equal(wanted[number][0])
    assert len(set(stream_of(config(tmp_path, classes_per_batch=1), images())[7][1].tolist())) == 1
    model, nets = parts()
    assert train_blocks(model, nets, run, images()).finished


def test_half_precision_keeps_single_weights(tmp_path: Path) -> None:
    model, nets = parts()
    for one in (model, *nets):
        one.float()
    result = train_blocks(model, nets, config(tmp_path, amp="bf16"), images(), images(seed=1))
    assert result.finished
    assert result.skipped == result.overflows == (0, 0, 0)
    assert {t.dtype for t in weights(model, *nets).values()} == {torch.float32, torch.int64}
