"""Which pods form an attempt of the trainer, and what their heartbeats make of it. Pure.

`Rendezvous` (`rendezvous.py`) applies it to the ledger and to the heartbeats that arrive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sea_api.contract import pod_name
from sea_api.lenient import IgnoresUnknown
from sea_api.v1alpha1.edits import Effect
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import Trainer
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.wire.membership import Heartbeat, PodState, TrainerWorld

FIRST_PORT = 29500
RECENT_SECONDS = 5.0
"""Five heartbeats: a pod that has been silent for longer is in no new world."""


class WorldRecord(IgnoresUnknown):
    """What the ledger keeps of an attempt."""

    world: TrainerWorld
    trainer: Trainer | None = None
    """The spec's block that the world was formed for; None in a ledger of an older release."""
    incarnations: dict[str, str]
    joined: bool = False
    """Whether a member has reported that its processes joined."""
    stop_served: bool = False
    """Whether rank 0 was asked to commit and stop."""
    stopped: bool = False
    """Whether rank 0's processes have ended after that."""
    leaving: bool = False
    """Whether a member's pod is being deleted: the attempt ends with a last checkpoint."""


def trainer_pods(desired: CoordinatorSpec) -> list[str]:
    """Names of all pods that may hold ranks, in rank order."""
    pods = desired.trainer_pods or desired.spec.trainer.replicas
    return [pod_name(desired.job, Role.TRAINER, ordinal) for ordinal in range(pods)]


def trainer_size(desired: CoordinatorSpec) -> int:
    """How many of them do."""
    return desired.trainer_size or desired.spec.trainer.replicas


@dataclass(frozen=True)
class Candidate:
    """What the newest heartbeat of a trainer pod says about taking it into a world."""

    beat: Heartbeat
    since_attempt: bool
    """It came after the attempt began: the pod has outlived whatever ended the one before."""
    silent_s: float
    """Seconds since then."""


def form(desired: CoordinatorSpec, heard: Iterable[Candidate]) -> WorldRecord | None:
    """The world of the current attempt, None until enough of its pods have called. Pure.

    Where more pods run than hold ranks, the first ones do; the others are spares, whose processes
    wait warm.
    """
    by_pod = {one.beat.pod: one for one in heard}
    beats: dict[str, Heartbeat] = {}
    for name in trainer_pods(desired):
        one = by_pod.get(name)
        # Five seconds without a call, or none at all: not taken, since a world with a dead member
        # would wait for it until its time-out.
        if one is None or one.beat.leaving or one.silent_s > RECENT_SECONDS:
            continue
        if not one.since_attempt:
            # Heard before the failure, and not since. It either calls within a moment or is passed
            # over; a later pod must not get its rank meanwhile, since sets shrink from the end.
            return None
        beats[name] = one.beat
        if len(beats) == trainer_size(desired):
            return _world_of(desired, beats)
    # All or nothing: a world of fewer ranks than the layout takes couldn't be laid out.
    return None


def _world_of(desired: CoordinatorSpec, beats: Mapping[str, Heartbeat]) -> WorldRecord:
    names = list(beats)
    world = TrainerWorld(
        attempt=desired.attempt,
        pods=names,
        processes_per_pod=max(1, desired.spec.trainer.gpus_per_pod),
        master_address=beats[names[0]].address,
        # Another port per attempt: processes of the one before may not have closed theirs yet.
        master_port=FIRST_PORT + desired.attempt % 100,
    )
    return WorldRecord(
        world=world,
        trainer=desired.spec.trainer,
        incarnations={name: beats[name].incarnation for name in names},
    )


def of_world(spec: Spec, record: WorldRecord | None) -> Spec:
    """The spec as the processes of a world read it. Pure.

    A block with another layout is in force before its pods are replaced. The ranks that still run
    may open their next stage in between: theirs is the layout that their world was formed for, and
    of the new block only what holds from the next step.
    """
    if record is None or record.trainer is None:
        return spec
    later = [n for n in Trainer.model_fields if Trainer.edits.of(n) is Effect.NEXT_STEP]
    newest = {name: getattr(spec.trainer, name) for name in later}
    return spec.model_copy(update={"trainer": record.trainer.model_copy(update=newest)})


def replaced(record: WorldRecord, beat: Heartbeat) -> bool:
    """True if another process than the world's member sent the heartbeat."""
    known = record.incarnations.get(beat.pod)
    return known is not None and known != beat.incarnation


def may_rejoin(record: WorldRecord, beat: Heartbeat) -> bool:
    """Whether a new process can take its predecessor's place within the attempt."""
    return not record.joined and beat.pod != record.world.pods[0]


def update(record: WorldRecord, beat: Heartbeat) -> WorldRecord:
    """The record after a heartbeat of a member. Pure."""
    runs = beat.attempt == record.world.attempt
    joined = record.joined or (runs and beat.state == PodState.READY)
    # Rank 0 commits: once it has ended after a stop, nothing more is written.
    rank_0_ended = beat.pod == record.world.pods[0] and not runs
    return record.model_copy(
        update={
            "incarnations": {**record.incarnations, beat.pod: beat.incarnation},
            "joined": joined,
            # Before all have joined there is nothing to commit, and another pod may take its place.
            "leaving": joined and (record.leaving or (beat.leaving and runs)),
            "stopped": record.stopped or (record.stop_served and rank_0_ended),
        }
    )


def resizes(desired: CoordinatorSpec, record: WorldRecord) -> bool:
    """Whether a running world is to make room for one of another size. Pure."""
    # Only where the operator chooses sizes: an edit of `replicas` begins an attempt by itself, and
    # for a moment the coordinator may hear of it before.
    return desired.trainer_size is not None and desired.trainer_size != len(record.world.pods)


def too_short(record: WorldRecord) -> str:
    """What to say of an attempt that a pod left before its last checkpoint; empty otherwise."""
    if not record.leaving or record.stopped:
        return ""
    return (
        " It was being deleted, and its grace period ended before the last checkpoint was"
        " committed: training goes on from the one before. Raise checkpoint.graceSeconds, as far as"
        " what takes pods away allows."
    )
