"""`GET /v1/state`: all that the operator learns, assembled in one read."""

from datetime import UTC, datetime

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.status import CheckpointStatus, EvaluationResult
from sea_api.wire.state import CoordinatorState, StagePhase, StageState
from sea_runtime.coordinator import (
    evaluation,
    goodput,
    program,
    synthesis,
    trainers,
    training,
    weights,
)
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import batches, progress, stages


def assemble(core: Coordinator) -> CoordinatorState:
    """The state now; almost empty while the ledger isn't open."""
    if core.db is None or core.adopted is None:
        return CoordinatorState(problem=core.setbacks.problem)
    desired, current = core.adopted, _metrics_stage(core)
    batch = _newest_batch(core)
    return CoordinatorState(
        spec_digest=desired.digest,
        uid=desired.uid,
        attempt=desired.attempt,
        stages=[_stage(core, stage) for stage in desired.spec.stages],
        problem=(
            trainers.user_error(core)
            or core.problem
            or core.setbacks.problem
            or core.trouble
            or core.making_problem
        ),
        trainer_failure=trainers.failure(core),
        drained=trainers.drained(core) and core.drain_saved == desired.digest,
        weights=weights.status(core),
        checkpoint=_checkpoint(core),
        reward=batch[0] if batch else None,
        staleness=batch[1] if batch else None,
        generated_tokens_per_second=core.generated.per_second(),
        trained_tokens_per_second=core.trained.per_second(),
        goodput=training.stage_goodput(core, current) if current else None,
        evaluation=results(core),
        skipped_rows=core.data.skipped if core.data else None,
    )


def _stage(core: Coordinator, stage: Stage) -> StageState:
    phase = stages.phase(core.ledger, stage.name)
    if stage.type == StageType.EVALUATION:
        step, total = evaluation.progress(core.ledger, stage.name)
    elif stage.type == StageType.SYNTHESIS:
        step, total = synthesis.progress(core, stage)
    else:
        step, total = _steps(core, stage)
    return StageState(
        name=stage.name,
        phase=phase,
        step=step,
        total_steps=total,
        remaining_seconds=(
            _remaining(core, stage, step, total) if phase == StagePhase.RUNNING else None
        ),
    )


def _remaining(core: Coordinator, stage: Stage, step: int, total: int) -> float | None:
    if stage.type in {StageType.EVALUATION, StageType.SYNTHESIS}:
        return _even_remaining(core, stage.name, step, total)
    return goodput.remaining_seconds(progress.steps(core.ledger, stage.name), step, total)


def _steps(core: Coordinator, stage: Stage) -> tuple[int, int]:
    row = progress.newest(core.ledger, stage.name)
    planned = program.rl_block(stage).steps if stage.type == StageType.RL else 0
    return (row["step"], row["total_steps"]) if row else (0, planned)


def _even_remaining(core: Coordinator, name: str, step: int, total: int) -> float | None:
    started = core.ledger.value("SELECT started FROM stages WHERE name = ?", name)
    if not step or started is None:
        return None
    return (core.wall() - started) / step * (total - step)


def _metrics_stage(core: Coordinator) -> str | None:
    """The training stage that runs or ran last."""
    index = min(core.desired.stage_index, len(core.desired.spec.stages) - 1)
    for stage in reversed(core.desired.spec.stages[: index + 1]):
        if program.trains(stage) and stages.phase(core.ledger, stage.name) != StagePhase.PENDING:
            return stage.name
    return None


def _newest_batch(core: Coordinator) -> tuple[float, float] | None:
    for stage in reversed(core.desired.spec.stages):
        step = batches.newest_step(core.ledger, stage.name)
        row = core.ledger.row(
            "SELECT mean_reward, staleness FROM batches WHERE stage = ? AND step = ?",
            stage.name,
            step,
        )
        if row is not None:
            return row[0], row[1]
    return None


def _checkpoint(core: Coordinator) -> CheckpointStatus | None:
    row = progress.newest_checkpoint(core.ledger)
    if row is None:
        return None
    return CheckpointStatus(
        version=row["version"],
        step=row["step"],
        time=datetime.fromtimestamp(row["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        bytes=row["bytes"],
    )


def results(core: Coordinator) -> list[EvaluationResult]:
    """Of all evaluations so far, in the order of stages and, within one, as reported."""
    found = []
    for stage in core.desired.spec.stages:
        rows = core.ledger.rows(
            "SELECT body FROM evaluations WHERE stage = ? ORDER BY domain = 'average', domain",
            stage.name,
        )
        found += [EvaluationResult.model_validate_json(row["body"]) for row in rows]
    return found
