"""The trainer's side of membership: its world, its failures, its end while draining."""

import logging

from sea_api.v1alpha1.policy import Cause
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, TrainerFailure
from sea_runtime.coordinator import program, world
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import documents, progress
from sea_runtime.coordinator.membership import SILENCE_S, TRAINER
from sea_runtime.coordinator.world import WorldRecord
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState

log = logging.getLogger(__name__)

WORLD, FAILURE = "world", "trainer-failure"


def on_desired(core: Coordinator, before: CoordinatorSpec | None, now: CoordinatorSpec) -> None:
    """A new attempt starts with a clean slate; one that goes on may be stopped again."""
    if before is not None and before.attempt != now.attempt:
        documents.delete(core.ledger, FAILURE)
        documents.delete(core.ledger, WORLD)
    record = current_world(core)
    if record is not None and not now.drain and (record.stop_served or record.stopped):
        cleared = record.model_copy(update={"stop_served": False, "stopped": False})
        documents.put(core.ledger, WORLD, cleared)


def current_world(core: Coordinator) -> WorldRecord | None:
    """The world of the current attempt, None until it is formed."""
    record = documents.get(core.ledger, WORLD, WorldRecord)
    return record if record and record.world.attempt == core.attempt else None


def failure(core: Coordinator) -> TrainerFailure | None:
    """The first failure of the current attempt: what follows it is its consequence."""
    found = documents.get(core.ledger, FAILURE, TrainerFailure)
    return found if found and found.attempt == core.attempt else None


def user_error(core: Coordinator) -> Problem | None:
    """A mistake of the user that ended the attempt; the next one starts after an edit."""
    found = failure(core)
    if found is None or found.cause != Cause.USER_ERROR:
        return None
    return Problem(
        reason="TrainerStalled",
        message=f"{found.message} The trainer starts again once the job is edited.",
    )


def fail(core: Coordinator, pod: str, cause: str, message: str) -> None:
    """Writes the attempt's failure down, unless it has failed already."""
    if failure(core) is not None:
        return
    log.error("attempt %d failed in %s (%s): %s", core.attempt, pod, cause, message)
    documents.put(
        core.ledger,
        FAILURE,
        TrainerFailure(
            attempt=core.attempt,
            pod=pod,
            cause=cause,
            message=message,
            time=core.wall(),
            spec_generation=core.desired.spec_generation,
        ),
    )


def answer(core: Coordinator, beat: Heartbeat) -> HeartbeatReply:
    """What a supervisor should do now."""
    record = current_world(core) or _form(core)
    if record is None or beat.pod not in record.incarnations:
        return HeartbeatReply()
    if world.replaced(record, beat) and not world.may_rejoin(record, beat):
        fail(
            core,
            beat.pod,
            Cause.PROCESS_EXIT,
            f"Pod {beat.pod} was started anew while attempt {core.attempt} ran; its training "
            "processes are gone.",
        )
        return HeartbeatReply()
    if beat.state == PodState.FAILED and beat.attempt == core.attempt:
        fail(core, beat.pod, beat.cause or Cause.PROCESS_EXIT, beat.detail)
    record = _updated(core, record, beat)
    run = failure(core) is None and not (core.desired.drain and record.stopped)
    return HeartbeatReply(run=run, world=record.world if run else None)


def _form(core: Coordinator) -> WorldRecord | None:
    if core.desired.drain:
        return None
    record = world.form(core.desired, core.members.alive(TRAINER))
    if record is not None:
        log.info("attempt %d: %s", core.attempt, record.world)
        documents.put(core.ledger, WORLD, record)
    return record


def _updated(core: Coordinator, record: WorldRecord, beat: Heartbeat) -> WorldRecord:
    updated = world.update(record, beat)
    if updated != record:
        documents.put(core.ledger, WORLD, updated)
    return updated


def stop_served(core: Coordinator) -> None:
    """Rank 0 was told to commit and stop."""
    record = current_world(core)
    if record is not None and not record.stop_served:
        documents.put(core.ledger, WORLD, record.model_copy(update={"stop_served": True}))


def drained(core: Coordinator) -> bool:
    """Whether no training process runs and everything it did is committed."""
    return _stopped(core) and _committed(core)


def waits_for_a_commit(core: Coordinator) -> bool:
    """Whether nothing holds a drain up any more but steps without a checkpoint."""
    return _stopped(core) and not _committed(core)


def _stopped(core: Coordinator) -> bool:
    if not core.desired.drain:
        return False
    return not any(_runs(core, pod) for pod in world.trainer_pods(core.desired))


def _committed(core: Coordinator) -> bool:
    stage = core.running_stage
    if stage is None or not program.trains(stage):
        return True
    done = progress.step_of_attempt(core.ledger, stage.name, core.attempt)
    checkpoint = progress.newest_checkpoint(core.ledger, stage.name)
    return done == 0 or (checkpoint is not None and checkpoint["step"] >= done)


def _runs(core: Coordinator, pod: str) -> bool:
    """Whether a pod may have training processes; unknown counts as yes."""
    beat = core.members.get(pod)
    if beat is None:
        return core.members.silence(pod) <= SILENCE_S
    return beat.attempt != 0 and beat.state != PodState.FAILED
