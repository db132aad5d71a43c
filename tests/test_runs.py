import json
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like._runs import (
    JsonLines,
    Means,
    check_same_run,
    checkpoint_file,
    read_state,
    stop_on_signals,
    write_state,
)
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


# ------------------------------------------------------------------------------------------------ training states


def test_a_state_comes_back(tmp_path: Path) -> None:
    assert read_state(tmp_path, 3, "cpu") is None
    parts = {"weights": {"a": torch.arange(3.0)}, "step": 4, "facts": "{}", "means": {"loss": (0.5, 2)}}
    write_state(tmp_path / "run", 3, parts)
    found = read_state(tmp_path / "run", 3, "cpu")
    assert found is not None
    assert torch.equal(found.pop("weights")["a"], torch.arange(3.0))
    assert found == {"format": 3, "step": 4, "facts": "{}", "means": {"loss": (0.5, 2)}}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["state.pt"]


def test_tensors_of_a_state_go_to_the_device(tmp_path: Path) -> None:
    write_state(tmp_path, 1, {"weight": torch.ones(2)})
    found = read_state(tmp_path, 1, torch.device("meta"))
    assert found is not None
    assert found["weight"].is_meta


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_state_cut_short_is_refused_and_kept(tmp_path: Path, keep: float) -> None:
    write_state(tmp_path, 1, {"weight": torch.ones(2)})
    path = tmp_path / "state.pt"
    content = path.read_bytes()[: int(keep * path.stat().st_size)]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read the training state .*; delete '.*state.pt' to start anew"):
        read_state(tmp_path, 1, "cpu")
    assert path.read_bytes() == content


@pytest.mark.parametrize(("content", "found"), [({"format": 2}, "2"), ({}, "None"), ([1], "'list'")])
def test_a_state_of_another_format_is_refused(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=rf"must have format 1 \(got {found}\); delete '"):
        read_state(tmp_path, 1, "cpu")


def test_a_state_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"format": 1, "facts": Evil()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        read_state(tmp_path, 1, "cpu")
    assert not (tmp_path / "harm").exists()


facts = st.recursive(
    st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=3).map(tuple),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(min_size=1, max_size=3), facts))
def test_a_run_is_the_same_as_itself(found: dict[str, Any]) -> None:
    check_same_run(Path("run"), "config", json.loads(json.dumps(found)), found)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({"lr": 0.1}, {"lr": 0.2}, "lr, 0.1 before, now 0.2"),
        ({"lr": 0.1}, {}, "lr, 0.1 before, now none"),
        ({}, {"lr": 0.2}, "lr, none before, now 0.2"),
        ({"nets": {"widths": [8], "pool": 2}}, {"nets": {"widths": (8,), "pool": 3}}, "nets.pool, 2 before, now 3"),
        ({"nets": {}}, {"nets": {"pool": 3}}, "nets, {} before, now none; nets.pool, none before, now 3"),
        ({"a": "x" * 70}, {"a": "y"}, f"a, {'x' * 57}... before, now y"),
        (
            dict.fromkeys("abcde", 1),
            dict.fromkeys("abcde", 2),
            "a, 1 before, now 2; b, 1 before, now 2; c, 1 before, now 2; and 2 more",
        ),
    ],
)
def test_what_changed_between_runs_is_told(before: dict[str, Any], now: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_same_run(Path("run"), "config", before, now)
    assert str(caught.value) == (
        f"the run in 'run' was started with another config (different: {message}); resume with the same one, "
        f"delete '{Path('run/state.pt')}' to start anew, or choose another folder"
    )


def test_what_is_new_and_none_changes_no_run() -> None:
    check_same_run(Path("run"), "config", {"lr": 0.1, "old": None}, {"lr": 0.1, "new": None})
