"""Decoders, against their formulas written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ppuda_like.ghn import ConvDecoder, MLPDecoder

Shape = tuple[int, int, int, int]
HID, MAX = 4, (8, 8, 5, 5)
SHAPES = [(8, 8, 5, 5), (8, 8, 1, 1), (8, 8, 3, 3), (4, 8, 3, 1), (1, 8, 5, 5), (8, 1, 3, 3), (3, 5, 2, 4)]


def decoder_of(
    kind: type[ConvDecoder] | type[MLPDecoder], *, centered: bool = False, max_shape: Shape = MAX
) -> ConvDecoder | MLPDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(HID, max_shape, num_classes=3, centered=centered).double()


def features(n: int = 2) -> Tensor:
    return torch.randn(n, HID, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def conv_block(decoder: ConvDecoder, x: Tensor, height: int, width: int) -> Tensor:
    places = decoder.fc(x).view(len(x), 4 * HID, 5, 5)[:, :, :height, :width]
    return decoder.conv(places).view(len(x), 8, 8, height, width)


@pytest.mark.parametrize("shape", SHAPES)
def test_conv_decoder_makes_the_leading_part_of_the_largest_block(shape: tuple[int, int, int, int]) -> None:
    decoder, x = decoder_of(ConvDecoder), features()
    assert isinstance(decoder, ConvDecoder)
    whole = conv_block(decoder, x, *shape[2:])
    torch.testing.assert_close(decoder(x, shape), whole[:, : shape[0], : shape[1]])


@pytest.mark.parametrize(("outputs", "inputs"), [(8, 4), (8, 2), (8, 1), (4, 4), (2, 8), (5, 2)])
def test_conv_decoder_takes_the_rows_that_the_reference_takes(outputs: int, inputs: int) -> None:
    # Every (8 / inputs)-th of the first rows, as rows of `inputs` entries.
    decoder, x = decoder_of(ConvDecoder), features()
    assert isinstance(decoder, ConvDecoder)
    last = decoder.conv[2]
    rows = last.weight[: outputs * 8].reshape(-1, inputs, 8 * HID)[:: 8 // inputs].reshape(-1, 8 * HID, 1, 1)
    bias = last.bias[: outputs * 8].reshape(-1, inputs)[:: 8 // inputs].flatten()
    places = decoder.fc(x).view(2, 4 * HID, 5, 5)[:, :, :3, :3]
    wanted = F.conv2d(F.relu(decoder.conv[0](places)), rows, bias).view(2, outputs, inputs, 3, 3)
    torch.testing.assert_close(decoder(x, (outputs, inputs, 3, 3)), wanted)


@pytest.mark.parametrize("kind", [ConvDecoder, MLPDecoder])
@pytest.mark.parametrize(
    ("window", "kernel", "rows", "columns"),
    [
        ((5, 5), (1, 1), [2], [2]),
        ((5, 5), (3, 3), [1, 2, 3], [1, 2, 3]),
        ((5, 5), (2, 4), [1, 2], [0, 1, 2, 3]),
        ((5, 5), (1, 5), [2], [0, 1, 2, 3, 4]),
        ((4, 6), (1, 1), [2], [3]),
        ((4, 6), (3, 3), [1, 2, 3], [2, 3, 4]),
        ((4, 6), (2, 2), [1, 2], [2, 3]),
        ((4, 6), (4, 6), [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_centered_kernels_are_the_middle_of_the_largest(
    kind: type[ConvDecoder] | type[MLPDecoder],
    window: tuple[int, int],
    kernel: tuple[int, int],
    rows: list[int],
    columns: list[int],
) -> None:
    decoder, x = decoder_of(kind, centered=True, max_shape=(8, 8, *window)), features()
    whole = decoder(x, (8, 8, *window))
    wanted = whole[:, :4, :3, rows][..., columns]
    torch.testing.assert_close(decoder(x, (4, 3, *kernel)), wanted)


def test_class_layer_of_a_centered_decoder_is_that_of_the_middle() -> None:
    decoder, x = decoder_of(ConvDecoder, centered=True), features()
    assert isinstance(decoder, ConvDecoder)
    middle = decoder(x, MAX)[..., 2, 2]
    linear = decoder.class_layer_predictor[1].weight[:, :, 0, 0], decoder.class_layer_predictor[1].bias
    wanted = F.linear(F.relu(middle).transpose(1, 2), *linear).transpose(1, 2)
    torch.testing.assert_close(decoder.class_layer(x, 8), wanted)


@pytest.mark.parametrize("inputs", [8, 4, 3])
def test_class_layer_mixes_the_output_channels(inputs: int) -> None:
    decoder, x = decoder_of(ConvDecoder), features()
    assert isinstance(decoder, ConvDecoder)
    wanted = decoder.class_layer_predictor(conv_block(decoder, x, 1, 1)[..., 0])[..., 0]
    assert wanted.shape == (2, 3, 8)
    torch.testing.assert_close(decoder.class_layer(x, inputs), wanted[:, :, :inputs])


@pytest.mark.parametrize("shape", SHAPES)
def test_mlp_decoder_makes_the_leading_part_of_the_largest_block(shape: tuple[int, int, int, int]) -> None:
    decoder, x = decoder_of(MLPDecoder), features()
    assert isinstance(decoder, MLPDecoder)
    whole = decoder.mlp(x).view(2, *MAX)
    torch.testing.assert_close(decoder(x, shape), whole[:, : shape[0], : shape[1], : shape[2], : shape[3]])
    hidden = F.relu(F.linear(x, decoder.mlp.fc[0].weight, decoder.mlp.fc[0].bias))
    layer = decoder.class_layer_predictor[1]
    assert layer.out_features == 3 * 8
    torch.testing.assert_close(decoder.class_layer(x, 5), layer(hidden).view(2, 3, 8)[:, :, :5])
