"""A heartbeat arrives: remember it, wake whom it concerns, say what is wanted of the pod."""

from sea_runtime.coordinator import leases, program, trainers
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.membership import ROLLOUT, TRAINER
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply


def heard(core: Coordinator, beat: Heartbeat) -> HeartbeatReply:
    """The reply; for pods that call before the operator did, one that wants nothing."""
    before = core.members.heard(beat)
    if core.adopted is None or core.db is None:
        return HeartbeatReply()
    if before is not None and before.incarnation != beat.incarnation:
        leases.expire(core.ledger, core.members.gone, core.wall())
    if before is None or before != beat:
        core.bells.leases.ring()
    if beat.role == TRAINER:
        return trainers.answer(core, beat)
    if beat.role == ROLLOUT and program.needs_user_engine(core.desired.spec):
        newest = core.required(program.USER)
        return HeartbeatReply(user_addresses=core.members.user_addresses(newest))
    return HeartbeatReply()
