"""What SFT and RL stages share: model, optimizer, resume, checkpoints, publishing, completion.

`StageTrainer.open` runs on every rank when a task begins; the loops in `sft.py` and `rl.py` then
call `settle`, `report` and `checkpoint` once per step and `complete` at the end.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage as StageSpec
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.trainer import hf_weights, process_groups, recomputation
from sea_runtime.trainer import model as models
from sea_runtime.trainer.checkpoint import restore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.pending_save import Position
from sea_runtime.trainer.checkpoint.saver import Saver
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.device import gpu_memory
from sea_runtime.trainer.errors import UncommittedError
from sea_runtime.trainer.export import export
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.out_of_memory import RankMemory
from sea_runtime.trainer.publisher import Publisher
from sea_runtime.trainer.shard_buffers import StreamBuffers, buffers_of
from sea_runtime.trainer.step_metrics import StepTimer, finite_metrics, step_line
from sea_runtime.trainer.task_watch import TaskWatch, still_wanted
from sea_runtime.wire.trainer import (
    MAX_FAILURE,
    BackgroundFailure,
    BackgroundWork,
    StageDone,
    StageProgress,
    TrainerTask,
)

log = logging.getLogger(__name__)
DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}


@dataclass
class StageTrainer:
    """One running stage on one rank.

    Every method is called on every rank in the same order: they all contain collectives.
    """

    context: RankContext
    task: TrainerTask
    spec: Spec
    settings: StageSpec
    initial: Path
    """Local folder of the stage's initial model."""
    model: Model
    optimizer: Optimizer
    saver: Saver
    publisher: Publisher
    buffers: StreamBuffers
    """Host buffers of all streams, which outlive the stage."""
    step: int = 0
    """Finished optimizer steps."""
    resumed: int = 0
    """Step of the checkpoint that the attempt began with."""
    finished: bool = False
    """The stage ended with `step`: its last checkpoint says so."""
    postponed: bool = False
    """A checkpoint is due, and another is under way."""
    timer: StepTimer = field(default_factory=StepTimer)

    @staticmethod
    def open(context: RankContext, task: TrainerTask, buffers: StreamBuffers) -> "StageTrainer":
        """Model and optimizer of the stage, restored from its newest committed checkpoint.

        Args:
            buffers: host buffers of earlier stages, by stream; taken over or replaced.
        """
        spec = task.spec
        assert spec is not None
        settings = spec.stages[task.stage_index]
        initial = hf_weights.download(context, task.initial_model)
        shape = hf_config.load(initial)
        assignment = context.assignment
        layout = parallel_layout.plan(spec.trainer.parallelism, shape, assignment.world_size)
        log.info("Layout: %s.", layout)
        # Groups before the model: Megatron's layers look their group up when they are built.
        process_groups.build_model_parallel_groups(layout, assignment.timeout_s)
        place, dtype = layout.place(assignment.rank), DTYPES[spec.model.precision]
        recompute = _recomputation(context, spec, shape, layout, dtype)
        memory = RankMemory(place, spec, _row_tokens(spec), recompute)
        with memory.naming("the model's parameters and gradients"):
            model = models.build(shape, place, dtype, _row_tokens(spec), recompute)
            # Before the optimizer: with bf16 it copies the parameters into FP32 main parameters.
            hf_weights.load(model, initial)
        with memory.naming("the optimizer's states"):
            optimizer = Optimizer(model, _learning_rate(settings), spec.trainer.optimizer)
        commits = Commits(context.store, task.run_url, task.stage, context.attempt)
        # Before anything is written: it fences, after which an older attempt can't commit.
        manifest = restore.restore(context, commits, model, optimizer)
        origin = None
        if manifest is None and task.origin is not None:
            theirs = Commits(context.store, task.origin.run_url, task.stage, context.attempt)
            origin = restore.start_from(context, theirs, task.origin, model, optimizer)
        saver = Saver(context, task, spec.checkpoint, commits, initial)
        saver.prepare(model, optimizer)
        shards = buffers_of(context, task, model, spec.weights, buffers)
        publisher = Publisher(context, task, spec.weights, shards)
        stage = StageTrainer(
            context, task, spec, settings, initial, model, optimizer, saver, publisher, buffers
        )
        if manifest is not None:
            stage.step = stage.resumed = manifest.step
            stage.finished = manifest.finished
            saver.exports.resume(manifest, spec.checkpoint.export_every_steps)
        elif origin is not None:
            # `resumed` stays 0: no checkpoint of this run has the step yet.
            stage.step = saver.exports.newest = origin.step
        return stage

    @property
    def memory(self) -> RankMemory:
        """Names what runs out of memory."""
        return RankMemory(
            self.model.place, self.spec, self.model.row_tokens, self.model.recomputation
        )

    def follow(self, watch: TaskWatch | None) -> bool:
        """Takes the job's spec as it is now; false if the stage is no longer wanted.

        Called before every step, so that an edit holds from the next one.
        """
        self.context.status.alive()
        if watch is not None:
            watch.failing(self.task.stage, lambda: self.failures)
        task = still_wanted(self.context, self.task, watch)
        if task is None:
            return False
        if task != self.task:
            assert task.spec is not None
            if task.spec_generation != self.task.spec_generation:
                log.info("Generation %d of the job is in force.", task.spec_generation)
            if task.ledger_epoch != self.task.ledger_epoch:
                self.publisher.register_again()
            self.task, self.spec = task, task.spec
            self.settings = task.spec.stages[task.stage_index]
            self.model = replace(self.model, row_tokens=_row_tokens(task.spec))
            self.saver.follow(task.spec.checkpoint)
            self.publisher.follow(task, self.model, self.buffers)
        return True

    @property
    def failures(self) -> list[BackgroundFailure]:
        """What fails next to training now; on rank 0 of all ranks."""
        found = {
            BackgroundWork.CHECKPOINT: self.saver.failure,
            BackgroundWork.WEIGHTS: self.publisher.failure,
            BackgroundWork.EXPORT: self.saver.exports.failure,
        }
        return [
            BackgroundFailure(work=work, message=text[:MAX_FAILURE])
            for work, text in found.items()
            if text
        ]

    def reported_sum(self, values: np.ndarray) -> list[float]:
        """Sums over all tokens of a step, on every rank, of each rank's sums over its own."""
        # The log-probabilities of a token exist on every tensor rank of the last stage.
        counted = values if self.model.place.reports else np.zeros_like(values)
        return self.context.control.sum([*map(float, counted)])

    def settle(self) -> None:
        """Advances uploads."""
        self.context.status.alive()
        with self.timer.part("checkpoint_s"):
            self.publisher.settle()
            self.saver.poll()

    def checkpoint(self, version: int, *, finished: bool) -> None:
        """Begins a checkpoint of the reported step if one is due; its time counts for the next one.

        While the one before is uploaded a checkpoint is postponed, step by step, so that training
        goes on; when the next is due as well, training waits: what a failure costs is bounded. Not
        for a store that is away: the copy that it has is committed once the store is back.
        """
        # Also at the end, whatever the period: a resumed attempt then sees `finished` and goes
        # straight to `complete`.
        due = finished or self.step % self.spec.checkpoint.every_steps == 0
        must = finished or (due and self.postponed)
        if not due and not self.postponed:
            return
        if self.saver.busy and not finished and self.saver.away:
            self.postponed = True
            return
        if self.saver.busy and not must:
            self.postponed = True
            self.saver.replace()
            return
        self.postponed = False
        with self.timer.part("checkpoint_s"):
            position = Position(self.step, version, finished)
            self.saver.start(self.model, self.optimizer, position)

    def report(self, total: int, metrics: dict[str, float]) -> None:
        """Logs the finished step and reports it to the coordinator (rank 0)."""
        if self.context.leads:
            # First: a coordinator that is away holds up the report, not the line.
            log.info("%s", step_line(self.task.stage, self.step, total, metrics))
            # What a failure would cost now.
            metrics = metrics | {"checkpoint_behind": float(self.step - self.saver.exports.newest)}
            row = StageProgress(
                attempt=self.context.attempt,
                step=self.step,
                total_steps=total,
                spec_generation=self.task.spec_generation,
                metrics=finite_metrics(metrics),
            )
            self.context.client.progress(self.task.stage, row)

    def complete(self, version: int) -> None:
        """Publishes, exports, commits the last step, then reports the stage as done."""
        # As an anchor: the next stage's engines may have to fetch it after these processes have
        # ended.
        self.publisher.publish(self.model, version, self.step, anchor=True)
        export(self.context, self.task, self.model, self.initial, version)
        # Both waits come before `done`: the coordinator may end this attempt once it knows, and
        # counts the next stage's versions from the step of the last checkpoint.
        self.publisher.finish()
        if not self._commit(version, finished=True):
            # Outages are waited out. Not done: the steps since the checkpoint before are in none.
            raise UncommittedError(
                f"The last checkpoint of stage '{self.task.stage}' (step {self.step}) could not be "
                "committed; the log of the rank that failed says why. Training goes on from the "
                "checkpoint before."
            )
        # Its last checkpoint may have begun one.
        self.saver.exports.finish()
        if self.context.leads:
            generation = self.task.spec_generation
            done = StageDone(
                attempt=self.context.attempt, step=self.step, spec_generation=generation
            )
            self.context.client.done(self.task.stage, done)
        # The next task is asked for only once the coordinator knows that this stage is done.
        self.context.control.barrier()

    def interrupt(self, version: int) -> None:
        """Commits the current step for a drain; exports nothing."""
        self._commit(version, finished=False)

    def _commit(self, version: int, *, finished: bool) -> bool:
        """Commits the current step, unless it is committed; false if the store refuses.

        A stage's last step too may not be: its save failed, or an edit made it the last.
        """
        self.saver.finish()
        # What the attempt began with is committed; step 0 is the initial model.
        if self.step == self.resumed:
            if self.resumed:
                # The next stage's versions count from the newest checkpoint that was reported.
                self.saver.report_resumed(self.resumed)
            return True
        if not self.saver.committed(self.step):
            position = Position(self.step, version, finished)
            # Needed: there is no later save to replace this one.
            self.saver.start(self.model, self.optimizer, position, needed=True)
            self.saver.finish()
            return not self.context.control.broadcast(self.saver.failed)
        return True


def _learning_rate(settings: StageSpec) -> float:
    block = settings.rl or settings.sft or settings.user_sft
    assert block is not None
    return block.learning_rate


def _recomputation(
    context: RankContext,
    spec: Spec,
    shape: ModelShape,
    layout: ParallelLayout,
    dtype: torch.dtype,
) -> Recomputation:
    """What `trainer.recomputation` means here; collective."""
    # Rank 0's, so that all ranks choose the same.
    capacity = context.control.broadcast(gpu_memory())
    setup = TrainerSetup(
        shape,
        layout,
        dtype.itemsize,
        _row_tokens(spec),
        # At least as many microbatches as stages: what a full pipeline keeps.
        layout.pipeline,
        spec.trainer.recomputation,
        spec.trainer.optimizer,
        gpu=capacity is not None,
    )
    return recomputation.resolve(setup, capacity)


def _row_tokens(spec: Spec) -> int:
    """Most tokens of a packed row."""
    return spec.trainer.max_tokens_per_microbatch or spec.model.context_length
