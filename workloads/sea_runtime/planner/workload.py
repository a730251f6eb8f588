"""What a job works on: lengths of trajectories, turns, and waiting for others. Pure.

A plan is about tokens, and a spec only bounds them: the mean and the spread are assumed, unless
`sea plan` is given metrics of a run.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from sea_api.v1alpha1.stages import RLStage

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
    """One RL step's trajectories; lengths are log-normal, cut at the longest that fits."""

    groups: int
    """Per step."""
    group_size: int
    context: int
    mean_tokens: float
    """Tokens of a whole trajectory, on average."""
    generated_share: float = ASSUMED_GENERATED
    spread: float = ASSUMED_SPREAD
    turns: float = 0.0
    """Mean per trajectory; 0: from `ASSUMED_TURN_TOKENS`."""
    turn_seconds: float = ASSUMED_TURN_SECONDS
    skipped_share: float = 0.0
    """Share of the tokens that no row of the trainer computes: prompts that a group shares, which
    are computed once per row, and what comes after the last loss (`trainer/shared_prefixes.py`)."""
    samples: float = 1.0
    """Sequences per trajectory: with stripped thoughts one per exchange."""
    source: str = "assumed"

    @property
    def trajectories(self) -> int:
        return self.groups * self.group_size

    @property
    def tokens(self) -> float:
        """Per step."""
        return self.trajectories * self.mean_tokens

    @property
    def computed(self) -> float:
        """Tokens that the trainer computes per step."""
        return self.tokens * (1.0 - self.skipped_share)

    @property
    def sequence_tokens(self) -> float:
        """Mean length of a sequence: what an engine has in its cache at the end of one."""
        return self.mean_tokens / self.samples

    @property
    def longest(self) -> float:
        """Tokens of a trajectory whose sequences are all as long as the context."""
        return self.context * self.samples

    @property
    def squared(self) -> float:
        """Squared tokens per step that causal attention costs the trainer.

        Skipped tokens begin a sequence, and nothing but they attends to them alone: of a length L
        with a part s of it skipped, L^2 - (s L)^2 is left.
        """
        whole = self.trajectories * self.mean_square
        return whole * (1.0 - self.skipped_share**2)

    @property
    def generated(self) -> float:
        """Mean generated tokens of a trajectory."""
        return self.mean_tokens * self.generated_share

    @property
    def mean_turns(self) -> float:
        return self.turns or max(1.0, self.generated / ASSUMED_TURN_TOKENS)

    @property
    def mean_square(self) -> float:
        """Mean, over trajectories, of the squared lengths of their sequences."""
        return sum(length * length for length in self.quantiles(200)) / 200 / self.samples

    def quantile(self, share: float) -> float:
        """Length below which a share of the trajectories is, at most `longest`."""
        # The median that gives the mean, as if nothing were cut: cutting lowers the mean a little.
        middle = math.log(self.mean_tokens) - self.spread**2 / 2
        return min(float(self.longest), math.exp(middle + self.spread * _NORMAL.inv_cdf(share)))

    def quantiles(self, count: int) -> list[float]:
        """`count` lengths that represent the distribution, ascending."""
        return [self.quantile((i + 0.5) / count) for i in range(count)]


_NORMAL = NormalDist()


def assumed(groups: int, group_size: int, context: int) -> Workload:
    """What a spec's numbers suggest."""
    return Workload(groups, group_size, context, mean_tokens=context * ASSUMED_MEAN)


def measured(before: Workload, rows: Iterable[Mapping[str, Any]]) -> Workload:
    """The workload with means from a run's `reports/metrics.jsonl`, if it has an RL step."""
    steps = [row["metrics"] for row in rows if row["metrics"].get("trajectories")]
    if not steps:
        return before
    trajectories = sum(step["trajectories"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    skipped = sum(step.get("skipped_fraction", 0.0) * step["tokens"] for step in steps)
    samples = sum(step.get("samples", step["trajectories"]) for step in steps)
    return replace(
        before,
        mean_tokens=tokens / trajectories,
        generated_share=sum(step["generated_tokens"] for step in steps) / tokens,
        skipped_share=skipped / tokens,
        samples=samples / trajectories,
        source=f"measured over {len(steps)} steps",
    )


def with_mean(before: Workload, mean_tokens: float) -> Workload:
    """The workload with a mean length that the user gives."""
    return replace(before, mean_tokens=mean_tokens, source="mean length given")


def unmeasured(known: Workload | None, *, strips: bool) -> Iterator[str]:
    """What a plan leaves out, since only a run can tell it; `strips`: `thinkingHistory: Strip`."""
    if known is None or not known.skipped_share:
        yield (
            "A prompt that a group's trajectories share is planned as computed once for each; the"
            " trainer computes it once per row. --metrics takes the share of the tokens that a run"
            " didn't compute (skipped_fraction)."
        )
    if strips and (known is None or known.samples == 1.0):
        yield (
            "With model.thinkingHistory Strip each exchange is a sequence of its own, which repeats"
            " the dialogue before it without its thoughts; a trajectory is planned as one sequence."
            " --metrics takes a run's tokens and sequences (samples)."
        )


def concurrent_episodes(rl: RLStage) -> int:
    """Episodes at one time over all engines: what the staleness gate admits."""
    groups = min(rl.max_concurrent_groups, (rl.max_staleness + 1) * rl.prompts_per_step)
    return groups * rl.trajectories_per_prompt
