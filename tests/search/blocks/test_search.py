import json
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ppuda_like.errors import CheckpointError, DataError, GraphError, PpudaLikeError
from ppuda_like.graph import CutError
from ppuda_like.search.blocks import BlockSearchConfig, BlockSearchResult, decode, search_blocks
from ppuda_like.search.blocks._search_run import logit_optimizer
from ppuda_like.vision import ImageData
from tests.search.blocks._training import images

PUBLISHED = Path(__file__).parent / "fixtures"


def network(units: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers: list[nn.Module] = []
        for i in range(units):
            layers += [nn.Conv2d(4 if i else 3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()]
        return nn.Sequential(*layers, nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def config(out: Path, **changes: Any) -> BlockSearchConfig:
    options: dict[str, Any] = {"out": out, "pretrain_steps": 6, "snapshots": 3, "iterations": 5, "unroll": 2}
    options |= {"candidates": ("linear", "light-1"), "features": 8, "batch_size": 6, "val_batch_size": 9}
    return BlockSearchConfig(**(options | {"augment": "none", "outer_lr": 0.1} | changes))


def searched(out: Path, **changes: Any) -> BlockSearchResult:
    return search_blocks(network(), config(out, **changes), images(24), images(24, seed=1))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Killed(Exception):
    pass


class Interrupt:
    """A sink that ends a search in the midst of it."""

    def __init__(self, after: int, kill: bool) -> None:
        self.after, self.kill, self.seen = after, kill, 0

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        self.seen += 1
        if self.seen == self.after:
            if self.kill:
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("gradient", ["exact", "first-order", "reference"])
def test_a_search_moves_all_logits_and_resumes_bit_for_bit(tmp_path: Path, gradient: Any) -> None:
    before = torch.random.get_rng_state()
    options: dict[str, Any] = {"gradient": gradient, "capacity": 2}
    if gradient == "first-order":
        options |= {"boundaries": 1, "num_candidates": 2, "candidates": ("linear", "mlp", "light-1")}
        options |= {"bn_batch_stats": False, "evict": "worst"}
    whole = searched(tmp_path / "whole", **options)
    assert whole.finished
    assert (whole.iterations, whole.skipped) == (5, 0)
    assert whole.units == ("0", "3", "6")  # as graph.units names them
    assert np.abs(whole.alpha).min() > 1e-3
    assert np.ptp(whole.beta, axis=1).min() > 1e-3
    # A line is written for each of three snapshots and then for each update: one end before, one after the first.
    for after, kill in ((2, True), (5, False)) if gradient == "exact" else ((6, True),):
        out = tmp_path / f"{after}{kill}"
        changes = options | {"checkpoint_steps": 2, "memory_on_disk": after == 5}
        sink = Interrupt(after, kill)
        try:
            found = search_blocks(network(), config(out, **changes), images(24), images(24, seed=1), log=sink)
            assert not found.finished
        except Killed:
            pass
        found = search_blocks(network(), config(out, **options), images(24), images(24, seed=1))
        assert found.finished
        assert found.alpha.tolist() == whole.alpha.tolist()
        assert found.beta.tolist() == whole.beta.tolist()
        for name in ("pretrain.jsonl", "search.jsonl"):
            assert (out / name).read_text() == (tmp_path / "whole" / name).read_text()
        found = searched(out, **options)  # which has nothing left to do
        assert found.alpha.tolist() == whole.alpha.tolist()
    assert torch.random.get_rng_state().equal(before)


def test_searches_that_share_what_came_before_the_first_update(tmp_path: Path) -> None:
    options: dict[str, Any] = {"candidates": ("linear", "mlp"), "pretrain_steps": 3}
    filled = searched(tmp_path / "a", **options, iterations=0)
    assert (filled.finished, filled.iterations, filled.alpha.tolist()) == (True, 0, [0, 0])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    changes: dict[str, Any] = {"gradient": "reference", "unroll": 1, "outer_lr": 0.3}
    found = searched(tmp_path / "b", **options | changes, iterations=1)
    found = searched(tmp_path / "b", **options | changes, iterations=2)
    assert found.alpha.tolist() == searched(tmp_path / "c", **options | changes, iterations=2).alpha.tolist()
    with pytest.raises(CheckpointError, match=r"another updates .*gradient, reference before, now exact"):
        searched(tmp_path / "b", **options | changes | {"gradient": "exact"})
    with pytest.raises(CheckpointError, match=r"another config .*momentum"):
        searched(tmp_path / "a", **options, momentum=0.5)


def test_what_the_log_tells(tmp_path: Path) -> None:
    told: list[int] = []
    found = search_blocks(
        network(), config(tmp_path), images(24), images(24, seed=1), log=lambda metrics, step: told.append(step)
    )
    assert told == [1, 3, 5, 7, 8, 9, 10, 11]
    assert [line["step"] for line in lines(tmp_path / "pretrain.jsonl")] == [1, 3, 5]
    log = lines(tmp_path / "search.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]
    assert [log[-1][f"alpha_{i}"] for i in range(2)] == pytest.approx(found.alpha)
    for line in log:
        assert all(line[f"{kind}_grad_{i}"] > 0 for kind in ("alpha", "beta") for i in range(2))
    other = config(tmp_path, seed=1)
    with pytest.raises(CheckpointError, match="seed, 0 before, now 1"):
        search_blocks(network(), other, images(24), images(24, seed=1))
    with pytest.raises(CheckpointError, match=r"another data .*train.images"):
        search_blocks(network(), config(tmp_path), images(30), images(24, seed=1))


def test_boundaries_alone_and_images_held_out(tmp_path: Path) -> None:
    found = search_blocks(network(), config(tmp_path, candidates=("predsim",)), images(40))
    assert found.beta.tolist() == [[0], [0]]
    assert np.abs(found.alpha).min() > 1e-3
    assert set(found.decode(2).auxiliaries) == {"predsim"}
    assert json.loads((tmp_path / "config.json").read_text())["val_share"] == 0.4


def test_steps_that_are_not_finite_leave_no_trace(tmp_path: Path) -> None:
    wrong = images(24)
    wrong.images[:6] = torch.nan
    with pytest.raises(PpudaLikeError, match="2 steps and updates of"):
        search_blocks(network(), config(tmp_path / "a", max_skipped=1), wrong, images(24, seed=1))
    # One bad batch of four in each pass: the search goes on without it.
    one = images(24)
    one.images[0] = torch.nan
    found = search_blocks(network(), config(tmp_path / "b"), one, images(24, seed=1))
    assert found.finished
    assert 0 < found.skipped < 10
    assert np.abs(found.alpha).min() > 0
    bad = images(24, seed=1)
    bad.images[:] = torch.nan
    with pytest.raises(PpudaLikeError, match="had no finite loss"):  # no update can be made
        search_blocks(network(), config(tmp_path / "c", max_skipped=4), images(24), bad)


class Attention(nn.Module):
    """Tokens, and an attention whose gradient torch may or may not be able to differentiate."""

    def __init__(self, backend: SDPBackend | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.Sequential(*(_Layer(backend) for _ in range(2)))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.layers(self.stem(x).flatten(2).transpose(1, 2)).mean(1))
        return found


class _Layer(nn.Module):
    def __init__(self, backend: SDPBackend | None) -> None:
        super().__init__()
        self.backend = backend
        self.project = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x)[:, None].chunk(3, -1)
        with nullcontext() if self.backend is None else sdpa_kernel(self.backend):
            found: torch.Tensor = x + self.out(F.scaled_dot_product_attention(q, k, v)[:, 0])
        return found


def test_networks_with_attention(tmp_path: Path) -> None:
    chosen = config(tmp_path / "a", candidates=("linear", "mlp"))
    found = search_blocks(Attention(), chosen, images(24), images(24, seed=1))
    assert found.units == ("layers.0", "layers.1")
    assert np.abs(found.alpha).min() > 0
    flash = Attention(SDPBackend.FLASH_ATTENTION)
    with pytest.raises(PpudaLikeError, match=r"differentiates gradients.*is not implemented"):
        search_blocks(flash, config(tmp_path / "b", candidates=("linear",)), images(24), images(24, seed=1))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_logit_of_the_published_search_is_the_difference_of_a_pair(tmp_path: Path, decay: float) -> None:
    chosen = config(tmp_path, gradient="reference", outer_weight_decay=decay)
    alpha, beta = torch.zeros(3, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    pair = torch.zeros(3, 2, requires_grad=True)
    optimizer = logit_optimizer(alpha, beta, chosen)
    other = torch.optim.Adam([pair], lr=chosen.outer_lr, betas=chosen.outer_betas, weight_decay=decay)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        alpha.grad = torch.randn(3, generator=generator)
        pair.grad = torch.stack([alpha.grad, -alpha.grad], dim=1)
        optimizer.step()
        other.step()
    torch.testing.assert_close(alpha.detach(), (pair[:, 0] - pair[:, 1]).detach())


def test_results_in_files(tmp_path: Path) -> None:
    found = searched(tmp_path / "run")
    again = BlockSearchResult.load(tmp_path / "run" / "result.npz")
    assert again.alpha.tolist() == found.alpha.tolist()
    assert again.beta.tolist() == found.beta.tolist()
    assert (again.candidates, again.units, again.iterations) == (found.candidates, found.units, 5)
    assert again.decode(2) == decode(found.alpha, found.beta, 2, candidates=found.candidates)
    published = BlockSearchResult.load(PUBLISHED / "vgg19.npz")
    assert published.decode(4).boundaries == (5, 12, 13)
    assert published.decode(4).auxiliaries == ("light-4", "light-1", "light-1")
    published.save(tmp_path / "copy.npz")
    assert BlockSearchResult.load(tmp_path / "copy.npz").decode(8) == published.decode(8)
    for name, error in (("none.npz", "cannot read"), ("bad.npz", "damaged"), ("bad.npy", "damaged")):
        if name == "bad.npz":
            (tmp_path / name).write_bytes((tmp_path / "copy.npz").read_bytes()[:100])
        if name == "bad.npy":
            np.save(tmp_path / name, np.zeros(3))
        with pytest.raises(DataError, match=error):
            BlockSearchResult.load(tmp_path / name)
    with pytest.raises(DataError, match=r"\.npz"):
        published.save(tmp_path / "copy.pt")
    with pytest.raises(DataError, match="must be finite"):
        BlockSearchResult(alpha=np.array([np.nan]), beta=np.zeros((1, 4)))
    with pytest.raises(DataError, match="2 candidates"):
        BlockSearchResult(alpha=np.zeros(1), beta=np.zeros((1, 4)), candidates=("mlp", "cnn"))
    with pytest.raises(DataError, match="must name 2 units"):
        BlockSearchResult(alpha=np.zeros(1), beta=np.zeros((1, 4)), units=("a",))


class Functional(nn.Module):
    """Something else in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(F.dropout(x, 0.5, self.training) if self.training else x)
        return found


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    train, val = images(24), images(24, seed=1)
    with pytest.raises(CutError, match="single unit"):
        search_blocks(network(1), config(tmp_path), train, val)
    with pytest.raises(GraphError, match="something else in training"):
        search_blocks(Functional(), config(tmp_path), train, val)
    with pytest.raises(PpudaLikeError, match="at most 2"):
        search_blocks(network(), config(tmp_path, boundaries=3), train, val)
    with pytest.raises(PpudaLikeError, match="behind unit '0': a light auxiliary network"):
        search_blocks(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), network()), config(tmp_path), train, val)
    many = ImageData(images=train.images, labels=train.labels, class_names=tuple("abcd"))
    with pytest.raises(DataError, match=r"logits of shape \(6, 4\)"):
        search_blocks(network(), config(tmp_path / "four"), many, many)
    with pytest.raises(DataError, match="must have the classes"):
        search_blocks(network(), config(tmp_path), train, many)
    with pytest.raises(DataError, match="leaves none"):
        search_blocks(network(), config(tmp_path, val_share=0.01), train)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient": "second"}, "'gradient' must be one of"),
        ({"evict": "newest"}, "'evict' must be one of"),
        ({"unroll": 0}, "'unroll' must be positive"),
        ({"momentum": 1.0}, "'momentum'"),
        ({"val_share": 1.0}, "'val_share'"),
        ({"candidates": ()}, "'candidates' must be different names"),
        ({"candidates": ("mlp", "mlp")}, "'candidates' must be different names"),
        ({"candidates": ("mlp", "predsim")}, "'predsim' alone"),
        ({"num_candidates": 3}, "2 to 2"),
        ({"num_candidates": 1}, "2 to 2"),
        ({"outer_betas": (0.5, 1.0)}, "two numbers"),
        ({"device": "gpu"}, "'device'"),
    ],
)
def test_values_out_of_range(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        config(tmp_path, **changes)
