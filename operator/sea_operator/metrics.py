"""`/metrics` for Prometheus, which `web.py` serves next to `/healthz`.

A job's figures are in its status already: they are read from the cache at each scrape, by the
process that leads, so that a job has one series. Passes of the process itself are counted by
`workers.py` as they end.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from sea_api.v1alpha1.status import Roles, RoleStatus, Status
from sea_operator.observed import Job
from sea_operator.timestamps import unix_seconds

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0)
"""Seconds; a pass ends after 120."""
OUTCOMES = ("done", "conflict", "busy", "failed")
"""How a pass may end, as `workers.py` calls it."""
Sample = tuple[tuple[str, ...], float]
"""Values of a family's own labels, and the figure."""


class PassMetrics:
    """Passes of this process, by how they ended."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "sea_operator_passes",
            "Passes over a job: done, given up since the job or the leader had changed (conflict), "
            "put off since its namespace had too many (busy), or failed.",
            ["outcome"],
            registry=self.registry,
        )
        # From 0: otherwise the first failure would not show as an increase.
        for outcome in OUTCOMES:
            self._ended.labels(outcome)
        self._seconds = Histogram(
            "sea_operator_pass_seconds",
            "How long passes took.",
            buckets=BUCKETS,
            registry=self.registry,
        )

    def ended(self, outcome: str, seconds: float) -> None:
        self._ended.labels(outcome).inc()
        self._seconds.observe(seconds)


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def page(passes: PassMetrics, jobs: Sequence[Job], lateness: float, *, leads: bool) -> bytes:
    """The page in Prometheus' text format. Takes tenths of a second with thousands of jobs.

    Args:
        jobs: all that this process knows; shown if it leads.
        lateness: seconds that the first of the due passes has waited; shown if it leads.
    """
    registry = CollectorRegistry()
    own = [
        _gauge("sea_operator_leader", "1 if this process leads.", (), [((), float(leads))]),
        _gauge(
            "sea_operator_pass_lateness_seconds",
            "How long the first of the passes that are due has waited.",
            (),
            # All passes of a standby wait, for as long as it is one.
            [((), lateness)] if leads else [],
        ),
    ]
    registry.register(_Families([*own, *_of_jobs(jobs if leads else ())]))
    return generate_latest(passes.registry) + generate_latest(registry)


def _of_jobs(jobs: Sequence[Job]) -> Iterator[Metric]:
    for name, words, labels, figures in _OF_A_JOB:
        samples = [
            ((job.namespace, job.name, *own), value)
            for job in jobs
            for own, value in figures(job.status)
        ]
        yield _gauge(name, words, ("job_namespace", "job_name", *labels), samples)


def _gauge(
    name: str, words: str, labels: tuple[str, ...], samples: Iterable[Sample]
) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, words, labels=labels)
    for own, value in samples:
        found.add_metric(own, value)
    return found


def _one(value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield (), float(value)


def _of_stage(status: Status, value: int | None) -> Iterator[Sample]:
    if value is not None and status.stage is not None:
        yield (status.stage,), float(value)


def _state(status: Status) -> Iterator[Sample]:
    if status.state is not None:
        state, _, reason = status.state.partition(": ")
        yield (state, reason), 1.0


def _throughput(status: Status) -> Iterator[Sample]:
    if status.throughput is not None:
        yield ("generated",), status.throughput.generated
        yield ("trained",), status.throughput.trained


def _pods(status: Status, number: Callable[[RoleStatus], int]) -> Iterator[Sample]:
    roles = status.roles or Roles()
    for role, found in roles:
        if found is not None:
            yield (role,), float(number(found))


Figures = Callable[[Status], Iterator[Sample]]
_OF_A_JOB: tuple[tuple[str, str, tuple[str, ...], Figures], ...] = (
    (
        "sea_job_state",
        "1 for the job's state, as in the column STATE, and the reason of its condition Ready.",
        ("state", "reason"),
        _state,
    ),
    (
        "sea_job_step",
        "Optimizer steps, or finished episodes of an evaluation, of the stage.",
        ("stage",),
        lambda status: _of_stage(status, status.step),
    ),
    (
        "sea_job_stage_steps",
        "Steps that the stage has in all.",
        ("stage",),
        lambda status: _of_stage(status, status.total_steps),
    ),
    (
        "sea_job_trainer_attempt",
        "Number of the trainer's attempt: it grows with each restart.",
        (),
        lambda status: _one(status.trainer_attempt),
    ),
    (
        "sea_job_reward",
        "Mean reward of the newest training batch.",
        (),
        lambda status: _one(status.reward),
    ),
    (
        "sea_job_staleness_versions",
        "Mean versions by which the newest batch lagged.",
        (),
        lambda status: _one(status.staleness),
    ),
    (
        "sea_job_tokens_per_second",
        "Tokens per second, generated and trained.",
        ("kind",),
        _throughput,
    ),
    (
        "sea_job_checkpoint_version",
        "Weight version of the newest committed checkpoint.",
        (),
        lambda status: _one(status.checkpoint.version if status.checkpoint else None),
    ),
    (
        "sea_job_checkpoint_timestamp_seconds",
        "When the newest checkpoint was committed, seconds since 1970.",
        (),
        lambda status: _one(unix_seconds(status.checkpoint.time) if status.checkpoint else None),
    ),
    (
        "sea_job_pods",
        "Pods that a role should have.",
        ("role",),
        lambda status: _pods(status, lambda role: role.desired),
    ),
    (
        "sea_job_ready_pods",
        "Pods of a role that are ready.",
        ("role",),
        lambda status: _pods(status, lambda role: role.ready),
    ),
)
"""Name, help, labels in addition to those of the job, and the samples of a status."""
