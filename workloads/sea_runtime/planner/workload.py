"""What a job works on: lengths of trajectories, turns, and waiting for others. Pure.

A plan is about tokens, and a spec only bounds them: the mean and the spread are assumed, unless
`sea plan` is given metrics of a run.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

ASSUMED_MEAN = 1 / 3
"""Mean length of a trajectory as a share of the context."""
ASSUMED_GENERATED = 0.4
"""Share of a trajectory's tokens that the model generates; the rest are prompts, tool results and
what the user says."""
ASSUMED_SPREAD = 0.6
"""Standard deviation of the logarithm of lengths."""
ASSUMED_TURN_TOKENS = 400
"""Generated tokens per turn of a reasoning agent."""
ASSUMED_TURN_SECONDS = 2.0
"""Per turn, for the user model's answer and the tools."""


@dataclass(frozen=True)
class Workload:
    """One RL step's trajectories; lengths are log-normal, cut at the context."""

    groups: int
    """Per step."""
    group_size: int
    context: int
    mean_tokens: float
    """Of a whole trajectory."""
    generated_share: float = ASSUMED_GENERATED
    spread: float = ASSUMED_SPREAD
    turns: float = 0.0
    """Mean per trajectory; 0: from `ASSUMED_TURN_TOKENS`."""
    turn_seconds: float = ASSUMED_TURN_SECONDS
    source: str = "assumed"

    @property
    def trajectories(self) -> int:
        return self.groups * self.group_size

    @property
    def tokens(self) -> float:
        """Per step."""
        return self.trajectories * self.mean_tokens

    @property
    def generated(self) -> float:
        """Mean generated tokens of a trajectory."""
        return self.mean_tokens * self.generated_share

    @property
    def mean_turns(self) -> float:
        return self.turns or max(1.0, self.generated / ASSUMED_TURN_TOKENS)

    @property
    def mean_square(self) -> float:
        """Mean of the squared length: what causal attention costs."""
        return sum(length * length for length in self.quantiles(200)) / 200

    def quantile(self, share: float) -> float:
        """Length below which a share of the trajectories is, at most the context."""
        # The median that gives the mean, as if nothing were cut: cutting lowers the mean a little.
        middle = math.log(self.mean_tokens) - self.spread**2 / 2
        return min(float(self.context), math.exp(middle + self.spread * _NORMAL.inv_cdf(share)))

    def quantiles(self, count: int) -> list[float]:
        """`count` lengths that represent the distribution, ascending."""
        return [self.quantile((i + 0.5) / count) for i in range(count)]


_NORMAL = NormalDist()


def assumed(groups: int, group_size: int, context: int) -> Workload:
    """What a spec's numbers suggest."""
    return Workload(groups, group_size, context, mean_tokens=context * ASSUMED_MEAN)


def measured(before: Workload, rows: Iterable[Mapping[str, Any]]) -> Workload:
    """With the means of a run's `reports/metrics.jsonl`; `before` if it has no RL step."""
    steps = [row["metrics"] for row in rows if row["metrics"].get("trajectories")]
    if not steps:
        return before
    trajectories = sum(step["trajectories"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    return replace(
        before,
        mean_tokens=tokens / trajectories,
        generated_share=sum(step["generated_tokens"] for step in steps) / tokens,
        source=f"measured over {len(steps)} steps",
    )


def with_mean(before: Workload, mean_tokens: float) -> Workload:
    """With a mean length that the user gives."""
    return replace(before, mean_tokens=mean_tokens, source="mean length given")
