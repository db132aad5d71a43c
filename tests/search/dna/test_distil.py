"""Supernets and their training."""

import json
import socket
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import CheckpointError, CodeError, DataError, PpudaLikeError
from ppuda_like.search.dna import (
    Architecture,
    CellNet,
    DistilConfig,
    Supernet,
    cache_features,
    distil,
    imagenet_space,
    load_supernet,
)
from ppuda_like.search.dna._distil_paths import draw_path
from ppuda_like.vision import ImageStream
from tests.search.dna import ranks, tiny

B7_SHAPES = ((48, 56, 56), (80, 28, 28), (160, 14, 14), (224, 14, 14), (384, 7, 7), (640, 7, 7))
B7_WIDTHS = tuple(shape[0] for shape in B7_SHAPES)


def weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of all cells."""
    found = {}
    for path in sorted(folder.glob("stage*/state.pt")):
        state = torch.load(path, weights_only=True)
        found |= {f"{path.parent.name} {name}": tensor for name, tensor in state["net"].items()}
        for number, moments in state["optimizer"]["state"].items():
            found |= {f"{path.parent.name} {number} {key}": value for key, value in moments.items()}
    return found


def assert_same(one: Path, other: Path, **tolerance: float) -> None:
    first, second = weights(one), weights(other)
    assert len(first) > 100
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, **{"rtol": 0, "atol": 0} | tolerance)


# ------------------------------------------------------------------------------------------------------- supernet


def test_published_supernet() -> None:
    with torch.device("meta"):
        supernet = Supernet(imagenet_space(), B7_WIDTHS, head=True)
        shallow = Supernet(imagenet_space(depths=(2, 2, 3, 3, 4, 1)), B7_WIDTHS, head=True)
    stages = [sum(p.numel() for p in cell.layers.parameters()) for cell in supernet]
    assert stages == [111_372, 663_180, 2_188_320, 4_844_424, 12_371_952, 12_954_432]
    assert sum(p.numel() for p in supernet.cell(0).first.parameters()) == 2_376
    assert sum(p.numel() for p in supernet.parameters()) == 35_238_816
    assert sum(isinstance(module, nn.BatchNorm2d) for module in supernet.modules()) == 346
    for net, before, behind in zip(supernet, [B7_SHAPES[0], *B7_SHAPES], B7_SHAPES, strict=False):
        given = (3, 224, 224) if net.stage == 0 else before
        found = net(torch.empty(2, *given, device="meta"), (5,) * len(net.layers))
        assert found.shape == (2, *behind)
    b0 = Architecture(((0, 0), (1, 1), (0, 0, 0), (1, 1, 1), (1, 1, 1, 1), (0,)))
    assert sum(p.numel() for p in shallow.path_parameters(b0)) == 8_985_300


@pytest.mark.parametrize("boundary", ["wide", "adapters"])
def test_cells_map_between_features_of_the_teacher(boundary: Any) -> None:
    space, teacher = tiny.space(), tiny.teacher()
    supernet = Supernet(space, teacher.widths(space), boundary=boundary, head=True)
    images = torch.randn(2, 3, 16, 16)
    features = [images, *teacher.features(images)]
    for net in supernet:
        for path in ((0,) * len(net.layers), (1,) * len(net.layers)):
            assert net(features[net.stage], path).shape == features[net.stage + 1].shape
    whole = supernet(images, space.parse("12 1:2"))
    assert whole.shape == (2, 10)
    with pytest.raises(CodeError, match="a path of this cell has 2 operations"):
        supernet.cell(0)(images, (1,))
    with pytest.raises(CodeError, match=r"operations of layer 1 are 0\.\.2"):
        supernet.cell(0)(images, (0, -1))
    with pytest.raises(CodeError, match="'widths' must be one for each of 2"):
        Supernet(space, (1,))


def test_weights_of_a_cell_do_not_depend_on_others() -> None:
    space = tiny.space()
    before = torch.random.get_rng_state()
    whole = Supernet(space, tiny.WIDTHS, seed=3).cell(1, 1)
    alone = CellNet(space, 1, 1, width_in=tiny.WIDTHS[0], width_out=tiny.WIDTHS[1], seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    for first, second in zip(whole.parameters(), alone.parameters(), strict=True):
        assert torch.equal(first, second)


# ---------------------------------------------------------------------------------------------------------- paths


def test_fair_draws_have_each_operation_once() -> None:
    cell = tiny.space().stages[0].cells[0]
    orders = set()
    for block in range(20):
        drawn = [draw_path(cell, 3 * block + i, "fair", seed=1) for i in range(3)]
        for layer in zip(*drawn, strict=True):
            assert sorted(layer) == [0, 1, 2]
        orders.add(tuple(drawn))
    assert len(orders) > 10


def test_uniform_draws_reach_all_paths_evenly() -> None:
    cell = tiny.space().stages[0].cells[0]
    counts: dict[tuple[int, ...], int] = {}
    for draw in range(900):
        path = draw_path(cell, draw, "uniform", seed=0)
        counts[path] = counts.get(path, 0) + 1
    assert len(counts) == cell.num_paths == 9
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 26.1  # chi-squared, 8 degrees, 0.1 %


# ------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together")
    result = distil(tiny.teacher(), tiny.space(), tiny.config(out), tiny.images(), progress=False)
    assert result.finished
    return out


def test_training_lowers_the_loss_and_leaves_files(together: Path) -> None:
    out = together.with_name("long")
    result = distil(tiny.teacher(), tiny.space(), tiny.config(out, epochs=6), tiny.images(), progress=False)
    assert [(cell.stage, cell.cell, cell.steps) for cell in result.cells] == [(0, 0, 12), (1, 0, 12), (1, 1, 12)]
    for cell in result.cells:
        lines = [json.loads(line) for line in (cell.weights.with_suffix("") / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert lines[-1]["loss"] < lines[0]["loss"]
        assert cell.loss == pytest.approx(lines[-1]["loss"])
    space, teacher = tiny.space(), tiny.teacher()
    supernet = load_supernet(out, space, teacher)
    state = torch.load(out / "stage1-cell1" / "state.pt", weights_only=True)["net"]
    for name, tensor in supernet.cell(1, 1).state_dict().items():
        assert torch.equal(tensor, state[name])
    (out / "stage0-cell0.safetensors").unlink()
    with pytest.raises(CheckpointError, match="there is no file of weights"):
        load_supernet(out, space, teacher)
    with pytest.raises(DataError, match=r"is no folder of a training of cells: config.json"):
        load_supernet(out / "stage0-cell0", space, teacher)


def test_stages_in_turn_and_in_parallel_give_the_same(together: Path, tmp_path: Path) -> None:
    given = tiny.teacher(), tiny.space()
    distil(*given, tiny.config(tmp_path / "turn", together=False), tiny.images(), progress=False)
    assert_same(together, tmp_path / "turn")
    with ThreadPoolExecutor(1) as executor:
        config = tiny.config(tmp_path / "parallel")
        result = distil(*given, config, tiny.images(), executor=executor)
    assert result.finished
    assert_same(together, tmp_path / "parallel")


def test_resumption_is_exact(together: Path, tmp_path: Path) -> None:
    given = tiny.teacher(), tiny.space()
    out = tmp_path / "run"
    # Killed between the checkpoints of two stages, so that each goes on from a step of its own; a step at a time.
    for stages in ((0,), (0,), (1,)):
        distil(*given, tiny.config(out, max_minutes=1e-9, stages=stages), tiny.images(), progress=False)
    calls = 1
    while not distil(*given, tiny.config(out, max_minutes=1e-9), tiny.images(), progress=False).finished:
        calls += 1
    assert calls == 3
    assert_same(together, out)


def test_unused_operations_keep_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppuda_like.search.dna._distil_unit.draw_path", lambda cell, *_: (1,) * cell.depth)
    space, teacher, config = tiny.space(), tiny.teacher(), tiny.config(tmp_path, weight_decay=0.1)
    distil(teacher, space, config, tiny.images(), progress=False)
    new, trained = Supernet(space, tiny.WIDTHS), load_supernet(tmp_path, space, teacher)
    for one, other in zip(new, trained, strict=True):
        for number in range(len(one.layers)):
            for op in range(len(one.layers[number])):
                pairs = zip(one.layer(number, op).parameters(), other.layer(number, op).parameters(), strict=True)
                assert any(not torch.equal(a, b) for a, b in pairs) == (op == 1)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision_is_for_the_forward_passes_alone(together: Path, tmp_path: Path, amp: str) -> None:
    config = tiny.config(tmp_path)
    object.__setattr__(config, "amp", amp)  # a CPU computes float16 too, slowly, which the config refuses
    result = distil(tiny.teacher(), tiny.space(), config, tiny.images(), progress=False)
    exact = distil(tiny.teacher(), tiny.space(), tiny.config(together), tiny.images(), progress=False)
    for half, single in zip(result.cells, exact.cells, strict=True):
        assert half.skipped_steps == 0
        assert half.loss == pytest.approx(single.loss, rel=0.05)
        assert half.loss != single.loss
    found = weights(tmp_path)
    assert {tensor.dtype for tensor in found.values() if tensor.is_floating_point()} == {torch.float32}
    for name, tensor in weights(together).items():
        if name.endswith("exp_avg"):  # of gradients that were scaled back
            assert (found[name] - tensor).norm() <= 0.2 * tensor.norm() + 1e-5


def test_features_from_disk_give_the_same(together: Path, tmp_path: Path) -> None:
    teacher, images = tiny.teacher(), tiny.images()
    files = cache_features(teacher, images, tmp_path / "features", half=False)
    distil(teacher, tiny.space(), tiny.config(tmp_path / "run"), images, features=files, progress=False)
    assert_same(together, tmp_path / "run", rtol=1e-4, atol=1e-5)
    with pytest.raises(PpudaLikeError, match="features from disk are those of images as they are"):
        distil(teacher, tiny.space(), tiny.config(tmp_path, augment="crop"), images, features=files)


@pytest.mark.parametrize("same_images", [True, False])
def test_a_step_is_the_sum_of_its_paths(tmp_path: Path, same_images: bool) -> None:
    """The first step of Adam has the sign of the gradient, whatever its size; the second moment tells the size."""
    space, teacher, images = tiny.space(), tiny.teacher(), tiny.images(48)
    config = tiny.config(
        tmp_path,
        epochs=1,
        batch_size=16,
        paths=3,
        sampling="fair",
        same_images=same_images,
        weight_decay=0.0,
        max_minutes=1e-9,
    )
    distil(teacher, space, config, images, progress=False)
    state = torch.load(tmp_path / "stage0-cell0" / "state.pt", weights_only=True)["optimizer"]
    assert all(float(moments["step"]) == 1 for moments in state["state"].values())
    net = Supernet(space, tiny.WIDTHS).cell(0).train()
    assert len(state["state"]) == len(list(net.parameters()))  # all operations were used
    stream = ImageStream(images, batch_size=16, augment="none", seed=0)
    for draw in range(3):
        batch, _ = stream[0 if same_images else draw]
        path = draw_path(space.stages[0].cells[0], draw, "fair", derived_seed(0, "paths", 0, 0))
        (net(batch, path) - teacher.features(batch)[0]).square().mean().backward()
    ordered = [p for p in net.parameters() if p.dim() > 1] + [p for p in net.parameters() if p.dim() <= 1]
    for number, parameter in enumerate(ordered):
        assert parameter.grad is not None
        torch.testing.assert_close(state["state"][number]["exp_avg"], 0.1 * parameter.grad, rtol=1e-4, atol=1e-7)


def test_two_processes_give_the_result_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    other = mp.get_context("spawn").Process(target=ranks.train, args=(1, port, tmp_path / "two"))
    other.start()
    with monkeypatch.context() as patch:
        for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"):
            patch.setenv(name, "")  # so that what is set now is taken back
        ranks.train(0, port, tmp_path / "two")
    other.join()
    assert other.exitcode == 0
    for same_images in (True, False):
        distil(
            tiny.teacher(), tiny.space(), ranks.config(tmp_path / "one", same_images), tiny.images(32), progress=False
        )
        name = str(same_images)
        assert_same(tmp_path / "one" / name, tmp_path / "two" / name, rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------------------------- errors


def test_steps_without_a_finite_loss_leave_no_trace(tmp_path: Path) -> None:
    teacher, space, images = tiny.teacher(), tiny.space(), tiny.images()
    with torch.no_grad():
        teacher.model[4].bias.fill_(float("nan"))
    result = distil(teacher, space, tiny.config(tmp_path), images, progress=False)
    assert [cell.skipped_steps for cell in result.cells] == [0, 4, 4]
    untouched, found = Supernet(space, tiny.WIDTHS).cell(1), load_supernet(tmp_path, space, teacher).cell(1)
    for name, tensor in untouched.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    with pytest.raises(PpudaLikeError, match=r"3 steps of 3 of stage1-cell0 had no finite loss .* \(at most 2 may"):
        distil(teacher, space, tiny.config(tmp_path / "strict", max_skipped=2), images, progress=False)


class _Dying(ThreadPoolExecutor):
    """Its second worker dies."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if args[2].stages == (1,):
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor())
            return future
        return super().submit(fn, *args, **kwargs)


def test_a_worker_that_dies(tmp_path: Path) -> None:
    with _Dying(1) as executor, pytest.raises(PpudaLikeError, match=r"a worker died, .*of stages \[1\] with it"):
        distil(tiny.teacher(), tiny.space(), tiny.config(tmp_path), tiny.images(), executor=executor)
    assert (tmp_path / "stage0-cell0.safetensors").exists()
    assert not (tmp_path / "stage1-cell0.safetensors").exists()


def test_another_run_in_the_folder(together: Path) -> None:
    teacher, space = tiny.teacher(), tiny.space()
    with pytest.raises(CheckpointError, match=r"another config \(different: lr"):
        distil(teacher, space, tiny.config(together, lr=(0.1,)), tiny.images(), progress=False)
    with pytest.raises(CheckpointError, match=r"another data \(different: images, 48 before, now 40"):
        distil(teacher, space, tiny.config(together), tiny.images(40), progress=False)
    with torch.no_grad():
        teacher.model[0].weight.add_(1)
    with pytest.raises(CheckpointError, match=r"another teacher \(different: weights"):
        distil(teacher, space, tiny.config(together), tiny.images(), progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": (0.1, 0.1, 0.1)}, "'lr' must be one for each of the 2 stages"),
        ({"stages": (1, 2)}, r"has stages 0..1 \(got 'stages' \[1, 2\]\)"),
        ({"batch_size": 100}, "48 images make no step of 100"),
        ({"paths": 4, "same_images": False}, "48 images make no step of 96"),
    ],
)
def test_configs_that_do_not_go_with_the_space(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PpudaLikeError, match=message):
        distil(tiny.teacher(), tiny.space(), tiny.config(tmp_path, **changes), tiny.images(), progress=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"lr": ()},
        {"lr": (-1.0,)},
        {"stages": (1, 0)},
        {"stages": ()},
        {"sampling": "other"},
        {"amp": "fp16"},
        {"device": "nowhere"},
        {"betas": (0.9, 1.0)},
        {"max_minutes": 0.0},
    ],
)
def test_values_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(PpudaLikeError, match=f"'{next(iter(changes))}' must be"):
        tiny.config(Path("run"), **changes)


def test_published_schedule() -> None:
    config = DistilConfig.published("run")
    assert config.learning_rate(1, 1) == pytest.approx(0.0045)
    assert config.learning_rate(1, 20) == pytest.approx(0.000607883, rel=1e-6)
    assert config.learning_rate(0, 20) / 0.002 == pytest.approx(0.1216, abs=5e-5)
