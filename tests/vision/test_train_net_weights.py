import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ppuda_like.errors import CheckpointError
from ppuda_like.vision import load_weights, save_weights


def net(seed: int, classes: int = 5) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_what_is_saved_is_loaded(tmp_path: Path, memory_format: torch.memory_format) -> None:
    first, second = net(0), net(1)
    first.to(memory_format=memory_format)
    save_weights(first, tmp_path / "a" / "net.safetensors")
    assert load_weights(second, tmp_path / "a" / "net.safetensors") == ()
    torch.testing.assert_close(state(second), state(first), rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["net.safetensors"]


class Tied(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = nn.Linear(2, 2)
        self.b.weight = self.a.weight
        whole = torch.full((4,), value)
        self.register_buffer("part", whole[:2])
        self.register_buffer("whole", whole)


def test_tied_and_overlapping_tensors(tmp_path: Path) -> None:
    save_weights(Tied(1.0), tmp_path / "net.safetensors")
    assert "b.weight" not in load_file(tmp_path / "net.safetensors")
    found = Tied(2.0)
    load_weights(found, tmp_path / "net.safetensors")
    assert found.a.weight is found.b.weight
    assert found.get_buffer("whole").tolist() == [1.0] * 4


def test_another_class_layer_must_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net(0, classes=7), path)
    model = net(1)
    before = state(model)
    with pytest.raises(
        CheckpointError, match=r"'2.weight' .* shape \(5, 4\) \(got \(7, 4\)\); a new class layer must be"
    ):
        load_weights(model, path)
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    assert load_weights(model, path, new_classes=5) == ("2.weight", "2.bias")
    assert torch.equal(model[2].weight, before["2.weight"])
    assert torch.equal(model[0].weight, net(0)[0].weight)


def test_other_layers_may_not_differ_with_it(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    other = net(0)
    other[0] = nn.Conv2d(3, 6, 3)
    save_weights(other, path)
    with pytest.raises(CheckpointError, match=r"'0.weight' .* must have shape \(4, 3, 3, 3\) \(got \(6, 3, 3, 3\)\)$"):
        load_weights(net(1), path, new_classes=5)
    other[0] = nn.Conv2d(3, 4, 5)
    save_weights(other, path)
    with pytest.raises(CheckpointError, match=r"\(4, 3, 3, 3\) \(got \(4, 3, 5, 5\)\)$"):
        load_weights(net(1), path, new_classes=4)


def test_missing_and_unexpected_names(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"0.weight": torch.zeros(4, 3, 3, 3), "extra": torch.zeros(1)}, path)
    with pytest.raises(
        CheckpointError,
        match=r"missing 0.bias, 1.bias, 1.num_batches_tracked, 1.running_mean and 4 more, unexpected extra;",
    ):
        load_weights(net(0), path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("0.bias", torch.tensor([1.0, math.nan, 0.0, 0.0]), "'0.bias' .* holds NaN or infinity"),
        ("2.bias", torch.zeros(5, dtype=torch.long), "must be of a kind with torch.float32"),
    ],
)
def test_bad_values_change_nothing(tmp_path: Path, name: str, value: Tensor, message: str) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state(net(0)) | {name: value}, path)
    model = net(1)
    before = state(model)
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, path)
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)


def test_other_precision_is_cast(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(net(0).bfloat16(), path)
    model = net(1)
    load_weights(model, path)
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, net(0)[0].weight.bfloat16().float())


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file of weights"):
        load_weights(net(0), tmp_path / "none.safetensors")
    for content in (b"", b"text that is no header", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      cut"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a complete safetensors file"):
            load_weights(net(0), tmp_path / "bad.safetensors")
    for tied in ("[", '{"x": "nowhere"}', '["x"]', "3"):
        save_file(state(net(0)), tmp_path / "tied.safetensors", metadata={"tied": tied})
        with pytest.raises(CheckpointError, match="does not say which tensors are tied"):
            load_weights(net(0), tmp_path / "tied.safetensors")
