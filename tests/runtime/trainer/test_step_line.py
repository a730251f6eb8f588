"""What rank 0 logs of a step, for people."""

import math

import pytest

from sea_runtime.trainer.step_metrics import step_line

RL = {
    "tokens_per_s": 4210.4,
    "loss": 0.021184,
    "reward": 0.4375,
    "approx_kl": 0.0012999,
    "entropy": 0.4123,
    "grad_norm": 0.3141,
    "learning_rate": 1e-5,
    "staleness": 1.2,
    "batch_crc32": 7.0,
}


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (
            RL,
            "rl step 12/100: reward 0.438, loss 0.02118, KL 0.0013, entropy 0.412, "
            "gradient norm 0.314, rate 1e-05, staleness 1.20, 4210 tokens/s",
        ),
        (
            {"loss": 2.5, "answer_loss": 2.25, "grad_norm": 1.0},
            "rl step 12/100: loss 2.5, loss per answer token 2.2500, gradient norm 1",
        ),
        ({"loss": math.nan}, "rl step 12/100: loss nan"),
    ],
)
def test_a_step_in_one_line(metrics: dict[str, float], line: str) -> None:
    assert step_line("rl", 12, 100, metrics) == line
