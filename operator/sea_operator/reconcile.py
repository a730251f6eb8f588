"""One pass over one job: observe, decide, apply, report, follow up."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sea_api.v1alpha1.status import Status
from sea_operator.action_backoff import STATUS, Action, ActionBackoff
from sea_operator.apply import FAILURES, Actions, planned
from sea_operator.cache import Key
from sea_operator.claims import ASIDE_SECONDS, Claim, Claims
from sea_operator.decide import SOON_SECONDS, decide
from sea_operator.errors import ConflictError, NotFoundError, OperatorError, TokenExistsError
from sea_operator.kube.client import POD
from sea_operator.leader import NAME
from sea_operator.lifecycle import Context
from sea_operator.log_keeper import LogKeeper
from sea_operator.observe import Sources, observe, refresh
from sea_operator.observed import Blocker, Job, Observed
from sea_operator.plan import Plan
from sea_operator.report import Event, post
from sea_operator.settings import Settings
from sea_operator.settled import Settled, is_timeless
from sea_operator.status import compute
from sea_operator.status_writer import StatusWriter, is_recorded

log = logging.getLogger(__name__)

LOOK: Action = ("read", "job")
DECIDING = ("Stalled", "Suspended", "Complete", "Failed")
"""Conditions that are an input of the next pass."""


def new_token() -> str:
    """256 bits, safe in headers and environments."""
    return secrets.token_urlsafe(32)


@dataclass
class Reconciler:
    """Runs passes. Its memory only saves work: any pass may be the first."""

    sources: Sources
    settings: Settings
    clock: Callable[[], float]
    """Unix seconds."""
    token: Callable[[], str] = new_token
    monotonic: Callable[[], float] = time.monotonic
    complete: Callable[[str], bool] = lambda namespace: True
    """Whether the cache is complete for a namespace; no pass acts on half of it."""
    _claims: Claims = field(init=False)
    _statuses: StatusWriter = field(init=False)
    _logs: LogKeeper = field(init=False)
    _reported: set[Key] = field(default_factory=set)
    _settled: dict[Key, Settled] = field(default_factory=dict)
    _backoffs: dict[Key, tuple[tuple[str, int], ActionBackoff]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._logs = LogKeeper(self.sources.client, self.sources.link)
        self._claims = Claims(f"{self.settings.lease_namespace}/{NAME}", self.monotonic)
        self._statuses = StatusWriter(self.sources, self.settings.identity)

    async def __call__(self, key: Key) -> float | None:
        """Seconds until the job wants another pass, None if there's no such job any more."""
        if not self.complete(key[0]):
            return self.settings.intervals.stalled
        observed = await observe(self.sources, key)
        # Removed first: a pass that fails from here on must not count as settled.
        settled = self._settled.pop(key, None)
        if observed is None:
            self._forget(key)
            return None
        # `observe` itself always runs: the coordinator's answer is what changes without an event.
        if settled is not None and settled.still_holds(observed, self.clock()):
            self._settled[key] = settled = settled.polled()
            wait = settled.wait(self.settings.intervals)
            return max(wait, observed.ask_again_after or 0.0)
        claim = self._claims.judge(key, observed.job.status.operator)
        if claim is Claim.STAND_ASIDE:
            await self._stand_aside(key, observed.job)
            return ASIDE_SECONDS
        if claim is Claim.ACT:
            # Before the decision, whose messages name the place. Holds no slot: a kubelet that
            # doesn't answer keeps nobody else from being served.
            observed = await self._logs.with_failed(observed)
        try:
            if (after := await self._in_slot(key, observed, claim)) is not None:
                return after
        except TokenExistsError:
            # A pass before this one was cut off. Not again and again: it is read from now on.
            log.info("the token of a new job exists", extra={"job": "/".join(key)})
        except NotFoundError:
            # Of the status write, which has read the job again: it was deleted meanwhile, alone or
            # with its namespace, and nothing is left to do.
            if not self._is_gone(key):
                raise
        return await self(key)

    async def _in_slot(self, key: Key, observed: Observed, claim: Claim) -> float | None:
        """Seconds until the next pass; None if that comes at once."""
        async with self.sources.slots.of(key[0]):
            if claim is Claim.ANNOUNCE:
                return await self._announce(key, observed.job)
            return await self._act(key, observed)

    def _forget(self, key: Key) -> None:
        """There is no such job any more."""
        self._claims.forget(key)
        self._logs.forget(key)
        self._reported.discard(key)
        self._statuses.forget(key)
        self._backoffs.pop(key, None)

    async def _act(self, key: Key, observed: Observed) -> float | None:
        """As `_in_slot`."""
        now, backoff = self.clock(), self._backoff(key, observed.job)
        if undeleted := backoff.objects("delete", POD.name):
            observed = replace(observed, undeleted=undeleted)
        plan = decide(observed, self._context(observed, now))
        backoff.retain(planned(plan) | {STATUS} | ({LOOK} if _acts(plan) else set()))
        actions = Actions(
            self.sources, observed, backoff, lambda: self._is_current(observed, backoff)
        )
        # Nothing of a new job that its status could report is there yet, so that comes first, and
        # says after one request what its children take ten. (A job whose status somebody emptied
        # has children.)
        status_first = observed.job.is_new and not observed.children
        current = None
        if _writes_first(plan) and not status_first:
            current = await self._is_current(observed, backoff)
            if current is False and self._is_gone(key):
                return None
            if current is not False:
                # With the pod goes its log, and with the coordinator the way to the object store.
                await self._logs.keep_going(observed, plan)
                await actions.before_status(plan)
        status = compute(observed, plan, backoff.blockers, now, self._conflict(key))
        status = status.model_copy(update={"operator": self._claims.me})
        # The status is written before what it announces is done: a crash in between leaves an
        # announcement that the next pass fulfils, never a restart that nobody counted.
        wrote = await self._statuses.report(observed.job, status, backoff, now)
        if not backoff.fails(STATUS):
            self._claims.wrote(key)
        # Not reached if the write met a conflict: nothing is announced, so nothing is sent or
        # fenced.
        if current is None and _acts(plan):
            # A write proves the view of the job, since its resource version is a precondition.
            # Where none was due, or it failed, only a read does.
            current = wrote is not None or await self._is_current(observed, backoff)
        if status_first and current is not False:
            await actions.before_status(plan)
            if wrote is not None and backoff.blockers:
                return None  # what failed belongs into the status, before anything is tried again
        recorded = not backoff.fails(STATUS) or is_recorded(observed.job.status, status)
        if current is not False and recorded:
            await actions.after_status(plan)
        changed = status if wrote is not None and wrote.changed else None
        return self._next(key, observed, plan, backoff, changed)

    async def _announce(self, key: Key, job: Job) -> float:
        """Writes our name and nothing else: the rest is another operator's, if that lives."""
        named = job.status.model_copy(update={"operator": self._claims.me})
        await self._statuses.write(job, named)
        self._claims.wrote(key)
        return SOON_SECONDS

    async def _stand_aside(self, key: Key, job: Job) -> None:
        """Reports once per claim that another operator works on this job."""
        if key in self._reported:
            return
        self._reported.add(key)
        message = _conflict(self._claims.me, str(job.status.operator))
        log.error(message, extra={"job": "/".join(key)})
        event = Event("OperatorConflict", message, warning=True)
        await post(self.sources.client, job, event, self.settings.identity, self.clock())

    def _conflict(self, key: Key) -> str | None:
        rival = self._claims.rival(key)
        return _conflict(rival, self._claims.me) if rival else None

    def _next(
        self,
        key: Key,
        observed: Observed,
        plan: Plan,
        backoff: ActionBackoff,
        written: Status | None,
    ) -> float:
        """Seconds until the next pass; notes a pass that left nothing to do."""
        if written is not None and _outcomes(observed.job.status) != _outcomes(written):
            return min(plan.requeue, SOON_SECONDS)
        if (wait := backoff.wait()) is not None:
            return min(plan.requeue, max(wait, SOON_SECONDS))
        if self._logs.waits(key):
            return plan.requeue
        # Not after a write: its answer is in the cache under a new
        # revision, so it could never hold. Nor while another operator claims the job, whose end
        # brings no event.
        if written is None and is_timeless(observed, plan) and self._claims.rival(key) is None:
            self._settled[key] = Settled.of(observed, plan.requeue, self.clock())
        return plan.requeue

    def _backoff(self, key: Key, job: Job) -> ActionBackoff:
        """The backoff for the spec in force: after an edit everything is tried at once."""
        spec, kept = (job.uid, job.generation), self._backoffs.get(key)
        if kept is None or kept[0] != spec:
            kept = self._backoffs[key] = (spec, ActionBackoff(self.monotonic))
        return kept[1]

    async def _is_current(self, observed: Observed, backoff: ActionBackoff) -> bool:
        """Whether the pass may act; raises `ConflictError` for a late view of the job.

        Only the status write has its resource version as a precondition, and it comes after the
        children: without this a new leader would apply a spec that its predecessor left behind,
        and a deleted job would get children.
        """
        job = observed.job
        current = await backoff.attempt(
            LOOK, lambda: refresh(self.sources, job), lambda error: _unread(job, error), FAILURES
        )
        if current is False and not self._is_gone((job.namespace, job.name)):
            raise ConflictError(
                f"{job.namespace}/{job.name} was edited, reported on or deleted since resource "
                f"version {job.resource_version}, which this pass is about."
            )
        return bool(current)

    def _is_gone(self, key: Key) -> bool:
        view = self.sources.cache.view(key)
        return view is None or view.job.gone

    def _context(self, observed: Observed, now: float) -> Context:
        # Random bytes are a system call, and only a job's first pass needs them.
        fresh = "" if observed.token else self.token()
        return Context(now, fresh, self.settings.images, self.settings.intervals)


def _unread(job: Job, error: OperatorError) -> Blocker:
    return Blocker(
        "JobUnreadable",
        f"{job.namespace}/{job.name} can't be read, so nothing of it is changed: {error} It is "
        "tried again.",
        transient=True,
    )


def _conflict(aside: str, acting: str) -> str:
    """`aside`, `acting`: Leases of two operators."""
    return (
        f"Operator {aside} leaves this job to operator {acting}, which works on it too: uninstall "
        "one of them, or give them different namespaces (`watchNamespaces` of the chart)."
    )


def _writes_first(plan: Plan) -> bool:
    """Whether anything is written before the status."""
    return any((plan.secret, plan.applies, plan.removals))


def _acts(plan: Plan) -> bool:
    """Whether anything is written or sent that a late view of the job must not bring about."""
    return _writes_first(plan) or any((plan.send, plan.renewals, plan.fenced_removals))


def _outcomes(status: Status) -> dict[str, str]:
    """What the next pass decides by; its change is worth an early look."""
    # Not `Ready` and `Reconciling`, which nothing depends on. A new job has no condition yet, and
    # all of its are False.
    known = {condition.type: condition.status for condition in status.conditions}
    return {kind: known.get(kind, "False") for kind in DECIDING}
