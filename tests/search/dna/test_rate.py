"""Ratings of all paths, and networks cut from the supernet."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ppuda_like.errors import CodeError, DataError, PpudaLikeError
from ppuda_like.search.dna import (
    CellNet,
    CellRatings,
    RateConfig,
    Ratings,
    Supernet,
    cut_network,
    hold_out,
    rate,
    rate_paths,
    retrain,
    retrain_config,
    search,
)
from ppuda_like.search.dna import _rate as rate_module
from ppuda_like.vision import digits
from tests.search.dna import tiny


def supernet(**kwargs: object) -> Supernet:
    return Supernet(tiny.space(), tiny.WIDTHS, **kwargs).eval()  # type: ignore[arg-type]


def flat(net: CellNet, calibration: Tensor, inputs: Tensor, path: tuple[int, ...]) -> Tensor:
    """A path on its own, by torch's batch norms in training and in evaluation."""
    layers = [*net.first, net.adapt_in, *(net.layer(i, op) for i, op in enumerate(path)), net.adapt_out]
    whole = nn.Sequential(*layers)
    norms = [module for module in whole.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats, norm.momentum = True, 1.0
    with torch.no_grad():
        whole.train()(calibration)
        out: Tensor = whole.eval()(inputs)
    for norm in norms:
        norm.track_running_stats = False
    return out


@pytest.mark.parametrize("boundary", ["wide", "adapters"])
def test_the_tree_gives_what_each_path_gives_alone(boundary: str) -> None:
    generator = torch.Generator().manual_seed(0)
    net = supernet(boundary=boundary).cell(0)
    calibration, batch, other = (torch.randn(6, 3, 16, 16, generator=generator) for _ in range(3))
    targets = [torch.randn(6, tiny.WIDTHS[0], 8, 8, generator=generator) for _ in range(2)]
    found = list(rate_paths(net, calibration, [batch, other], targets))
    assert [path for path, _ in found] == list(itertools.product(range(3), repeat=2))
    for path, values in found:
        for inputs, target, row in zip((batch, other), targets, values, strict=True):
            difference = flat(net, calibration, inputs, path) - target
            mse, l1, variance = difference.square().mean(), difference.abs().mean(), target.var()
            wanted = [l1 / variance.sqrt(), mse, mse / variance, l1 / target.abs().mean(), mse.sqrt() / variance]
            torch.testing.assert_close(row.float(), torch.stack(wanted), rtol=1e-4, atol=1e-6)


def test_each_prefix_runs_once() -> None:
    net = supernet().cell(0)
    runs = {False: 0, True: 0}

    def count(module: nn.Module, *_: object) -> None:
        runs[module.training] += 1

    for layer in net.layers:
        assert isinstance(layer, nn.ModuleList)
        for module in layer:
            module.register_forward_hook(count)
    inputs = [torch.randn(2, 3, 16, 16)] * 4
    list(rate_paths(net, inputs[0], inputs, [torch.randn(2, tiny.WIDTHS[0], 8, 8)] * 4))
    prefixes = 3 + 9
    assert runs == {True: prefixes, False: 4 * prefixes}


def test_ratings_are_means_over_held_out_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net, teacher = supernet(), tiny.teacher()
    train, held = hold_out(tiny.images(60), 24)
    assert set(train.index.tolist()).isdisjoint(held.index.tolist())
    config = RateConfig(out=tmp_path, batch_size=10, calibration=8, batches=2)  # 10, 10 and 4 images, in two chunks
    found = rate(net, teacher, config, held, train, progress=False)
    assert [(cell.stage, cell.cell) for cell in found] == [(0, 0), (1, 0), (1, 1)]
    unlearnt = [cell.place for cell in found if np.median(cell.measures["relative_mse"]) > 1]
    assert unlearnt  # the weights are random
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == unlearnt
    images = [held.batch(index)[0] for index in torch.arange(24).split(10)]
    statistics = [batch := train.batch(torch.arange(8))[0], *teacher.features(batch)]
    for cell in found:
        stage = cell.stage
        features = [[batch, *teacher.features(batch)] for batch in images]
        given = [f[stage] for f in features], [f[stage + 1] for f in features]
        values = np.stack([v.numpy() for _, v in rate_paths(net.cell(stage, cell.cell), statistics[stage], *given)])
        weights = np.array([10, 10, 4]) / 24
        mean = (values[:, :, 0] * weights).sum(1)
        np.testing.assert_allclose(cell.measures["relative_l1"], mean, rtol=1e-6)
        spread = ((values[:, :, 0] - mean[:, None]) ** 2 * weights).sum(1)
        np.testing.assert_allclose(cell.standard_errors["relative_l1"], np.sqrt(spread / 2), rtol=1e-5)
    ratings = Ratings.load(tmp_path, tiny.space())
    np.testing.assert_array_equal(ratings.values(1), np.concatenate([c.measures["relative_l1"] for c in found[1:]]))
    assert not list(tmp_path.glob("*.part"))
    assert len(search(ratings, ("params",))) >= 1


def test_an_interrupted_rating_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_module, "_MOST_PATHS", 3)
    net, teacher, images = supernet(), tiny.teacher(), tiny.images(20)
    given = images, images
    wanted = rate(net, teacher, RateConfig(out=tmp_path / "whole", batch_size=5, calibration=5), *given, progress=False)
    config = RateConfig(out=tmp_path / "run", batch_size=5, calibration=5)
    paths: list[tuple[int, ...]] = []
    original = rate_module.rate_paths

    def dying(*args: object) -> object:
        for path, values in original(*args):  # type: ignore[arg-type]
            paths.append(path)
            if len(paths) % 8 == 0:
                raise KeyboardInterrupt
            yield path, values

    monkeypatch.setattr(rate_module, "rate_paths", dying)
    interruptions = 0
    while True:
        try:
            found = rate(net, teacher, config, *given, progress=False)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 2
    assert len(paths) < 9 + 4 + 3 + 2 * 3  # what was kept is not rated anew
    for one, other in zip(wanted, found, strict=True):
        for name, values in one.measures.items():
            np.testing.assert_array_equal(other.measures[name], values)
    # Files that are complete are read, and belong to their supernet.
    again = rate(net, teacher, config, *given, progress=False)
    assert again[0].meta == found[0].meta
    with pytest.raises(DataError, match="holds ratings of another supernet, teacher, or choice of images"):
        rate(supernet(seed=1), teacher, config, *given, progress=False)
    (tmp_path / "run" / "stage1-cell1.npz").unlink()
    monkeypatch.setattr(rate_module, "rate_paths", original)
    rate(net, teacher, config, *given, progress=False)
    assert isinstance(CellRatings.load(tmp_path / "run" / "stage1-cell1.npz", tiny.space()), CellRatings)


def test_ratings_that_cannot_be(tmp_path: Path) -> None:
    net, teacher, images = supernet(), tiny.teacher(), tiny.images(20)
    config = RateConfig(out=tmp_path, batch_size=10, calibration=10)
    with pytest.raises(PpudaLikeError, match=r"has stages 0\.\.1 \(got 'stages' \[2\]\)"):
        rate(net, teacher, RateConfig(out=tmp_path, stages=(2,)), images, images)
    with pytest.raises(DataError, match="images must have the 16 pixels of 'tiny'"):
        rate(net, teacher, config, digits("val"), images)
    with pytest.raises(DataError, match="64 images are to calibrate, there are 20"):
        rate(net, teacher, RateConfig(out=tmp_path), images, images)
    with pytest.raises(DataError, match=r"imitates features of \(6, 12\) channels, two convolutions has \(6, 10\)"):
        rate(Supernet(tiny.space(), (6, 12)), teacher, config, images, images)
    with pytest.raises(PpudaLikeError, match="'batches' must be positive"):
        RateConfig(out=tmp_path, batches=0)
    with pytest.raises(DataError, match=r"'count' must leave images on both sides, 1\.\.19"):
        hold_out(images, 20)
    with torch.no_grad():
        net.cell(0).layer(1, 2).conv_pw.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(DataError, match=r"ratings of stage0-cell0 around the path .* are not finite"):
        rate(net, teacher, config, images, images, progress=False)


# -------------------------------------------------------------------------------------------------- the found network


def test_a_network_cut_from_a_supernet_of_plain_widths_is_its_path() -> None:
    """Where the teacher has the widths of the cells, nothing is cut, and the path is the network."""
    space = tiny.space()
    net = Supernet(space, (4, 6), head=True).eval()
    architecture = space.parse("21 1:2")
    found = cut_network(net, architecture)
    assert not found.cut
    assert not found.drawn
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        for module in (net, found.network):
            module.train()
            for part in module.modules():
                if isinstance(part, nn.Dropout):
                    part.eval()
        torch.testing.assert_close(found.network(images), net(images, architecture))


def test_wide_layers_are_cut() -> None:
    space = tiny.space()
    net = supernet()
    found = cut_network(net, space.parse("01 0:10"))
    assert set(found.whole) | set(found.cut) | set(found.drawn) == dict(found.network.named_parameters()).keys()
    assert all(name.startswith("head.") for name in found.drawn)
    assert {name.split(".")[0] for name in found.whole} == {"stem", "stages"}
    (mine,) = [p for n, p in found.network.named_parameters() if n == "stages.0.1.conv_pwl.weight"]
    theirs = dict(net.cell(0).layer(1, 1).named_parameters())["conv_pwl.weight"]
    assert theirs.shape[0] == tiny.WIDTHS[0] > mine.shape[0] == 4
    assert torch.equal(mine, theirs[:4])
    assert "stages.0.1.conv_pwl.weight" in found.cut


def test_retraining(tmp_path: Path) -> None:
    space = tiny.space()
    recipe = retrain_config(tmp_path)
    assert (recipe.epochs, recipe.batch_size, recipe.warmup, recipe.label_smoothing) == (500, 1024, 5, 0.1)
    assert recipe.factor**3 == pytest.approx(0.963)
    small = retrain_config(tmp_path, epochs=1, batch_size=16, augment="none", warmup=0.0, ema=0.0, lr=0.05)
    definition = space.definition(space.parse("01 1:2"))
    network, result = retrain(definition, small, tiny.images(), tiny.images(20), progress=False)
    assert result.finished
    assert result.val is not None
    assert not network.training
    start = cut_network(supernet(), space.parse("01 1:2")).network
    small = retrain_config(tmp_path / "cut", epochs=1, batch_size=16, augment="none", warmup=0.0, ema=0.0, lr=1e-9)
    network, _ = retrain(start, small, tiny.images(), progress=False)
    assert network is start
    with pytest.raises(CodeError, match="made for 10 classes and images of 16 pixels \\(got 10 and 32\\)"):
        retrain(definition, small, digits("val"))
