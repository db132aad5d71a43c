import json
from pathlib import Path

import pytest
import torch
from torch import nn

from ppuda_like.errors import CheckpointError, GraphError
from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import auxiliaries_for, load_blocks, save_blocks, split

OPTIONS = {"features": 16}


def network(width: int = 4) -> nn.Module:
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3)]
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 10))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = network()
    blocks = split(model, Partition.at(trace(model, (2, 3, 8, 8)), ["2"]))
    auxiliaries = auxiliaries_for(blocks, "light-1", 10, **OPTIONS)
    x = torch.rand(8, 3, 8, 8)
    auxiliaries[0](next(blocks.frontiers(x)).newest)  # moves the running statistics
    save_blocks(tmp_path, blocks, auxiliaries, ["light-1"], 10, OPTIONS)
    blocks.eval(), auxiliaries[0].eval()
    torch.save([x, blocks(x), auxiliaries[0](next(blocks.frontiers(x)).newest)], tmp_path / "wanted.pt")
    return tmp_path


def test_what_comes_back_computes_the_same(saved: Path) -> None:
    model = network()
    blocks, auxiliaries = load_blocks(model, saved)
    x, whole, of_first = torch.load(saved / "wanted.pt")
    assert not blocks.training
    assert not auxiliaries[0].training
    assert blocks(x).equal(whole)
    assert model(x).equal(whole)
    assert auxiliaries[0](next(blocks.frontiers(x)).newest).equal(of_first)


def test_another_network(saved: Path) -> None:
    with pytest.raises(GraphError, match="is not one of"):
        load_blocks(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, '"format": 1'),
        ("auxiliaries", None, "lacks auxiliaries"),
        ("auxiliaries", [], "names 0 auxiliary networks of 2 blocks"),
        ("options", {"features": 8}, "the file of the same architecture|shape"),
    ],
)
def test_damaged_facts(saved: Path, key: str, value: object, message: str) -> None:
    path = saved / "blocks.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=message):
        load_blocks(network(), saved)


def test_nothing_there_or_no_json(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no"):
        load_blocks(network(), saved / "elsewhere")
    (saved / "blocks.json").write_text("{")
    with pytest.raises(CheckpointError, match="no JSON file"):
        load_blocks(network(), saved)


def test_a_name_for_each_auxiliary_network(tmp_path: Path) -> None:
    model = network()
    blocks = split(model, Partition.at(trace(model, (2, 3, 8, 8)), ["2"]))
    with pytest.raises(CheckpointError, match="2 blocks have 1 auxiliary networks, each with a name"):
        save_blocks(tmp_path, blocks, auxiliaries_for(blocks, "linear", 10), [], 10)
