"""The five numbers of an evaluation and what one task contributes to each.

`scores` takes their means, `bootstrap` resamples them; both read them off the same rows.
"""

from collections.abc import Sequence

from sea_data.evaluation import passk

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


def of_task(trials: Trials) -> list[float | None]:
    """One value a measure, in percent; None where the task has too few trials."""
    n, passed = len(trials), sum(trials)
    hats = [100.0 * passk.pass_hat(n, passed, k) if n >= k else None for k in range(1, 5)]
    return [*hats, 100.0 * passk.pass_at(n, passed, 4) if n >= 4 else None]
