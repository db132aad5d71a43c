from pathlib import Path

import pytest

from ppuda_like.ghn import NetsConfig, OptimConfig, TrainConfig
from ppuda_like.ghn._train_config import learning_rate


def test_cosine_with_warm_up() -> None:
    config = OptimConfig(lr=1.0, schedule="cosine", warmup=4, final_lr=0.1)
    rates = [learning_rate(config, step, 104) for step in range(105)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == 1.0
    assert rates[54] == pytest.approx(0.55)
    assert rates[104] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_steps_fall_where_those_of_300_epochs_do() -> None:
    config = OptimConfig(lr=1.0, schedule="step")
    rates = [learning_rate(config, epoch, 300) for epoch in range(300)]
    assert rates == pytest.approx([1.0] * 200 + [0.1] * 50 + [0.01] * 50)


def test_config_is_json_and_its_identity_leaves_out_what_weights_do_not_depend_on() -> None:
    config = TrainConfig(out=Path("a"), workers=2, max_minutes=3)
    assert config.to_dict()["out"] == "a"
    assert config.identity == TrainConfig(out=Path("b")).identity
    assert config.identity != TrainConfig(out=Path("a"), seed=1).identity
    assert config.identity != TrainConfig(out=Path("a"), optim=OptimConfig(lr=0.1)).identity


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NetsConfig(widths=()), "'widths' must hold positive widths"),
        (lambda: NetsConfig(meta_batch=0), r"'meta_batch' must be positive \(got 0\)"),
        (lambda: NetsConfig(pool=-1), "'pool' must be a number of meta-batches"),
        (lambda: OptimConfig(optimizer="sgd"), "'optimizer' must be 'adam' or 'adamw'"),  # type: ignore[arg-type]
        (lambda: OptimConfig(schedule="none"), "'schedule' must be"),  # type: ignore[arg-type]
        (lambda: OptimConfig(ema=1.0), r"'ema' must be in \[0, 1\)"),
        (lambda: TrainConfig(out=Path(), steps=0), "'steps' must be positive"),
        (lambda: TrainConfig(out=Path(), init="zero"), "'init' must be"),  # type: ignore[arg-type]
        (lambda: TrainConfig(out=Path(), fast_share=2.0), r"'fast_share' must be in 0..1"),
    ],
)
def test_values_that_make_no_sense_are_refused(build: type, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
