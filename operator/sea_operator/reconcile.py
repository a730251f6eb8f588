"""One pass over one job: observe, decide, apply, report, follow up."""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Status
from sea_api.wire.state import CoordinatorState
from sea_operator.apply import Applied, apply, follow_up
from sea_operator.cache import Key
from sea_operator.decide import SOON_SECONDS, decide, refused
from sea_operator.errors import ConflictError, NotFoundError
from sea_operator.lifecycle import Context
from sea_operator.observe import Sources, observe, refresh
from sea_operator.observed import Observed, SecretSeen, is_leaving
from sea_operator.plan import Plan, Suspension
from sea_operator.report import report
from sea_operator.settings import Settings
from sea_operator.status import compute

log = logging.getLogger(__name__)


def new_token() -> str:
    """256 bits, safe in headers and environments."""
    return secrets.token_urlsafe(32)


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
    refusals: Mapping[Role, str]
    node_troubles: Mapping[str, str]
    requeue: float

    @classmethod
    def of(cls, seen: Observed, requeue: float) -> "Settled":
        return cls(
            seen.revision,
            seen.token,
            seen.secrets,
            seen.state,
            seen.unreachable,
            seen.refusals,
            seen.node_troubles,
            requeue,
        )

    def still_holds(self, now: Observed) -> bool:
        """Whether another pass would see the same, and so decide the same."""
        # By identity: the link returns the very same state for the same text.
        return self.state is now.state and self == Settled.of(now, self.requeue)


@dataclass
class Reconciler:
    """Runs passes. Its memory only saves work: any pass may be the first."""

    sources: Sources
    settings: Settings
    clock: Callable[[], float]
    """Unix seconds."""
    token: Callable[[], str] = new_token
    complete: Callable[[str], bool] = lambda namespace: True
    """Whether the cache is complete for a namespace; no pass acts on half of it."""
    _settled: dict[Key, Settled] = field(default_factory=dict)

    async def __call__(self, key: Key) -> float | None:
        """Seconds until the job wants another pass, None if there's no such job any more."""
        if not self.complete(key[0]):
            return self.settings.intervals.stalled
        observed = await observe(self.sources, key)
        # Removed first: a pass that fails from here on must not count as settled.
        settled = self._settled.pop(key, None)
        if observed is None:
            return None
        # `observe` itself always runs: the coordinator's answer is what changes without an event.
        if settled is not None and settled.still_holds(observed):
            self._settled[key] = settled
            return settled.requeue
        return await self._act(key, observed)

    async def _act(self, key: Key, observed: Observed) -> float:
        now = self.clock()
        plan = decide(observed, self._context(now))
        if _acts(plan):
            await self._require_current(observed)
        # May raise half way. The status isn't written then, and the next pass plans the rest.
        applied = await apply(self.sources, observed, plan)
        status = compute(observed, plan, applied.rejected, now)
        # The status is written before what it announces is done: a crash in between leaves an
        # announcement that the next pass fulfils, never a restart that nobody counted.
        wrote = await self._report(observed, status, now)
        # Not reached if `report` raised a conflict: nothing is announced, so
        # nothing is sent or fenced.
        await follow_up(self.sources, observed, plan)
        if wrote and _outcomes(observed.job.status) != _outcomes(status):
            return min(plan.requeue, SOON_SECONDS)
        if applied.rejected:
            return refused(plan.requeue, self.settings.intervals)
        # Not after a write: its answer is in the cache under a new
        # revision, so it could never hold.
        if not wrote and _is_timeless(observed, plan, applied):
            self._settled[key] = Settled.of(observed, plan.requeue)
        return plan.requeue

    async def _require_current(self, observed: Observed) -> None:
        """Raises `ConflictError` for a late view of the job.

        Only the status write has its resource version as a precondition, and it comes after the
        children: without this a new leader would apply a spec that its predecessor left behind.
        """
        job = observed.job
        if not await refresh(self.sources, job):
            raise ConflictError(
                f"{job.namespace}/{job.name} was edited, reported on or deleted since resource "
                f"version {job.resource_version}, which this pass is about."
            )

    async def _report(self, observed: Observed, status: Status, now: float) -> bool:
        try:
            return await report(
                self.sources.client,
                self.sources.cache,
                observed.job,
                status,
                identity=self.settings.identity,
                now=now,
            )
        except (ConflictError, NotFoundError):
            # The next pass needn't wait for the watch, which may be silent for minutes.
            await refresh(self.sources, observed.job)
            raise

    def _context(self, now: float) -> Context:
        return Context(now, self.token(), self.settings.images, self.settings.intervals)


def _acts(plan: Plan) -> bool:
    """Whether anything is written before the status, or sent to the coordinator."""
    return plan.send or any((plan.secret, plan.applies, plan.removals))


def _is_timeless(observed: Observed, plan: Plan, applied: Applied) -> bool:
    """True if nothing was done and nothing but news can change that.

    A drain and a deletion run out of time by themselves. A blocked job may wait for something that
    the cache doesn't hold, such as another's object under a name that the job needs. If that object
    is being deleted, the job only waits for its end, which brings no event either.
    """
    did = (plan.secret, *plan.applies, *plan.removals, *plan.fenced_removals, applied.rejected)
    waits = (
        plan.lifecycle.suspension is Suspension.DRAINING
        or any(pod.deleted is not None for pod in observed.pods)
        or any(is_leaving(live, observed.job) for live in observed.children.values())
    )
    return not waits and not plan.send and plan.lifecycle.blocker is None and not any(did)


def _outcomes(status: Status) -> list[tuple[str, str]]:
    """What the next pass decides by; its change is worth an early look."""
    return [(condition.type, condition.status) for condition in status.conditions]
