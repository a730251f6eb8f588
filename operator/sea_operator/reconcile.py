"""One pass over one job: observe, decide, apply, report, follow up."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sea_operator.apply import apply, follow_up
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.course import Context
from sea_operator.decide import decide
from sea_operator.kube.client import KubeClient
from sea_operator.observe import observe
from sea_operator.policies.requeue import SOON, refused
from sea_operator.report import report
from sea_operator.settings import Settings
from sea_operator.status import compute

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a job."""


def new_token() -> str:
    """256 bits, safe in headers and environments."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Reconciler:
    """Runs passes; holds no state of any job, so any pass may be the first."""

    client: KubeClient
    link: CoordinatorLink
    settings: Settings
    clock: Callable[[], float]
    """Unix seconds."""
    token: Callable[[], str] = new_token

    async def __call__(self, key: Key) -> float | None:
        """Seconds until the job wants another pass, None if there's no such job any more."""
        namespace, name = key
        observed = await observe(self.client, self.link, namespace, name)
        if observed is None:
            return None
        now = self.clock()
        plan = decide(observed, self._context(now))
        applied = await apply(self.client, observed, plan)
        status = compute(observed, plan, applied.rejected, now)
        wrote = await report(
            self.client, observed.job, status, identity=self.settings.identity, now=now
        )
        await follow_up(self.client, self.link, observed, plan)
        if wrote and _outcomes(observed.job.status) != _outcomes(status):
            return min(plan.requeue, SOON)
        return refused(plan.requeue, self.settings.intervals) if applied.rejected else plan.requeue

    def _context(self, now: float) -> Context:
        return Context(now, self.token(), self.settings.images, self.settings.intervals)


def _outcomes(status: object) -> list[tuple[str, str]]:
    """What the next pass decides by; its change is worth an early look."""
    found = getattr(status, "conditions", [])
    return [(condition.type, condition.status) for condition in found]
