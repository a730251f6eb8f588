"""What others measured, next to what this planner predicts for the same set-up. Pure.

`make bench-plan` prints the rows, `docs/performance.md` shows them, and a test bounds the ratios:
the formulas of `speed.py`, `transfers.py` and `simulation.py` are wrong by a known amount. What a
source doesn't say is assumed and named in the row; RL steps are in `published_steps.py`.
"""

from dataclasses import dataclass, replace

from sea_runtime.planner import builtin_models, gpus, transfers
from sea_runtime.planner.transfers import Fleet

H800 = replace(gpus.H100, name="H800")


@dataclass(frozen=True)
class Comparison:
    """One row."""

    system: str
    what: str
    published_s: float
    predicted_s: float
    assumed: str
    longest_s: float | None = None
    """Set where the source states no lengths: `predicted_s` is of the shortest that are plausible,
    this of the longest. Such a row tests nothing but that the published time is in between."""

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted_s / self.published_s

    @property
    def longest_ratio(self) -> float | None:
        return self.longest_s / self.published_s if self.longest_s else None


def updates() -> list[Comparison]:
    """Weight updates of Qwen3-235B in bf16."""
    shape = builtin_models.of_source("Qwen3-235B-A22B")
    assert shape is not None
    eight = Fleet(trainers=64, engines=8, tensor=8)
    ours = transfers.update(shape, 2, eight, gpus.H100)
    loading = transfers.load_seconds(shape, 2, 8, H800)
    return [
        Comparison(
            "miles P2P, 8 + 8 nodes of H100",
            "weight update",
            3.16,
            ours.seconds,
            "engines of 8 GPUs; slices over the network to the host, checksums, then to the GPU",
        ),
        Comparison(
            "checkpoint-engine, 8 x H800",
            "weight update, broadcast",
            6.2,
            loading,
            "loading bounds it: 36,945 tensors through load_weights, then from the host to the GPU",
        ),
    ]
