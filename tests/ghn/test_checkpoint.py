"""Files of weights: those of the reference, and this package's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ppuda_like._bundled import Bundled
from ppuda_like.errors import CheckpointError
from ppuda_like.ghn import GHN, GHNConfig, list_pretrained
from ppuda_like.ghn import _checkpoint as checkpoint_module

Checkpoint = dict[str, Any]


def released(ghn: GHN) -> Checkpoint:
    """A checkpoint as the reference writes it."""
    config = ghn.config.to_dict()
    config["max_shape"] = tuple(config["max_shape"])
    return {"state_dict": ghn.state_dict(), "config": config, "epoch": 3, "optimzer": {"state": {}, "param_groups": []}}


def assert_same(a: GHN, b: GHN) -> None:
    assert a.config == b.config
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


def ghn3(*, hid: int, kernel: int, num_classes: int = 10) -> GHNConfig:
    """GHN-3 in a size of one's own."""
    shape = (hid, hid, kernel, kernel)
    return GHNConfig(
        max_shape=shape, num_classes=num_classes, hypernet="graphormer", hid=hid, layers=2, heads=2, centered=True
    )


def names(config: GHNConfig) -> list[str]:
    with torch.device("meta"):
        return list(GHN(config).state_dict())


def test_names_of_weights_are_those_of_released_checkpoints() -> None:
    gru = ["gnn.gru.weight_ih", "gnn.gru.weight_hh", "gnn.gru.bias_ih", "gnn.gru.bias_hh"]
    tables = ["embed.weight", "shape_enc.embed_spatial.weight", "shape_enc.embed_channel.weight"]

    def layers(*modules: str) -> list[str]:
        return [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]

    decoders = layers(
        *("decoder.fc.0", "decoder.conv.0", "decoder.conv.2", "decoder.class_layer_predictor.1"),
        *("decoder_1d.fc.0", "decoder_1d.fc.2", "bias_class.1"),
    )
    mlp = layers("gnn.mlp.fc.0", "gnn.mlp.fc.2")
    assert names(GHNConfig.ghn1()) == [*tables, *mlp, *gru, *decoders]
    ve = layers("gnn.mlp_ve.fc.0", "gnn.mlp_ve.fc.2")
    assert names(GHNConfig.ghn2()) == [*layers("ln"), *tables, *mlp, *ve, *gru, *decoders]
    assert names(GHNConfig.mlp()) == [*layers("ln"), *tables, *layers("gnn.fc.0", "gnn.fc.2"), *decoders]


def test_shapes_of_weights_are_those_of_released_checkpoints() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in GHN(GHNConfig.ghn2()).state_dict().items()}
    assert shapes["embed.weight"] == (15, 32)
    assert shapes["shape_enc.embed_channel.weight"] == (392, 8)
    assert shapes["gnn.mlp.fc.0.weight"] == shapes["gnn.mlp_ve.fc.0.weight"] == (16, 32)
    assert shapes["decoder.fc.0.weight"] == (4 * 32 * 121, 32)
    assert shapes["decoder.conv.2.weight"] == (4096, 256, 1, 1)
    assert shapes["decoder_1d.fc.2.weight"] == (128, 64)
    assert shapes["bias_class.1.weight"] == (10, 64)


def test_the_table_of_primitives_keeps_its_name_in_larger_modules(ghn: GHN) -> None:
    state = nn.ModuleDict({"ghn": ghn}).state_dict()
    assert "ghn.embed.weight" in state
    other = nn.ModuleDict({"ghn": GHN(ghn.config)})
    other.load_state_dict(state, strict=True)
    assert_same(other["ghn"], ghn)  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", [GHNConfig.ghn1, GHNConfig.ghn2, GHNConfig.mlp])
def test_reading_a_released_checkpoint(recipe: Callable[..., GHNConfig], tmp_path: Path) -> None:
    ghn = GHN(recipe(hid=8, kernel=5))
    torch.save(released(ghn), tmp_path / "ghn.pt")
    assert_same(GHN.from_ppuda(tmp_path / "ghn.pt", num_classes=10), ghn)
    assert all(parameter.requires_grad for parameter in GHN.from_ppuda(tmp_path / "ghn.pt").parameters())


@pytest.mark.parametrize("recipe", [GHNConfig.ghn1, GHNConfig.ghn2, ghn3, GHNConfig.mlp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(recipe: Callable[..., GHNConfig], dtype: torch.dtype, tmp_path: Path) -> None:
    ghn = GHN(recipe(hid=8, kernel=5, num_classes=7)).to(dtype)
    path = tmp_path / "new" / "ghn.safetensors"
    ghn.save_pretrained(path)
    ghn.save_pretrained(path)
    assert_same(GHN.from_pretrained(path, num_classes=7), ghn)
    assert [file.name for file in path.parent.iterdir()] == ["ghn.safetensors"]
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header["format"] == "1"
    assert GHNConfig.from_dict(json.loads(header["config"])) == ghn.config


def test_half_precision_files_are_widened(ghn: GHN, tmp_path: Path) -> None:
    ghn.save_pretrained(tmp_path / "half.safetensors", dtype=torch.float16)
    assert_same(GHN.from_pretrained(tmp_path / "half.safetensors"), ghn.half().float())
    kept = GHN.from_pretrained(tmp_path / "half.safetensors", dtype=torch.float16)
    assert kept.op_embedding.weight.dtype == torch.float16


def test_a_failed_save_leaves_the_old_file(ghn: GHN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ghn.safetensors"
    ghn.save_pretrained(path)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint_module, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        ghn.double().save_pretrained(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bundled_checkpoints_are_found_by_name(ghn: GHN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "BUNDLED", Bundled(tmp_path, "checkpoint"))
    ghn.save_pretrained(tmp_path / "ghn2-squares.safetensors")
    assert list_pretrained() == ["ghn2-squares"]
    assert_same(GHN.from_pretrained("ghn2-squares"), ghn)
    with pytest.raises(CheckpointError, match=r"'ghn2-square' .* did you mean \['ghn2-squares'\]"):
        GHN.from_pretrained("ghn2-square")
    with pytest.raises(CheckpointError, match=r"there are \['ghn2-squares'\]"):
        GHN.from_pretrained("resnet")


def test_every_bundled_checkpoint_can_be_read() -> None:
    for name in list_pretrained():
        assert isinstance(GHN.from_pretrained(name), GHN)


# ------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("read", [GHN.from_ppuda, GHN.from_pretrained])
def test_missing_files_are_named(read: Callable[..., GHN], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint file '.*none\.pt'"):
        read(tmp_path / "none.pt")


@pytest.mark.parametrize("keep", [0, 1, 10, 1000, 0.3, 0.7, -1])
def test_truncated_files_are_refused(ghn: GHN, keep: float, tmp_path: Path) -> None:
    torch.save(released(ghn), tmp_path / "ghn.pt")
    ghn.save_pretrained(tmp_path / "ghn.safetensors")
    for path, read in ((tmp_path / "ghn.pt", GHN.from_ppuda), (tmp_path / "ghn.safetensors", GHN.from_pretrained)):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
        with pytest.raises(CheckpointError, match="not a complete"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello, world, this is text\n" * 9, "not a complete"),
        (b"\x80\x02" + bytes(40), "not a complete"),
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    for name, read in (("a.pt", GHN.from_ppuda), ("a.safetensors", GHN.from_pretrained)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path / name)


class Harmful:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code was run",))


def test_a_pickle_cannot_run_code(ghn: GHN, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**released(ghn), "epoch": Harmful()}, tmp_path / "ghn.pt")
    with pytest.raises(CheckpointError, match="torch could not read it"):
        GHN.from_ppuda(tmp_path / "ghn.pt")
    assert capsys.readouterr().out == ""


def without(key: str) -> Callable[[Checkpoint], Any]:
    return lambda found: {name: value for name, value in found.items() if name != key}


def with_config(**values: Any) -> Callable[[Checkpoint], Any]:
    return lambda found: {**found, "config": {**found["config"], **values}}


def with_weight(key: str, change: Callable[[Tensor], Any]) -> Callable[[Checkpoint], Any]:
    def run(found: Checkpoint) -> Any:
        state = dict(found["state_dict"])
        return {**found, "state_dict": {**state, key: change(state.get(key, torch.zeros(1)))}}

    return run


def poisoned(tensor: Tensor) -> Tensor:
    found = tensor.clone()
    found.view(-1)[-1] = float("nan")
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: [found], r"wanted a dict with 'state_dict' and 'config' \(got list\)"),
        (lambda found: found["state_dict"], r"wanted a dict with 'state_dict' and 'config' \(got \['bias_class"),
        (without("config"), r"wanted a dict with 'state_dict' and 'config'"),
        (lambda found: {**found, "config": "ghn2"}, "its config and its weights must be dicts"),
        (with_config(hypernet="transformer"), "config that is not a GHN's: 'hypernet' must be one of"),
        (with_config(depth=3), r"unknown configuration names \['depth'\]"),
        (with_config(num_classes=100), r"must be floating point of shape"),
        (with_config(ve=False), r"unexpected \['gnn.mlp_ve.fc.0.bias'"),
        (with_weight("extra", torch.clone), r"missing \[\], unexpected \['extra'\]"),
        (
            with_weight("embed.weight", lambda t: t[:-1]),
            r"'embed.weight' .* of shape \(15, 8\) \(got torch.float32 \(14",
        ),
        (with_weight("embed.weight", torch.Tensor.long), r"'embed.weight' .* floating point .*\(got torch.int64"),
        (with_weight("embed.weight", lambda t: "none"), r"'embed.weight' .*\(got str\)"),
        (with_weight("gnn.gru.weight_hh", poisoned), r"'gnn.gru.weight_hh' .* holds NaN or infinity"),
    ],
)
def test_foreign_and_damaged_contents_are_refused(
    ghn: GHN, change: Callable[[Checkpoint], Any], message: str, tmp_path: Path
) -> None:
    torch.save(change(released(ghn)), tmp_path / "ghn.pt")
    with pytest.raises(CheckpointError, match=message):
        GHN.from_ppuda(tmp_path / "ghn.pt")


def test_a_checkpoint_for_other_classes_is_refused(ghn: GHN, tmp_path: Path) -> None:
    torch.save(released(ghn), tmp_path / "ghn.pt")
    ghn.save_pretrained(tmp_path / "ghn.safetensors")
    for read, name in ((GHN.from_ppuda, "ghn.pt"), (GHN.from_pretrained, "ghn.safetensors")):
        with pytest.raises(CheckpointError, match=r"class layers of 10 classes, 100 were asked for"):
            read(tmp_path / name, num_classes=100)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, r"was not written by GHN.save_pretrained: wanted a header with format 1 .*\(got format None"),
        ({"format": "2", "config": "{}"}, r"\(got format '2'"),
        ({"format": "1"}, "was not written by GHN.save_pretrained"),
        ({"format": "1", "config": "{"}, "is not JSON"),
        ({"format": "1", "config": "[]"}, "must be dicts"),
        ({"format": "1", "config": '{"hid": 6}'}, "multiple of 4"),
        ({"format": "1", "config": "{}"}, r"are not those of its config: missing \['bias_class.1.bias'"),
    ],
)
def test_foreign_headers_are_refused(header: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match=message):
        GHN.from_pretrained(tmp_path / "x.safetensors")


def test_nan_is_refused_in_own_files_too(ghn: GHN, tmp_path: Path) -> None:
    with torch.no_grad():
        ghn.ln.weight[0] = float("inf")
    ghn.save_pretrained(tmp_path / "ghn.safetensors")
    with pytest.raises(CheckpointError, match=r"'ln.weight' in .* holds NaN or infinity"):
        GHN.from_pretrained(tmp_path / "ghn.safetensors")
