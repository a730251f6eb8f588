"""The learning curve as a picture: training reward over steps between two evaluations."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patheffects import withStroke

from sea_devcluster.demo.report import Point, Score


def draw(points: Sequence[Point], scores: Sequence[Score], out: Path) -> None:
    """Writes a PNG: rewards of the batches, their running mean, and pass^1 before and after."""
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120)
    steps = [point.step for point in points]
    rewards = [100 * point.reward for point in points]
    axes.plot(steps, rewards, ".", color="#9ab8d8", label="batch reward (training tasks)")
    axes.plot(steps, running_mean(rewards, 7), color="#1f5f9f", label="running mean")
    for score, step in zip(scores, (0, max(steps, default=1)), strict=False):
        axes.errorbar([step], [score.pass1], yerr=[score.standard_error], fmt="o", color="#c0392b")
        axes.annotate(
            f"{score.stage}: {score.pass1:.1f}%",
            (step, score.pass1),
            xytext=(-2 if step == 0 else 4, -26),  # below: the training rewards lie above
            textcoords="offset points",
            ha="left" if step == 0 else "right",
            color="#c0392b",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    axes.set(xlabel="RL step", ylabel="percent", ylim=(0, 100))
    axes.set_title("pass^1 on held-back tasks (red) and reward while training")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    plt.close(figure)


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values at each position."""
    return [
        sum(values[max(0, i + 1 - width) : i + 1]) / len(values[max(0, i + 1 - width) : i + 1])
        for i in range(len(values))
    ]
