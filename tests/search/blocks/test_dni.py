from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import BlockwiseModel, Frontier, Synthesiser, split, synthesisers_for, train_blocks
from tests.search.blocks._training import Stopper, assert_equal, config, images, parts, weights


def blocks() -> BlockwiseModel:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
        )
    return split(model, Partition.at(trace(model, (2, 3, 8, 8)), ["1", "3"])).double()


class Oracle(Synthesiser):
    """Knows the gradient."""

    def __init__(self, model: BlockwiseModel, index: int) -> None:
        super().__init__(model.shapes[index][-1], 3)
        self.behind = [list(model.blocks)[index + 1 :]]  # in a list: not to be trained here

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            found: Any = Frontier((x,))
            for block in self.behind[0]:
                found = block(found)
            (gradient,) = torch.autograd.grad(F.cross_entropy(found, labels), x)
        return gradient + 0 * sum(p.sum() for p in self.parameters())  # a guess has something to learn


def test_perfect_guesses_are_backprop(tmp_path: Path) -> None:
    model = blocks()
    train_blocks(model, [], config(tmp_path / "a", "backprop", clip=0.0), images())
    other = blocks()
    oracles = [Oracle(other, 0).double(), Oracle(other, 1).double()]
    found: list[float] = []
    train_blocks(
        other,
        oracles,
        config(tmp_path / "b", "dni", clip=0.0),
        images(),
        log=lambda metrics, step: found.extend(metrics[f"guess_{i}"] for i in range(2)),
    )
    for key, wanted in weights(model).items():
        torch.testing.assert_close(weights(other)[key], wanted, rtol=1e-10, atol=1e-12)
    assert max(found) < 1e-12


def test_guesses_start_at_zero(tmp_path: Path) -> None:
    model = blocks()
    before = weights(*model.blocks)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 32, "weight_decay": 0.0}
    train_blocks(model, [s.double() for s in synthesisers_for(model, 3)], config(tmp_path, "dni", **options), images())
    changed = {key[0] for key, value in weights(*model.blocks).items() if not value.equal(before[key])}
    assert changed == {"2"}  # one step: only the last block had a gradient


@pytest.mark.parametrize("conditioned", [False, True])
def test_learns_and_resumes(tmp_path: Path, conditioned: bool) -> None:
    options: dict[str, Any] = {"epochs": 9, "optimizer": "adam", "lr": 0.002, "schedule": "constant"}

    def nets(model: BlockwiseModel) -> list[Synthesiser]:
        return [net.double() for net in synthesisers_for(model, 3, conditioned=conditioned, kernel=3)]

    model = blocks()
    own = nets(model)
    result = train_blocks(model, own, config(tmp_path / "a", "dni", **options), images(), images(seed=1))
    assert result.val is not None
    assert len(result.val.top1) == 1
    found = weights(model, *own)
    # The guess at the last boundary is far better than none, whose error is the gradient's own square.
    model.train()
    x, labels = images().batch(torch.arange(8))
    *_, last = model.frontiers(x.double())
    with torch.no_grad():
        guess = own[1].train()(last.newest, labels)
    wanted = Oracle(model, 1)(last.newest, labels).detach()
    assert float((guess - wanted).square().sum() / wanted.square().sum()) < 0.5
    other = blocks()
    run = config(tmp_path / "b", "dni", **options)
    assert train_blocks(other, nets(other), run, images(), log=Stopper()).steps == 4
    new = blocks()
    news = nets(new)
    assert train_blocks(new, news, run, images()).finished
    assert_equal(weights(new, *news), found)


@pytest.mark.parametrize("shape", [(6, 5, 4), (7, 6), (6,)])
@pytest.mark.parametrize("conditioned", [False, True])
def test_shapes_and_labels(shape: tuple[int, ...], conditioned: bool) -> None:
    net = Synthesiser(shape, 3, conditioned=conditioned, hidden=5)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    found = [net.eval()(x, torch.full((4,), label)) for label in (0, 1)]
    assert found[0].shape == x.shape
    assert found[0].equal(found[1]) != conditioned


def test_parameters_of_the_published_ones() -> None:
    plain, conditioned = (Synthesiser((128, 10, 10), 10, conditioned=labels) for labels in (False, True))
    count = [sum(p.numel() for p in net.parameters()) for net in (plain, conditioned)]
    assert count == [3 * (128 * 128 * 25 + 128) + 2 * 2 * 128, count[0] + 10 * 128 + 128]


def test_bad_input(tmp_path: Path) -> None:
    model, nets = parts()
    with pytest.raises(DataError, match="method 'dni' takes synthesisers \\(got Light, Light\\); see synthesisers_for"):
        train_blocks(model, nets, config(tmp_path, "dni"), images())
    with pytest.raises(DataError, match="method 'sync' takes auxiliary networks"):
        train_blocks(model, synthesisers_for(model, 3), config(tmp_path), images())
    with pytest.raises(DataError, match="need 2 synthesisers"):
        train_blocks(model, [], config(tmp_path, "dni"), images())
    with pytest.raises(PpudaLikeError, match="odd kernel"):
        synthesisers_for(model, 3, kernel=4)
    with pytest.raises(PpudaLikeError, match="'dni' has no scale"):
        config(tmp_path, "dni", amp="fp16", device="cuda")
