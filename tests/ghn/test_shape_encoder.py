"""Rows of the tables of sizes."""

import pytest
import torch

from ppuda_like.ghn import ShapeEncoder


@pytest.fixture
def encoder() -> ShapeEncoder:
    return ShapeEncoder(8, num_classes=10, max_kernel=11)


def channels(encoder: ShapeEncoder, *counts: int) -> list[int]:
    known = sorted({1, 3, 10, *range(8, 64, 8), *range(64, 4096, 16), *range(4096, 8193, 32)})
    rows = encoder.index([(count, 1, 1, 1) for count in counts])[:, 0].tolist()
    return [known[row] for row in rows]


def kernels(encoder: ShapeEncoder, *sizes: int) -> list[int]:
    known = [1, 3, 5, 7, 9, 11, 14, 16]
    return [known[row] for row in encoder.index([(1, 1, size, 1) for size in sizes])[:, 2].tolist()]


def test_known_channels_have_rows_of_their_own(encoder: ShapeEncoder) -> None:
    counts = [1, 3, 8, 10, 16, 56, 64, 80, 4080, 4096, 4128, 8192]
    assert channels(encoder, *counts) == counts


def test_unknown_channels_take_the_nearest_row_the_lower_on_a_tie(encoder: ShapeEncoder) -> None:
    assert channels(encoder, 2, 4, 5, 7) == [1, 8, 8, 8]
    assert channels(encoder, 9, 11, 12, 13, 14) == [8, 10, 10, 10, 16]
    assert channels(encoder, 72, 73, 4112, 4113, 9000) == [64, 80, 4096, 4128, 8192]


def test_class_counts_from_four_to_seven_are_known_where_they_are_wanted() -> None:
    encoder = ShapeEncoder(8, num_classes=5, max_kernel=11)
    rows = encoder.index([(5, 1, 1, 1), (6, 1, 1, 1)])[:, 0].tolist()
    assert rows == [2, 3]  # 1, 3, 5, 8, ...


def test_unknown_kernels_take_the_nearest_row_and_two_reads_as_three(encoder: ShapeEncoder) -> None:
    assert kernels(encoder, 1, 2, 3, 4, 6, 8, 12, 13, 15, 16, 31) == [1, 3, 3, 3, 5, 7, 11, 14, 14, 16, 16]


def test_sizes_of_the_tables() -> None:
    assert ShapeEncoder(32, num_classes=10, max_kernel=11).embed_channel.weight.shape == (392, 8)
    assert ShapeEncoder(32, num_classes=10, max_kernel=11).embed_spatial.weight.shape == (9, 8)
    assert ShapeEncoder(32, num_classes=1000, max_kernel=16).embed_spatial.num_embeddings == 11


def test_features_are_those_of_the_four_sizes_in_order(encoder: ShapeEncoder) -> None:
    with torch.no_grad():
        encoder.embed_channel.weight.copy_(torch.arange(392.0)[:, None].expand(-1, 2))
        encoder.embed_spatial.weight.copy_(1000 + torch.arange(9.0)[:, None].expand(-1, 2))
    found = encoder(encoder.index([(1, 3, 5, 7), (0, 0, 0, 0)]))
    assert found[0, ::2].tolist() == [0, 1, 1002, 1003]
    assert found[1, ::2].tolist() == [391, 391, 1008, 1008]
