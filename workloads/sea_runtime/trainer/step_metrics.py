"""What is made of a step's metrics on its way to the log and to the coordinator, and its seconds.

`stage_trainer.py` reports them; `rl.py` and `sft.py` say what a step's metrics are.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Drops metrics without a finite value: JSON has no NaN, and one must not stop a stage."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


_SHOWN = {
    "reward": "reward {:.3f}",
    "loss": "loss {:.4g}",
    "answer_loss": "loss per answer token {:.4f}",
    "validation_loss": "validation loss {:.4f}",
    "approx_kl": "KL {:.3g}",
    "entropy": "entropy {:.3f}",
    "grad_norm": "gradient norm {:.3g}",
    "learning_rate": "rate {:.3g}",
    "staleness": "staleness {:.2f}",
    "tokens_per_s": "{:.0f} tokens/s",
}
"""Metrics in a step's line of the log, in this order."""


def step_line(stage: str, step: int, total: int, metrics: Mapping[str, float]) -> str:
    """One line for people; metrics that the stage doesn't have are left out, NaN is shown."""
    shown = [text.format(metrics[name]) for name, text in _SHOWN.items() if name in metrics]
    return f"{stage} step {step}/{total}: {', '.join(shown)}"


class StepTimer:
    """Adds up wall-clock seconds by name; `take` reads and clears them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def take(self, *names: str) -> dict[str, float]:
        """Seconds since the last call; the given names are in it even if they took no time."""
        taken = dict.fromkeys(names, 0.0) | self._seconds
        self._seconds = {}
        return taken
