"""Reports for people and programs."""

from ppuda_like.ghn import PredictionReport, TensorReport


def report() -> PredictionReport:
    kept = [TensorReport(f"table.{i}", (5,), "kept", "used by 'embedding'") for i in range(6)]
    return PredictionReport(
        model="Net",
        tensors=(
            TensorReport("conv.weight", (64, 3, 3, 3), "predicted", "leading 64x3x3x3 of a block of 64x64x11x11"),
            TensorReport("fc.weight", (100, 70), "tiled", "repeated"),
            TensorReport("stem.weight", (8, 3, 16, 16), "resized", "enlarged"),
            TensorReport("scale", (), "kept", "the forward pass does not use it"),
            *kept,
        ),
        milliseconds=12.3,
    )


def test_totals() -> None:
    assert report().total_params == 64 * 27 + 7000 + 8 * 768 + 1 + 30
    assert report().predicted_params == 64 * 27 + 7000 + 8 * 768
    assert report().num_predicted == 3
    assert [tensor.name for tensor in report().of_status("tiled", "resized")] == ["fc.weight", "stem.weight"]


def test_summary_in_words() -> None:
    assert str(report()).splitlines() == [
        "Net: predicted 3 of 10 tensors, 14,872 of 14,903 parameters, in 12 ms",
        "  predicted     1 tensors          1,728 parameters",
        "  tiled         1 tensors          7,000 parameters",
        "  resized       1 tensors          6,144 parameters",
        "  kept          7 tensors             31 parameters",
        "    the forward pass does not use it: scale",
        "    used by 'embedding': table.0, table.1, table.2, table.3 and 2 more",
    ]


def test_table_of_tensors() -> None:
    lines = report().table().splitlines()
    assert len(lines) == 11
    assert lines[0].split() == ["parameter", "shape", "status", "how"]
    assert lines[1].split()[:4] == ["conv.weight", "64x3x3x3", "predicted", "leading"]
    assert lines[4].split()[:3] == ["scale", "1", "kept"]
