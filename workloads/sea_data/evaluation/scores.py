"""Records -> what `evaluation/<stage>.json` holds: pass^k with intervals, failures, by domain.

The coordinator writes it for a stage, `sea evaluate` for a run from the command line; the
operator's status table is `results` of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sea_api.v1alpha1.status import EvaluationResult
from sea_data.evaluation import bootstrap, failures, passk
from sea_data.evaluation.passk import Trials
from sea_data.evaluation.records import EpisodeRecord

AVERAGE = "average"
LONGEST_STAGE = 40
_FIELDS = ("pass_hat1", "pass_hat2", "pass_hat3", "pass_hat4", "pass_at4")

ByDomain = Mapping[str, Mapping[Any, Trials]]


def report(
    stage: str, records: Sequence[EpisodeRecord], *, settings: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """The JSON body; `more` are further facts of the run (`policyVersion`, ...).

    A stage's name longer than status allows is cut.
    """
    stage = stage[:LONGEST_STAGE]
    trials = trials_by_domain(records)
    return {
        "stage": stage,
        **more,
        "settings": dict(settings),
        "results": [item.model_dump(by_alias=True) for item in results(stage, trials)],
        "confidence": confidence(trials),
        "failures": failures.count(records),
        "withoutVerdict": sum(record.reward is None for record in records),
        "neverAsked": sum(record.never_asked for record in records),
        "notes": [*fewer_trials(trials)],
    }


def fewer_trials(domains: ByDomain) -> Iterator[str]:
    """A sentence per measure that says nothing about some of its domain's tasks.

    tau2-bench instead leaves out each k that one task lacks trials for, so that its pass^k are all
    about the same tasks.
    """
    for domain, tasks in _judged(domains).items():
        for k in range(2, 5):
            enough = sum(len(trials) >= k for trials in tasks)
            if 0 < enough < len(tasks):
                also = " and pass@4" if k == 4 else ""
                yield (
                    f"{domain}: pass^{k}{also} of {enough} of {len(tasks)} tasks; the others have "
                    "fewer trials with a verdict."
                )


def trials_by_domain(records: Iterable[EpisodeRecord]) -> dict[str, dict[str, list[bool]]]:
    """Verdicts by domain and task; trials without a verdict are left out, not counted as failed."""
    found: dict[str, dict[str, list[bool]]] = {}
    for record in records:
        task = found.setdefault(record.domain, {}).setdefault(record.key[1], [])
        if record.passed is not None:
            task.append(record.passed)
    return found


def results(stage: str, domains: ByDomain) -> list[EvaluationResult]:
    """One result per domain and, last, `average`: the mean of the domains' numbers."""
    by_domain = [result(stage, name, tasks) for name, tasks in _judged(domains).items()]
    return [*by_domain, average(stage, by_domain)] if by_domain else []


def result(stage: str, domain: str, tasks: Sequence[Trials]) -> EvaluationResult:
    """pass^k of one domain; a k that no task has trials for is None."""
    return EvaluationResult(
        stage=stage,
        domain=domain,
        tasks=len(tasks),
        episodes=sum(map(len, tasks)),
        pass_hat1=passk.mean_pass_hat(tasks, 1) or 0.0,
        pass_hat2=passk.mean_pass_hat(tasks, 2),
        pass_hat3=passk.mean_pass_hat(tasks, 3),
        pass_hat4=passk.mean_pass_hat(tasks, 4),
        pass_at4=passk.mean_pass_at(tasks, 4),
    )


def average(stage: str, domains: Sequence[EvaluationResult]) -> EvaluationResult:
    """Unweighted mean over domains, as the published tables have it."""
    values: dict[str, Any] = {name: _mean([getattr(d, name) for d in domains]) for name in _FIELDS}
    return EvaluationResult(
        stage=stage,
        domain=AVERAGE,
        tasks=sum(domain.tasks for domain in domains),
        episodes=sum(domain.episodes for domain in domains),
        **values,
    )


def confidence(domains: ByDomain) -> dict[str, Any]:
    """95 % intervals by domain and measure, with what it takes to compute them again."""
    found = bootstrap.intervals(_judged(domains), average=AVERAGE)
    return {
        "method": "percentile bootstrap over tasks",
        "level": bootstrap.LEVEL,
        "draws": bootstrap.DRAWS,
        "seed": 0,
        "intervals": found,
    }


def _judged(domains: ByDomain) -> dict[str, list[Trials]]:
    """Tasks with at least one verdict, by domain, sorted; domains without any left out."""
    judged = {name: [t for t in tasks.values() if t] for name, tasks in sorted(domains.items())}
    return {name: tasks for name, tasks in judged.items() if tasks}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
