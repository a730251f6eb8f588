"""Which pods live: the last heartbeat of each, in memory, and the answers to heartbeats.

A coordinator that has just started knows no pod; it gives every pod the usual silence before it
counts as gone, so that its own restart costs no lease.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sea_api.contract import ENGINE_PORT, role_label
from sea_api.v1alpha1.policy import Role
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState

# Fifteen heartbeats: one that is late must not cost the episodes of a pod.
SILENCE_SECONDS = 15.0
TRAINER, ROLLOUT, USER_ROLE = map(role_label, (Role.TRAINER, Role.ROLLOUT, Role.USER))


@dataclass(frozen=True)
class Member:
    beat: Heartbeat
    seen: float
    """Monotonic seconds of the last heartbeat."""
    number: int
    """Serial number of that heartbeat: tells what came before what, whatever the clock says."""


class Membership:
    """All pods that ever called in this life of the coordinator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._members: dict[str, Member] = {}
        self.heartbeats = 0
        """How many have come."""

    def heard(self, beat: Heartbeat) -> Heartbeat | None:
        """Takes a heartbeat; returns the pod's previous one."""
        before = self._members.get(beat.pod)
        self.heartbeats += 1
        self._members[beat.pod] = Member(beat, self._clock(), self.heartbeats)
        return before.beat if before else None

    def get(self, pod: str) -> Heartbeat | None:
        """The pod's last heartbeat, None if it is silent."""
        member = self._members.get(pod)
        return member.beat if member and self._alive(member) else None

    def alive(self, role: str) -> list[Heartbeat]:
        """Living pods of a role, by name."""
        found = [m.beat for m in self._members.values() if m.beat.role == role and self._alive(m)]
        return sorted(found, key=lambda beat: beat.pod)

    def members(self, role: str) -> dict[str, Member]:
        """All pods of a role that ever called, silent or not."""
        return {pod: one for pod, one in self._members.items() if one.beat.role == role}

    def silence(self, pod: str) -> float:
        """Seconds since the pod called, at most since this coordinator started."""
        member = self._members.get(pod)
        # Our own start stands in for a pod that hasn't called yet: the
        # ledger may know it from before.
        return self._clock() - (member.seen if member else self._started)

    def is_gone(self, pod: str) -> bool:
        """True if the pod has been silent for so long that it counts as gone."""
        return self.silence(pod) > SILENCE_SECONDS

    def gone(self, worker: Worker) -> str | None:
        """Why a worker's leases are to be taken back, None if they aren't."""
        member = self._members.get(worker.pod)
        # First: a restarted worker is alive as a pod, but its episodes are gone.
        if member and member.beat.incarnation != worker.incarnation:
            return f"The worker of pod {worker.pod} was started again."
        if self.is_gone(worker.pod):
            return f"Pod {worker.pod} has not been heard of for {SILENCE_SECONDS:.0f} s."
        return None

    def user_addresses(self, version: int, is_left: Callable[[Heartbeat], bool]) -> list[str]:
        """User engines that serve at least `version`, of the line that goes on."""
        return [
            f"http://{beat.address}:{ENGINE_PORT}"
            for beat in self.alive(USER_ROLE)
            if beat.state == PodState.READY and beat.adopted is not None and beat.adopted >= version
            if not is_left(beat)
        ]

    def _alive(self, member: Member) -> bool:
        return self._clock() - member.seen <= SILENCE_SECONDS


class Heartbeats:
    """A heartbeat arrives: remembers it, wakes waiting workers, answers what the pod should do.

    Args:
        expire: takes back the leases of workers that are gone.
        answer_trainer: what a trainer's supervisor should do.
        required: smallest version that an engine of a stream may serve.
        follow_engine: learns of every heartbeat of an engine, with the one before it.
        restarts: whether an engine of a stream is to restart.
    """

    def __init__(
        self,
        job: Job,
        membership: Membership,
        notifiers: Notifiers,
        *,
        expire: Callable[[], None],
        answer_trainer: Callable[[Heartbeat], HeartbeatReply],
        required: Callable[[str], int],
        follow_engine: Callable[[Heartbeat | None, Heartbeat], None],
        restarts: Callable[[str, Heartbeat], bool],
    ) -> None:
        self._job, self._membership, self._notifiers = job, membership, notifiers
        self._expire, self._answer_trainer, self._required = expire, answer_trainer, required
        self._follow_engine, self._restarts = follow_engine, restarts

    def heard(self, beat: Heartbeat) -> HeartbeatReply:
        """The reply.

        Raises:
            NotReadyError: no spec is in force: the ledger is being restored, or the operator has
                not called yet. Or not all processes that have outlived the ledger have called. The
                pod goes on as it was told last.
        """
        before = self._membership.heard(beat)
        # Not an empty reply, which would end training processes that have outlived the volume, and
        # take their users from the workers.
        desired = self._job.desired
        # A worker that was restarted holds none of its leases: no need to wait for its silence.
        if before is not None and before.incarnation != beat.incarnation:
            self._expire()
        # An engine that adopted a version or became ready may lease now; equal beats would wake all
        # waiters of the job with each heartbeat.
        if before is None or before != beat:
            self._notifiers.leases.notify()
        if beat.role == TRAINER:
            reply = self._answer_trainer(beat)
            if beat.leaving:
                # Rank 0 may wait for a batch: there will be none.
                self._notifiers.batches.notify()
            return reply
        self._follow_engine(before, beat)
        if beat.role != ROLLOUT:
            return HeartbeatReply(restart=self._restarts(stage_plan.USER, beat))
        users: list[str] = []
        if stage_plan.needs_user_engine(desired.spec):
            required = self._required(stage_plan.USER)
            users = self._membership.user_addresses(
                required, lambda one: self._restarts(stage_plan.USER, one)
            )
        return HeartbeatReply(user_addresses=users, restart=self._restarts(stage_plan.POLICY, beat))
