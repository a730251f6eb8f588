"""One rank that saves checkpoints, without Megatron and other ranks."""

from types import SimpleNamespace
from typing import Any

import torch

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer.checkpoint.index import RankIndex


class Alone:
    """A control group of one rank, usable from any thread."""

    def all_gather(self, value: Any) -> list[Any]:
        return [value]

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def broadcast(self, value: Any) -> Any:
        return value

    def min(self, value: float) -> float:
        return value


class State:
    """One rank's share, without Megatron."""

    nbytes = 5

    def __init__(self, _model: Any = None, _optimizer: Any = None) -> None:
        pass

    def index(self) -> RankIndex:
        return RankIndex(
            rank=0, runs=[], sections=[], nbytes=self.nbytes, pieces=[], optimizer_step=1, rng=""
        )

    def copy(self, out: torch.Tensor, start: int = 0) -> None:
        out.copy_(torch.arange(start, start + len(out)).to(torch.uint8))


LAYOUT = ParallelLayout(1, 1, 1, 1, 1, 1, (1,))
NOTHING: Any = SimpleNamespace(layout=LAYOUT)
"""What `State` needs of model and optimizer."""
