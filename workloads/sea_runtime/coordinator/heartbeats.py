"""A heartbeat arrives: remember it, wake waiting workers, answer what the pod should do."""

from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.membership import ROLLOUT, TRAINER, Membership
from sea_runtime.coordinator.notifier import Notifiers
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.weights import WeightRegistry
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply


class Heartbeats:
    """Answers pods from what membership, rendezvous and registry know."""

    def __init__(
        self,
        job: Job,
        membership: Membership,
        scheduler: Scheduler,
        rendezvous: Rendezvous,
        weights: WeightRegistry,
        notifiers: Notifiers,
    ) -> None:
        self._job, self._membership, self._scheduler = job, membership, scheduler
        self._rendezvous, self._weights, self._notifiers = rendezvous, weights, notifiers

    def heard(self, beat: Heartbeat) -> HeartbeatReply:
        """The reply; for pods that call before the operator did, one that wants nothing."""
        before = self._membership.heard(beat)
        known = self._job.known
        if known is None:
            return HeartbeatReply()
        # A worker that was restarted holds none of its leases: no need to wait for its silence.
        if before is not None and before.incarnation != beat.incarnation:
            self._scheduler.expire()
        # An engine that adopted a version or became ready may lease now; equal beats would wake all
        # waiters of the job with each heartbeat.
        if before is None or before != beat:
            self._notifiers.leases.notify()
        if beat.role == TRAINER:
            return self._rendezvous.answer(beat)
        if beat.role == ROLLOUT and stage_plan.needs_user_engine(known.spec):
            version = self._weights.required(stage_plan.USER)
            return HeartbeatReply(user_addresses=self._membership.user_addresses(version))
        return HeartbeatReply()
