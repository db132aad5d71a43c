import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from ppuda_like.deepnets import DeepNets, NetworkConfig, generate, network_graph, sample_network
from ppuda_like.errors import DataError
from ppuda_like.ghn import GHN, GHNConfig, eval_ghn
from ppuda_like.graph import structure_hash
from ppuda_like.predictors import MeasureConfig, PropertyImages, PropertyTable, _measure, measure_properties
from ppuda_like.vision import digits, subset

NETS = (27, 64, 88)  # small ones
CONFIG = MeasureConfig(steps=2, batch_size=8, checks=1, check_images=20)
TIMES = ("time", "train_seconds")


def some(split: str, count: int) -> object:
    return subset(digits(split), torch.arange(count))  # type: ignore[arg-type]


IMAGES = PropertyImages(some("train", 30), some("val", 30), some("test", 70))  # type: ignore[arg-type]


def measured(split: object = "test", nets: object = NETS, **options: object) -> PropertyTable:
    options = {"width": 8, "progress": False, **options}
    return measure_properties(split, nets, IMAGES, CONFIG, **options)  # type: ignore[arg-type]


def values(table: PropertyTable) -> dict[str, list[object]]:
    columns = {name: table[name].tolist() for name in table.columns if name not in TIMES}
    return {"index": np.asarray(table.index).tolist(), "status": list(table.status or ()), **columns} | {
        "hash": np.asarray(table.structure_hash).tolist(),
        "converge_time": [None if math.isnan(value) else value for value in table["converge_time"].tolist()],
    }


@pytest.fixture(scope="module")
def table() -> PropertyTable:
    return measured()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Networks measured, of which the one after a third is interrupted."""
    found: list[int] = []
    before = _measure.measure_network

    def counted(*arguments: object) -> object:
        found.append(len(found))
        if len(found) == 3:
            raise KeyboardInterrupt
        return before(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_measure, "measure_network", counted)
    return found


def test_facts_of_the_networks(table: PropertyTable) -> None:
    for row, number in enumerate(NETS):
        config = sample_network("test", number).replace(C=8)
        model, graph = config.build("meta"), network_graph(config)
        assert table["num_params"][row] == sum(parameter.numel() for parameter in model.parameters())
        assert table["macs"][row] == graph.macs
        assert int(np.asarray(table.structure_hash)[row]) == structure_hash(graph)
    assert len(table.labelled()) == len(NETS)
    assert table.split == "test"


def test_executors_and_sources_measure_the_same(table: PropertyTable, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        assert values(measured(executor=executor)) == values(table)
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        assert values(measured(executor=executor)) == values(table)
        path = generate("test", 100, tmp_path / "nets.h5", executor=executor, progress=False).path
    stored = measured(DeepNets(path, "test")[[88, 64]], None)
    assert values(stored) == {name: [column[2], column[1]] for name, column in values(table).items()}
    assert stored.meta == table.meta


def test_an_interrupted_run_goes_on(table: PropertyTable, tmp_path: Path, calls: list[int]) -> None:
    out = tmp_path / "new" / "labels.csv"
    with pytest.raises(KeyboardInterrupt):
        measured(out=out)
    assert [path.name for path in out.parent.iterdir()] == ["labels.csv.part"]
    assert values(measured(out=out)) == values(table)
    assert len(calls) == 4  # the third one again, and no other
    assert [path.name for path in out.parent.iterdir()] == ["labels.csv"]
    assert values(PropertyTable.load(out)) == values(table)


def test_a_finished_file_is_extended(table: PropertyTable, tmp_path: Path) -> None:
    out = tmp_path / "labels.h5"
    first = measured(nets=NETS[2:], out=out)
    whole = measured(nets=NETS, out=out)
    assert np.asarray(whole.index).tolist() == [88, 27, 64]
    assert whole["time"][0] == first["time"][0]  # not measured anew
    assert sorted(whole["val_loss"].tolist()) == sorted(table["val_loss"].tolist())
    assert np.asarray(measured(nets=NETS[:1], out=out).index).tolist() == [88, 27, 64]


def test_results_of_another_measurement_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "labels.h5"
    measured(nets=[88], out=out)
    before = out.read_bytes()
    for other in ({"width": 16}, {"seed": 5}, {"split": "train", "nets": [14]}):
        with pytest.raises(DataError, match="holds the results of another measurement"):
            measured(**{"nets": [88], "out": out, **other})  # type: ignore[arg-type]
    assert out.read_bytes() == before


def test_accuracy_with_predicted_parameters_is_that_of_the_evaluation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ghn = GHN(GHNConfig.ghn2(num_classes=10, hid=8))
    found = measured(nets=NETS[1:], ghn=ghn)["ghn_test_acc"].tolist()
    wanted = eval_ghn(ghn, "test", NETS[1:], IMAGES.test, width=8, progress=False)
    assert found == [net.top1 for net in wanted.nets]


def test_a_list_of_arguments() -> None:
    nets = [NetworkConfig(C=4, n_cells=1), NetworkConfig(C=8, n_cells=1)]
    found = measured(nets, None, width=None)
    assert (found.split, np.asarray(found.index).tolist()) == ("", [0, 1])
    assert list(found.labelled(nets).graphs) == [network_graph(net) for net in nets]
    with pytest.raises(DataError, match="were not drawn"):
        found.labelled()


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a \.csv or \.h5 file"):
        measured(out=tmp_path / "labels.json")
    with pytest.raises(DataError, match="say how many networks of split 'test'"):
        measured(nets=None)
    with pytest.raises(DataError, match="at least one network to measure"):
        measured(nets=0)
    with pytest.raises(DataError, match="no network -1 in split 'test'"):
        measured(nets=[-1])
    with pytest.raises(DataError, match="network 0 of split 'predefined' is a ResNet-50"):
        measured("predefined", 1)
    with pytest.raises(DataError, match="'seed' is for drawing a split"):
        measured([NetworkConfig(C=4, n_cells=1)], None, seed=1)
    with pytest.raises(DataError, match=r"by their NetworkConfig \(number 0 is a int\)"):
        measured([3], None)
    with pytest.raises(DataError, match="same classes and the same size"):
        measure_properties("test", 1, IMAGES._replace(val=digits("val", 16)), CONFIG)
