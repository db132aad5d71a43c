import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ppuda_like.errors import CodeError
from ppuda_like.predictors import cell_graph
from ppuda_like.search.ncp import NASBENCH201, CellCode
from ppuda_like.search.ncp._cell_network import _Cell

POOL, NONE, SKIP, CONV1, CONV3 = range(5)


@pytest.fixture(autouse=True)
def _seeded() -> object:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("text", "flops", "params"),  # in millions, as the benchmark prints them for CIFAR-100
    [
        (
            "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
            15.65,
            0.135,
        ),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
            113.96,
            0.808,
        ),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 7.79, 0.079),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            220.13,
            1.537,
        ),
    ],
)
def test_costs_are_the_published_ones(text: str, flops: float, params: float) -> None:
    code = CellCode.from_text(text)
    assert code.text == text
    assert round(code.flops / 1e6, 2) == flops
    assert round(code.params / 1e6, 3) == params


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4, 0), (4, 3, 4, 3, 4, 3), (1, 1, 1, 1, 1, 1)])
def test_costs_are_those_of_the_network(numbers: tuple[int, ...]) -> None:
    code = CellCode(numbers)
    graph = code.to_graph()
    assert (graph.macs, graph.num_params) == (code.flops, code.params)
    assert graph.unreached == ()


def test_values_and_graphs() -> None:
    code = CellCode.random(np.random.default_rng(0))
    assert len({code, CellCode(tuple(np.asarray(code)))}) == 1
    assert code.graph() == cell_graph(code.numbers)
    assert [other.numbers for other in code.neighbours()] == [
        tuple(row) for row in NASBENCH201.neighbours(code).tolist()
    ]
    assert len(code.ops) == 6
    with pytest.raises(CodeError, match="e1<0"):
        CellCode((5, 0, 0, 0, 0, 0))


def test_skips_alone_multiply_the_input() -> None:
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(_Cell([SKIP] * 6, 16)(x), 4 * x)


def test_a_chain_of_operations() -> None:
    cell = _Cell([CONV3, NONE, CONV1, NONE, NONE, POOL], 16).eval()
    x = torch.randn(2, 16, 5, 5)
    first = F.conv2d(x.relu(), cell.edges[0][1].weight, padding=1)  # type: ignore[index]
    second = F.conv2d((first / (1 + 1e-5) ** 0.5).relu(), cell.edges[2][1].weight)  # type: ignore[index]
    pooled = F.avg_pool2d(second / (1 + 1e-5) ** 0.5, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(cell(x), pooled)


def test_a_network_without_connections_answers_its_bias() -> None:
    net = CellCode((NONE,) * 6).network(num_classes=7).eval()
    logits = net(torch.randn(3, 3, 32, 32))
    torch.testing.assert_close(logits, net.classifier.bias.expand(3, -1))


def test_halves_are_residual() -> None:
    net = CellCode((NONE, NONE, NONE, SKIP, NONE, NONE)).network().eval()
    reductions = [part for part in net.cells if not isinstance(part, _Cell)]
    assert len(net.cells) == 17
    x = net.stem(torch.randn(1, 3, 32, 32))
    for part in reductions:
        shortcut = F.conv2d(F.avg_pool2d(x, 2), part.shortcut[1].weight)  # type: ignore[index]
        assert shortcut.shape[1:] == (2 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
        torch.testing.assert_close(part(x) - part.residual(x), shortcut)  # type: ignore[operator]
        x = part(x)
    pooled = net.last(x).mean(dim=(2, 3))
    torch.manual_seed(1)
    images = torch.randn(2, 3, 32, 32)
    assert pooled.shape == (1, 64)
    whole = net.stem(images)
    for part in reductions:
        whole = part(whole)
    torch.testing.assert_close(net(images), net.classifier(net.last(whole).mean(dim=(2, 3))))
