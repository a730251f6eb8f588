"""`GET /v1/state`: all that the operator learns, assembled in one read."""

import json
from collections.abc import Callable, Sequence

from sea_api import lenient
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.status import CheckpointStatus, EvaluationResult, Rollback
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import CoordinatorState, StagePhase, StageState
from sea_runtime.coordinator import evaluation, stage_plan, synthesis
from sea_runtime.coordinator.bootstrap import ROLLBACK, timestamp
from sea_runtime.coordinator.drain import Drain
from sea_runtime.coordinator.edits import Edits
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import batches, lineage, progress, stages
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.problems import Problems
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.run_folder import newest_model
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.training import Training
from sea_runtime.coordinator.weights import WeightRegistry


class StateReport:
    """Reads all components; owns nothing."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        scheduler: Scheduler,
        training: Training,
        rendezvous: Rendezvous,
        weights: WeightRegistry,
        preconditions: Preconditions,
        drain: Drain,
        edits: Edits,
        problems: Problems,
        wall: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._scheduler = job, ledger, scheduler
        self._training, self._rendezvous, self._weights = training, rendezvous, weights
        self._preconditions, self._drain, self._problems = preconditions, drain, problems
        self._edits, self._wall = edits, wall

    def assemble(self) -> CoordinatorState:
        """The state now; almost empty while the ledger isn't available."""
        desired = self._job.known
        if desired is None:
            return CoordinatorState(problem=self._problems.first, prepared=False, rank_pods=[])
        db, stages_ = self._ledger.db, desired.spec.stages
        current = self._metrics_stage(desired)
        newest = (batches.newest(db, stage.name) for stage in reversed(stages_))
        reward, staleness = next((one for one in newest if one is not None), (None, None))
        return CoordinatorState(
            # What the operator compares: its own digest here means that the
            # spec is in force and stored.
            spec_digest=desired.digest,
            uid=desired.uid,
            attempt=desired.attempt,
            stages=[self._stage(desired.spec, stage) for stage in stages_],
            problem=self._problems.first,
            prepared=self._job.stage is None or self._preconditions.are_met(self._job.stage),
            trainer_failure=self._rendezvous.failure,
            rank_pods=self._rendezvous.rank_pods,
            resized_attempt=self._rendezvous.resized_attempt,
            drained=self._drain.complete,
            weights=self._weights.status(),
            checkpoint=_checkpoint(db),
            reward=reward,
            staleness=staleness,
            generated_tokens_per_second=self._scheduler.tokens_per_second,
            trained_tokens_per_second=self._training.tokens_per_second,
            goodput=self._training.goodput(current) if current else None,
            evaluation=_results(db, stages_),
            edit=self._edits.newest,
            rollback=db.document(ROLLBACK, Rollback),
            rollback_check=lineage.check_of(db, desired),
            model_url=newest_model(db, desired),
            plan=self._preconditions.verdict,
            skipped_rows=self._preconditions.skipped,
        )

    def _stage(self, spec: Spec, stage: Stage) -> StageState:
        db = self._ledger.db
        phase = stages.phase(db, stage.name)
        if stage.type == StageType.EVALUATION:
            step, total = evaluation.progress(db, stage.name)
        elif stage.type == StageType.SYNTHESIS:
            step, total = synthesis.progress(db, spec, stage)
        else:
            step, total = _steps(db, stage)
        running = phase == StagePhase.RUNNING
        return StageState(
            name=stage.name,
            phase=phase,
            step=step,
            total_steps=total,
            remaining_seconds=self._remaining(stage, step, total) if running else None,
        )

    def _remaining(self, stage: Stage, step: int, total: int) -> float | None:
        db = self._ledger.db
        if stage.type not in {StageType.EVALUATION, StageType.SYNTHESIS}:
            return self._training.remaining_seconds(stage.name, step, total)
        started = stages.started_at(db, stage.name)
        # No pace before the first episode or task.
        if not step or started is None:
            return None
        return (self._wall() - started) / step * (total - step)

    def _metrics_stage(self, desired: CoordinatorSpec) -> str | None:
        """The training stage that runs or ran last."""
        every = desired.spec.stages
        index = min(desired.stage_index, len(every) - 1)
        for stage in reversed(every[: index + 1]):
            phase = stages.phase(self._ledger.db, stage.name)
            if stage_plan.trains(stage) and phase != StagePhase.PENDING:
                return stage.name
        return None


def _steps(db: Database, stage: Stage) -> tuple[int, int]:
    """Done and in all. An RL stage's block says how many, also after an edit of a moment ago."""
    row = progress.newest(db, stage.name)
    done, total = (row["step"], row["total_steps"]) if row else (0, 0)
    if stage.type == StageType.RL:
        total = stage_plan.rl_block(stage).steps
    # It ended where it was: at a step that an edit or a validation loss chose.
    ended = stages.finished_at(db, stage.name) is not None
    return done, done if ended and done else max(done, total)


def _checkpoint(db: Database) -> CheckpointStatus | None:
    row = progress.newest_checkpoint(db)
    if row is None:
        return None
    return CheckpointStatus(
        stage=row["stage"],
        version=row["version"],
        step=row["step"],
        time=timestamp(row["time"]),
        bytes=row["bytes"],
    )


def _results(db: Database, every: Sequence[Stage]) -> list[EvaluationResult]:
    """Results of all evaluations so far, by stage and, within a stage, as reported."""
    return [
        lenient.read(EvaluationResult, json.loads(body)).value
        for stage in every
        for body in stages.results(db, stage.name)
    ]
