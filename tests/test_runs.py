import json
import math
import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppuda_like._runs import JsonLines, Means, checkpoint_file, stop_on_signals
from ppuda_like.errors import CheckpointError


def test_lines_after_the_resumption_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    for step in (1, 2, 3):
        log({"loss": step / 2}, step)
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    JsonLines(path, after=2)({"loss": 9.0}, 3)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 1.0},
        {"step": 3, "loss": 9.0},
    ]


def test_values_that_are_not_finite_are_null(tmp_path: Path) -> None:
    JsonLines(tmp_path / "m")({"a": math.nan, "b": -math.inf, "c": 2}, 1)
    assert (tmp_path / "m").read_text() == '{"step": 1, "a": null, "b": null, "c": 2}\n'


values = st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(-1e3, 1e3)), max_size=8)


@given(values, values)
def test_means_go_on_after_a_checkpoint(first: list[dict[str, float]], second: list[dict[str, float]]) -> None:
    whole, before, after = Means(), Means(), Means()
    for each in first:
        before.add(each)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    for each in second:
        after.add(each)
    for each in first + second:
        whole.add(each)
    found = whole.take()
    assert after.take() == found
    for key, mean in found.items():
        taken = [each[key] for each in first + second if key in each]
        assert mean == pytest.approx(sum(taken) / len(taken), abs=1e-6)
    assert whole.take() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_set_the_event(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(10)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    found: list[bool] = []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append(stop.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_text("before")

    def fill() -> None:
        with checkpoint_file(path) as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*No space"):
        fill()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
