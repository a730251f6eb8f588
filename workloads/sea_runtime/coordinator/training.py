"""The trainer's calls: what to train, which batch, what it reports."""

import logging

from sea_api.contract import pod_name
from sea_api.v1alpha1.policy import Cause, Role
from sea_api.v1alpha1.stages import StageType
from sea_runtime.coordinator import goodput, program, trainers
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data import sources
from sea_runtime.coordinator.errors import StaleError
from sea_runtime.coordinator.ledger import batches, progress, stages
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)

log = logging.getLogger(__name__)


class AheadError(Exception):
    """The trainer asks for a step whose predecessor the ledger doesn't know."""

    def __init__(self, fixed: int) -> None:
        super().__init__(fixed)
        self.fixed = fixed
        """The last step whose batch the ledger knows."""


def task(core: Coordinator, attempt: int) -> TrainerTask | None:
    """What rank 0 should do; None while there is nothing."""
    core.require_attempt(attempt)
    if core.desired.drain:
        trainers.stop_served(core)
        return TrainerTask(kind=TaskKind.STOP)
    stage = core.running_stage
    if stage is None or not program.trains(stage):
        return None
    spec, index = core.desired.spec, core.desired.stage_index
    stream = program.stream_of(stage)
    return TrainerTask(
        kind=program.TASKS[stage.type],
        stage=stage.name,
        stage_index=index,
        stream=stream,
        initial_model=program.initial_model(
            spec, index, core.desired.run_url, core.models.get(stream, "")
        ),
        run_url=core.desired.run_url,
        first_version=program.first_version(spec, index),
        spec=sources.for_trainer(core.desired, index),
    )


def batch(core: Coordinator, name: str, step: int, attempt: int) -> bytes | None:
    """The encoded batch of a step, fixed in the ledger before it leaves; None: not ready yet.

    A stage that doesn't run has no batch either: the trainer then asks for its task and learns why.

    Raises:
        AheadError: the ledger has not fixed the batch before this one.
    """
    core.require_attempt(attempt)
    stage = core.running_stage
    if stage is None or stage.name != name or stage.type != StageType.RL:
        return None
    fixed = batches.newest_step(core.ledger, name)
    if step <= fixed:
        return batches.encode(core.ledger, name, step)
    if step > fixed + 1:
        raise AheadError(fixed)
    block = program.rl_block(stage)
    if core.desired.drain or step > block.steps:
        return None
    version = program.first_version(core.desired.spec, core.desired.stage_index) + step - 1
    if not batches.assign(core.ledger, name, step, block.prompts_per_step, version, core.wall()):
        return None
    core.bells.leases.ring()
    return batches.encode(core.ledger, name, step)


def fail_ahead(core: Coordinator, name: str, step: int, fixed: int) -> StaleError:
    """The ledger was restored from an older checkpoint than the one the trainer has in memory."""
    message = (
        f"The trainer asks for step {step} of stage '{name}', but the ledger, restored from a "
        f"checkpoint, knows batches up to step {fixed} only. Training must go on from there."
    )
    rank_0 = pod_name(core.desired.job, Role.TRAINER, 0)
    trainers.fail(core, rank_0, Cause.PROCESS_EXIT, message)
    return StaleError(message)


def require_known(core: Coordinator, name: str, step: int, attempt: int) -> None:
    """A ledger can only vouch for a checkpoint whose batches it knows.

    Raises:
        StaleError: it was restored and knows fewer; the attempt has failed and goes back.
    """
    core.require_attempt(attempt)
    _, stage = core.stage_named(name)
    fixed = batches.newest_step(core.ledger, name)
    if stage.type == StageType.RL and step > fixed:
        raise fail_ahead(core, name, step + 1, fixed)


def report(core: Coordinator, name: str, row: StageProgress) -> None:
    core.require_attempt(row.attempt)
    core.stage_named(name)
    progress.add(core.ledger, name, row, core.wall())
    core.trained.add(row.metrics.get("tokens", 0.0))


def committed(core: Coordinator, name: str, checkpoint: CheckpointCommitted) -> None:
    core.require_attempt(checkpoint.attempt)
    core.stage_named(name)
    covered = progress.commit(core.ledger, name, checkpoint, core.wall())
    log.info("checkpoint of '%s' step %d covers %d groups", name, checkpoint.step, covered)


def done(core: Coordinator, name: str, message: StageDone) -> None:
    """The stage is over; said again, it changes nothing."""
    core.require_attempt(message.attempt)
    core.stage_named(name)
    with core.ledger.transaction(durable=True):
        batches.cover(core.ledger, name, message.step)
        ended = stages.finish(core.ledger, name, core.wall())
    if ended:
        log.info("stage '%s' ended with step %d", name, message.step)
        core.bells.all()


def stage_goodput(core: Coordinator, name: str) -> float | None:
    """Of a training stage: until now, or until it ended."""
    end = stages.finished_at(core.ledger, name) or core.wall()
    return goodput.goodput(progress.steps(core.ledger, name), end)
