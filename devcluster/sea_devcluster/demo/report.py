"""What a finished run reports: scores, learning curve, step times, throughput."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke


@dataclass(frozen=True)
class RunResult:
    """Everything that a finished demo knows about its run."""

    seconds: float
    """Duration of the whole demo."""
    ready_seconds: float | None
    """Until all pods were Ready for the first time."""
    status: dict[str, Any]
    """The job's last status."""
    rows: list[dict[str, Any]]
    """The coordinator's metrics, one row per optimizer step."""
    timeline: list[dict[str, Any]]
    """The coordinator's spans, in Unix seconds."""


@dataclass(frozen=True)
class Point:
    """One RL step of the learning curve."""

    step: int
    reward: float


@dataclass(frozen=True)
class Score:
    """pass^1 of one evaluation stage, in percent."""

    stage: str
    pass1: float
    episodes: int
    tasks: int

    @property
    def standard_error(self) -> float:
        """Standard error of a binomial proportion, in percentage points."""
        share = self.pass1 / 100
        return 100 * math.sqrt(max(share * (1 - share), 1e-9) / max(self.episodes, 1))


def scores(status: dict[str, Any]) -> list[Score]:
    """The evaluation stages' scores averaged over domains, in the order they ran."""
    return [
        Score(row["stage"], row["passHat1"], row["episodes"], row["tasks"])
        for row in status.get("evaluation", [])
        if row["domain"] == "average"
    ]


def learning_curve(rows: Iterable[dict[str, Any]]) -> list[Point]:
    """Reward per RL step; of a step that was computed twice, the last result counts."""
    points = {row["step"]: row["metrics"]["reward"] for row in rows if "reward" in row["metrics"]}
    return [Point(step, points[step]) for step in sorted(points)]


def draw_learning_curve(points: Sequence[Point], scores: Sequence[Score], out: Path) -> None:
    """Writes a PNG: reward per batch, its running mean, and pass^1 before and after training."""
    figure = Figure(figsize=(8, 4.5), dpi=120)
    axes = figure.subplots()
    steps = [point.step for point in points]
    rewards = [100 * point.reward for point in points]
    axes.plot(steps, rewards, ".", color="#9ab8d8", label="batch reward (training tasks)")
    axes.plot(steps, running_mean(rewards, 7), color="#1f5f9f", label="running mean")
    for score, step in zip(scores, (0, max(steps, default=1)), strict=False):
        axes.errorbar([step], [score.pass1], yerr=[score.standard_error], fmt="o", color="#c0392b")
        axes.annotate(
            f"{score.stage}: {score.pass1:.1f}%",
            (step, score.pass1),
            xytext=(-2 if step == 0 else 4, -26),  # below: the training rewards are above
            textcoords="offset points",
            ha="left" if step == 0 else "right",
            color="#c0392b",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    axes.set(xlabel="RL step", ylabel="percent", ylim=(0, 100))
    axes.set_title("pass^1 on held-out tasks (red) and reward while training")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values at each position."""
    return [
        sum(values[max(0, i + 1 - width) : i + 1]) / len(values[max(0, i + 1 - width) : i + 1])
        for i in range(len(values))
    ]
