from pathlib import Path

import pytest
from torch import nn

from ppuda_like._factories import ModelError, build_model

CODE = """
from torch import nn

def net(num_classes=3):
    return nn.Linear(4, num_classes)

def fixed():
    return nn.Linear(4, 7)

def no_model():
    return 1

def broken():
    raise KeyError("x")

number = 1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(CODE)
    return path


def test_three_ways_to_name_a_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build_model("resnet18", num_classes=10).get_submodule("fc").out_features == 10
    assert build_model(f"{file}:net").out_features == 3
    assert build_model(f"{file}:net", num_classes=5).out_features == 5
    assert build_model(f"{file}:fixed", num_classes=5).out_features == 7
    monkeypatch.syspath_prepend(file.parent)
    assert isinstance(build_model("nets:net"), nn.Linear)


def test_nothing_is_downloaded() -> None:
    model = build_model("fcn_resnet50", num_classes=2)
    assert sum(p.numel() for p in model.parameters()) > 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet5", r"no model 'resnet5' \(did you mean resnet50"),
        ("zzz", r"no model 'zzz' \(see torchvision"),
        ("nowhere.py:net", "there is no file 'nowhere.py'"),
        ("no_such_package.x:net", "importing 'no_such_package.x' failed: ModuleNotFoundError"),
        ("{file}:nothing", "has no function or class 'nothing'"),
        ("{file}:number", "has no function or class 'number'"),
        ("{file}:no_model", r"must return a torch.nn.Module \(got int\)"),
        ("{file}:broken", "failed: KeyError"),
    ],
)
def test_mistakes(spec: str, message: str, file: Path) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(spec.format(file=file))


def test_file_that_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_that_name")
    with pytest.raises(ModelError, match=r"importing '.*bad\.py' failed: ModuleNotFoundError"):
        build_model(f"{tmp_path / 'bad.py'}:net")
