"""The trainer's world: which pods form an attempt, and whether their processes should run.

A world is fixed when all pods of the role have called, and kept in the ledger. A member that comes
back as another process takes its training processes with it: once they had joined (or if it was
rank 0, whose address the others were told) the attempt has failed and the operator starts the
next one; before that the new process simply takes the place.
"""

from collections.abc import Sequence

from pydantic import BaseModel

from sea_api.contract import pod_name
from sea_api.v1alpha1.policy import Role
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.wire.membership import Heartbeat, PodState, TrainerWorld

FIRST_PORT = 29500


class WorldRecord(BaseModel):
    """What the ledger keeps of an attempt."""

    world: TrainerWorld
    incarnations: dict[str, str]
    joined: bool = False
    """Whether a member has reported that its processes joined."""
    stop_served: bool = False
    """Whether rank 0 was told to commit and stop."""
    stopped: bool = False
    """Whether rank 0's processes have ended after that."""


def trainer_pods(desired: CoordinatorSpec) -> list[str]:
    """Names in rank order: rank 0 runs in ordinal 0."""
    replicas = desired.spec.trainer.replicas
    return [pod_name(desired.job, Role.TRAINER, i) for i in range(replicas)]


def form(desired: CoordinatorSpec, alive: Sequence[Heartbeat]) -> WorldRecord | None:
    """The world of the current attempt, None until all its pods have called."""
    by_pod = {beat.pod: beat for beat in alive}
    names = trainer_pods(desired)
    if any(name not in by_pod for name in names):
        return None
    world = TrainerWorld(
        attempt=desired.attempt,
        pods=names,
        processes_per_pod=max(1, desired.spec.trainer.gpus_per_pod),
        master_address=by_pod[names[0]].address,
        master_port=FIRST_PORT + desired.attempt % 100,
    )
    return WorldRecord(world=world, incarnations={name: by_pod[name].incarnation for name in names})


def replaced(record: WorldRecord, beat: Heartbeat) -> bool:
    """Whether the heartbeat comes from another process than the world's member."""
    known = record.incarnations.get(beat.pod)
    return known is not None and known != beat.incarnation


def may_rejoin(record: WorldRecord, beat: Heartbeat) -> bool:
    """Whether a new process can take its predecessor's place within the attempt."""
    return not record.joined and beat.pod != record.world.pods[0]


def update(record: WorldRecord, beat: Heartbeat) -> WorldRecord:
    """The record after a heartbeat of a member."""
    runs = beat.attempt == record.world.attempt
    joined = record.joined or (runs and beat.state == PodState.READY)
    rank_0_ended = beat.pod == record.world.pods[0] and not runs
    return record.model_copy(
        update={
            "incarnations": {**record.incarnations, beat.pod: beat.incarnation},
            "joined": joined,
            "stopped": record.stopped or (record.stop_served and rank_0_ended),
        }
    )
