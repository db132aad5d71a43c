import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import CheckpointError, PpudaLikeError
from ppuda_like.search.blocks import BlockSearchConfig, Snapshot, WeightMemory


def snapshot(step: int, error: float = 0.5) -> Snapshot:
    return Snapshot(step=step, error=error, tensors={"w": torch.full((2, 3), float(step)), "n": torch.tensor(step)})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("evict", ["oldest", "worst"])
@given(errors=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=12), capacity=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_what_a_full_memory_drops(evict: Any, errors: list[float], capacity: int) -> None:
    memory = WeightMemory(capacity, evict=evict)
    wanted: list[int] = []
    for step, error in enumerate(errors):
        memory.add(snapshot(step, error))
        wanted.append(step)
        if len(wanted) > capacity:
            worst = max(errors[i] for i in wanted)
            wanted.remove(wanted[0] if evict == "oldest" else next(i for i in wanted if errors[i] == worst))
        assert memory.steps == tuple(wanted)
        assert len(memory) == len(wanted)


def test_drawing_removes_and_is_uniform() -> None:
    counts = [0] * 4
    for seed in range(400):
        memory = WeightMemory()
        for step in range(4):
            memory.add(snapshot(step))
        drawn = memory.sample(generator(seed))
        assert drawn.step not in memory.steps
        assert drawn.tensors["w"].equal(snapshot(drawn.step).tensors["w"])
        counts[drawn.step] += 1
    assert min(counts) > 70  # 100 expected, with a standard deviation of 9
    with pytest.raises(PpudaLikeError, match="is empty"):
        WeightMemory().sample(generator())


def test_elements_are_copies() -> None:
    memory, weights = WeightMemory(), torch.zeros(3)
    memory.add(Snapshot(step=0, error=0.0, tensors={"w": weights}))
    weights += 1
    assert memory.sample(generator()).tensors["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("on_disk", [False, True])
def test_going_back_to_a_commit(tmp_path: Path, on_disk: bool) -> None:
    memory = WeightMemory(5, folder=tmp_path, on_disk=on_disk)
    for step in range(7):
        memory.add(snapshot(step, step / 7))
    state = memory.commit()
    memory.prune()

    def played(memory: WeightMemory) -> list[tuple[int, float, list[float]]]:
        found = []
        for number in range(8):
            drawn = memory.sample(generator(number))
            found.append((drawn.step, drawn.error, drawn.tensors["w"].flatten().tolist()))
            memory.add(snapshot(drawn.step + 10, drawn.error))
        return found

    wanted = played(memory)
    for _ in range(2):  # what was drawn since is still there, and what came is gone
        again = WeightMemory(5, folder=tmp_path, on_disk=not on_disk)
        again.load_state_dict(state)
        assert again.steps == (2, 3, 4, 5, 6)
        assert len(list(tmp_path.iterdir())) == 5
        assert played(again) == wanted
    again.commit()
    again.prune()
    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"{n:08d}" for n in again._entries]


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    memory = WeightMemory(folder=tmp_path, on_disk=True)
    memory.add(snapshot(0))
    state = memory.commit()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match=r"cannot read .*00000000"):
        memory.sample(generator())
    assert len(memory) == 1
    path.unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of its 1"):
        WeightMemory(folder=tmp_path).load_state_dict(state)
    with pytest.raises(PpudaLikeError, match="need a 'folder'"):
        WeightMemory(on_disk=True)
    with pytest.raises(PpudaLikeError, match="at least 1 element"):
        WeightMemory(0)
    with pytest.raises(PpudaLikeError, match="without a 'folder'"):
        WeightMemory().commit()


def test_the_memory_of_the_published_search() -> None:
    config = BlockSearchConfig(out=Path("unused"))
    memory = WeightMemory(config.capacity, evict=config.evict)
    for step in range(0, config.pretrain_steps, config.snapshot_steps):
        memory.add(snapshot(step, random.Random(step).random()))
    assert memory.steps == tuple(range(36_000, 40_000, 80))
    assert config.learning_rate(0) == 0.1
    assert config.learning_rate(36_000) == pytest.approx(0.0034227, abs=5e-8)
    assert config.learning_rate(39_920) == pytest.approx(0.0010010, abs=5e-8)
    assert config.learning_rate(50_000) == config.learning_rate(40_000) == 0.001
