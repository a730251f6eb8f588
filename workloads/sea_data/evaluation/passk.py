"""pass^k and pass@k (tau-bench, arXiv 2406.12045): how dependable, and how able, an agent is."""

from collections.abc import Iterable, Sequence
from math import comb

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
