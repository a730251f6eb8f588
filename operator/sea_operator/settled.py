"""When another pass over a job would see and do the same: most passes are polls that bring no news.

`reconcile.py` keeps what such a pass has seen, and ends the next one early while that still holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sea_api.v1alpha1.policy import Role
from sea_api.wire.state import CoordinatorState
from sea_operator.children import retry_period
from sea_operator.observed import Observed, SecretSeen, is_leaving
from sea_operator.plan import Plan, Suspension
from sea_operator.settings import Intervals

CALM_POLLS = 3
"""Polls in a row that brought nothing, after which a running job is polled half as often."""


@dataclass(frozen=True)
class Settled:
    """The inputs of a pass that found nothing to do and nothing to wait for.

    Not the whole observation, which holds the children as Python objects.
    """

    revision: int
    token: str | None
    secrets: Mapping[str, SecretSeen]
    state: CoordinatorState | None
    unreachable: str | None
    lacking: frozenset[Role]
    refusals: Mapping[Role, str]
    node_troubles: Mapping[str, str]
    requeue: float
    began: bool
    """Whether a pod but the coordinator's ever ran: its processes may fail without an event."""
    period: int | None
    """Period in which refused pods were asked for last; the next one asks again."""
    polls: int = field(default=0, compare=False)
    """Polls that have found the same since."""

    @classmethod
    def of(cls, seen: Observed, requeue: float, now: float) -> "Settled":
        """`now`: unix seconds."""
        return cls(
            seen.revision,
            seen.token,
            seen.secrets,
            seen.state,
            seen.unreachable,
            seen.lacking,
            seen.refusals,
            seen.node_troubles,
            requeue,
            any(pod.began for pod in seen.pods if pod.role is not Role.COORDINATOR),
            retry_period(now) if seen.refusals else None,
        )

    def still_holds(self, seen: Observed, now: float) -> bool:
        """Whether another pass would see the same, and so decide the same."""
        # By identity: the link returns the very same state for the same text.
        return self.state is seen.state and self == Settled.of(seen, self.requeue, now)

    def polled(self) -> "Settled":
        """After one more poll that brought nothing."""
        return replace(self, polls=self.polls + 1)

    def wait(self, intervals: Intervals) -> float:
        """Seconds until the next poll."""
        if self.polls < CALM_POLLS:
            return self.requeue
        calm = intervals.calm_waiting if self._only_waits(intervals) else intervals.calm
        return max(self.requeue, calm)

    def _only_waits(self, intervals: Intervals) -> bool:
        """For GPUs, for example, whose coming brings an event."""
        # Refused pods bring none, nor does the end of the coordinator's problem.
        if self.requeue < intervals.waiting or self.began or self.lacking:
            return False
        # Nor its check of the inputs, which may end with a sentence at any time.
        state = self.state
        return state is not None and state.prepared is True and state.problem is None


def is_timeless(observed: Observed, plan: Plan) -> bool:
    """True if nothing was done and nothing but news can change that.

    A drain and a deletion run out of time by themselves. A blocked job may wait for something that
    the cache doesn't hold, such as another's object under a name that the job needs. If that object
    is being deleted, the job only waits for its end, which brings no event either: the child stays
    in the plan.
    """
    did = (plan.secret, *plan.applies, *plan.removals, *plan.fenced_removals, *observed.unread)
    waits = (
        plan.lifecycle.suspension is Suspension.DRAINING
        or plan.lifecycle.elastic.timed
        or any(pod.deleted is not None for pod in observed.pods)
        or any(is_leaving(live, observed.job) for live in observed.children.values())
    )
    # A job that is over and has pods keeps the one that failed for a while.
    keeps = plan.lifecycle.over and any(plan.lifecycle.replicas.values())
    ready = not plan.send and plan.lifecycle.blocker is None
    return ready and not waits and not keeps and not any(did)
