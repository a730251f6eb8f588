"""pass^k and pass@k (tau-bench, arXiv 2406.12045): how dependable, and how able, an agent is.

Also the five numbers of an evaluation: `scores` takes their means over tasks, `bootstrap` resamples
them; both read the same rows.
"""

from collections.abc import Iterable, Sequence
from math import comb

Trials = Sequence[bool]
"""Outcomes of one task's trials, those without a verdict left out."""

MEASURES = ("passHat1", "passHat2", "passHat3", "passHat4", "passAt4")
"""Names as in status and in `evaluation/<stage>.json`; all in percent."""

LABELS = {
    "passHat1": "pass^1",
    "passHat2": "pass^2",
    "passHat3": "pass^3",
    "passHat4": "pass^4",
    "passAt4": "pass@4",
}

SUCCESS_TOLERANCE = 1e-6


def succeeded(reward: float) -> bool:
    """tau2-bench counts a trial as passed within 1e-6 of reward 1."""
    return abs(reward - 1.0) <= SUCCESS_TOLERANCE


def pass_hat(trials: int, passed: int, k: int) -> float:
    """Probability that k trials drawn without replacement all pass: C(passed, k) / C(trials, k)."""
    if not 1 <= k <= trials or not 0 <= passed <= trials:
        raise ValueError(f"pass^{k} of {passed} passed in {trials} trials is not defined.")
    return comb(passed, k) / comb(trials, k)


def pass_at(trials: int, passed: int, k: int) -> float:
    """Probability that at least one of k trials drawn without replacement passes."""
    if not 1 <= k <= trials or not 0 <= passed <= trials:
        raise ValueError(f"pass@{k} of {passed} passed in {trials} trials is not defined.")
    return 1.0 - comb(trials - passed, k) / comb(trials, k)


def mean_pass_hat(tasks: Iterable[Sequence[bool]], k: int) -> float | None:
    """Mean of pass^k over tasks with at least k trials, in percent; None where there is none."""
    return _mean([pass_hat(len(task), sum(task), k) for task in tasks if len(task) >= k])


def mean_pass_at(tasks: Iterable[Sequence[bool]], k: int) -> float | None:
    """Mean of pass@k over tasks with at least k trials, in percent; None where there is none."""
    return _mean([pass_at(len(task), sum(task), k) for task in tasks if len(task) >= k])


def _mean(values: list[float]) -> float | None:
    return 100.0 * sum(values) / len(values) if values else None


def measures_of_task(trials: Trials) -> list[float | None]:
    """One value per measure, in percent; None where the task has too few trials."""
    n, passed = len(trials), sum(trials)
    hats = [100.0 * pass_hat(n, passed, k) if n >= k else None for k in range(1, 5)]
    return [*hats, 100.0 * pass_at(n, passed, 4) if n >= 4 else None]
