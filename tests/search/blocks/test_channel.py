import threading

import torch
from torch import multiprocessing

from ppuda_like.search.blocks import Frontier
from ppuda_like.search.blocks._channel import Channel, joined, taken_apart


def batch(step: int) -> tuple[Frontier, torch.Tensor]:
    """Another shape now and then, and something passed that is no tensor."""
    width = 2 + step // 3 % 2
    values = (torch.full((2, width), float(step)), torch.full((2,), -step, dtype=torch.double))
    return Frontier(values, (torch.tensor(step), "kept", None, 7)), torch.tensor([step, step])


def test_taken_apart_and_joined() -> None:
    frontier, labels = batch(5)
    tensors, form = taken_apart(frontier, labels)
    found, same = joined(tensors, form)
    assert same is labels
    assert [id(one) for one in (*found.values, *found.passed)] == [id(one) for one in (*frontier[0], *frontier[1])]
    assert taken_apart(*batch(1))[1] == taken_apart(*batch(2))[1] != taken_apart(*batch(3))[1]


def test_batches_arrive_in_order_and_no_more_than_fit() -> None:
    # Two threads hold the two ends: what one process alone has differs from end to end.
    channel = Channel(multiprocessing.get_context("spawn"), 2)
    reader = Channel.__new__(Channel)
    reader.__dict__ = {**channel.__dict__, "_places": [None, None], "_known": [0, 0]}
    written: list[int] = []

    def write() -> None:
        for step in range(9):
            channel.put(*batch(step))
            written.append(step)

    thread = threading.Thread(target=write)
    thread.start()
    for step in range(9):
        found, labels = reader.get()
        wanted, wanted_labels = batch(step)
        assert len(written) <= step + 2
        assert all(one.equal(other) for one, other in zip(found.values, wanted.values, strict=True))
        assert found.passed[0].equal(wanted.passed[0])
        assert found.passed[1:] == wanted.passed[1:]
        assert labels.equal(wanted_labels)
        reader.done()
    thread.join()
