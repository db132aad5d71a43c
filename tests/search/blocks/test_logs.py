from pathlib import Path
from statistics import fmean

import pytest

from ppuda_like.errors import DataError
from ppuda_like.search.blocks import DglLog, read_dgl_log

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module", params=["parallel", "sequential"])
def named(request: pytest.FixtureRequest) -> tuple[str, DglLog]:
    return request.param, read_dgl_log(FIXTURES / f"dgl_{request.param}.log")


PUBLISHED = {  # per cent, by block: best, final, mean of the last ten epochs
    "parallel": [(78.54, 78.35, 77.62), (85.57, 85.25, 84.65), (87.98, 87.90, 87.19), (90.01, 89.86, 89.31)],
    "sequential": [(78.86, 78.55, 77.99), (85.83, 85.77, 85.27), (88.32, 88.28, 87.96), (89.37, 89.13, 89.04)],
}


def test_learning_curves(named: tuple[str, DglLog]) -> None:
    name, log = named
    assert log.blocks == (1, 2, 3, 4)
    assert len(log.rows) == 200
    assert (log.arguments["epochs"], log.arguments["batch_size"]) == (50, 128)
    for n, (best, final, mean) in enumerate(PUBLISHED[name], 1):
        rows = log.of_block(n)
        assert [row.epoch for row in rows] == list(range(1, 51))
        assert 100 * log.best(n).test_top1 == pytest.approx(best, abs=0.005)
        assert 100 * rows[-1].test_top1 == pytest.approx(final, abs=0.005)
        assert 100 * fmean(row.test_top1 for row in rows[-10:]) == pytest.approx(mean, abs=0.005)


def test_comparison_with_synthetic_gradients() -> None:
    log = read_dgl_log(FIXTURES / "dgl_dgl.log")  # of 1500 epochs those that the published figures are of
    rows = {row.epoch: row for row in log.of_block(3)}
    assert log.best(3).epoch == 1345
    assert log.best(3).test_top1 == pytest.approx(0.8564)
    assert [100 * rows[epoch].test_top1 for epoch in (100, 500, 1000)] == pytest.approx([77.88, 83.70, 84.61], abs=0.01)
    assert rows[1499].test_top1 == pytest.approx(0.8505)
    assert fmean(rows[epoch].test_top1 for epoch in range(1490, 1500)) == pytest.approx(0.8513, abs=5e-5)
    assert rows[1499].train_top1 == pytest.approx(0.9886)
    assert rows[1499].loss == 0.05173
    assert log.arguments["context"] is False


HEAD = "Namespace(lr=0.1)\n"
ROW = "n: 1, epoch 1, loss: 1.0, train top1:1 test top1:2 \n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a log"),
        (HEAD, "must be a log"),
        (HEAD + "n: 1, epoch one\n", "line 2 of .* must be 'n: N, epoch E"),
        (HEAD + ROW.replace("1.0", "1.0.0"), "line 2"),
        (HEAD + ROW.replace("top1:2", "top1:200"), "0 to 100"),
        ("lr=0.1\n" + ROW, "first line .* must be 'Namespace"),
        ("Namespace(lr=open('x'))\n" + ROW, "first line .* must be 'Namespace"),
        ("print(lr=1)\n" + ROW, "first line .* must be 'Namespace"),
    ],
)
def test_no_such_log(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_dgl_log(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the log"):
        read_dgl_log(tmp_path / "none.log")
    path = tmp_path / "x.log"
    path.write_text(HEAD + ROW)
    with pytest.raises(DataError, match="no block 2; it has 1"):
        read_dgl_log(path).of_block(2)
