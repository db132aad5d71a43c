import sys
from pathlib import Path

import pytest

from ppuda_like._tensorboard import TensorBoard
from ppuda_like.errors import PpudaLikeError


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with TensorBoard(tmp_path) as log:
        for step in (1, 2, 3):
            log({"loss": step / 2, "top1": 0.5}, step)
    assert curve(tmp_path, "loss") == [(1, 0.5), (2, 1.0), (3, 1.5)]
    with TensorBoard(tmp_path, after=1) as log:
        log({"loss": 8.0}, 2)
    assert curve(tmp_path, "loss") == [(1, 0.5), (2, 8.0)]


def test_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PpudaLikeError, match=r"needs the package tensorboard .*pip install tensorboard"):
        TensorBoard(tmp_path)
