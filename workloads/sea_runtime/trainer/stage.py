"""What SFT and RL stages share: model, optimizer, resume, checkpoints, publishing, the end.

`open_stage` runs on every rank when a task begins; the loops in `sft.py` and `rl.py` then call
`after_step` once a step and `complete` at the end.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage as StageSpec
from sea_runtime.trainer import groups, hf_load, layout, shape
from sea_runtime.trainer import model as models
from sea_runtime.trainer.checkpoint import restore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.saver import Position, Saver
from sea_runtime.trainer.export import export
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.model_folder import fetch
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.publisher import Publisher, ShardBuffers, own_tensors
from sea_runtime.trainer.sanity import finite
from sea_runtime.trainer.timing import Clock
from sea_runtime.wire.trainer import StageDone, StageProgress, TrainerTask

log = logging.getLogger(__name__)
DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}


@dataclass
class OpenStage:
    """One running stage on one rank."""

    job: Job
    task: TrainerTask
    spec: Spec
    settings: StageSpec
    initial: Path
    model: Model
    optimizer: Optimizer
    saver: Saver
    publisher: Publisher
    step: int = 0
    """Finished optimizer steps."""
    finished: bool = False
    """The stage ended with `step`; set by a checkpoint that was its last."""
    clock: Clock = field(default_factory=Clock)
    counts: dict[str, float] = field(default_factory=dict)
    """What the stage's data hold, told with this attempt's first step."""

    def after_step(self, version: int, *, finished: bool) -> None:
        """Moves uploads on and begins a checkpoint where one is due."""
        self.job.report.alive()
        with self.clock.part("checkpoint_s"):
            self.publisher.settle()
            self.saver.poll()
            if finished or self.step % self.spec.checkpoint.every_steps == 0:
                position = Position(self.step, version, finished)
                self.saver.start(self.model, self.optimizer, position)

    def progress(self, total: int, metrics: dict[str, float]) -> None:
        """Tells the coordinator about the finished step (rank 0)."""
        if self.job.leads:
            row = StageProgress(
                attempt=self.job.attempt,
                step=self.step,
                total_steps=total,
                metrics=finite(metrics),
            )
            self.job.client.progress(self.task.stage, row)

    def complete(self, version: int) -> None:
        """Publishes, exports, waits for the last checkpoint, then reports the stage as done."""
        self.publisher.publish(self.model, version, self.step, anchor=True)
        url = export(self.job, self.task, self.model, self.initial, version)
        self.publisher.finish()
        self.saver.finish()
        if self.job.leads:
            done = StageDone(attempt=self.job.attempt, step=self.step, export_url=url)
            self.job.client.done(self.task.stage, done)
        self.job.control.barrier()

    def interrupt(self, version: int) -> None:
        """Commits where the stage stands, unless it has, for a drain; nothing is exported."""
        self.saver.finish()
        if self.step and not self.saver.committed(self.step):
            position = Position(self.step, version)
            self.saver.start(self.model, self.optimizer, position, needed=True)
            self.saver.finish()


def learning_rate(settings: StageSpec) -> float:
    block = settings.rl or settings.sft or settings.user_sft
    assert block is not None
    return block.learning_rate


def row_tokens(spec: Spec) -> int:
    """Most tokens of a packed row."""
    return spec.trainer.max_tokens_per_microbatch or spec.model.context_length


Buffers = dict[str, ShardBuffers]


def _buffers(job: Job, task: TrainerTask, model: Model, spec: Spec, kept: Buffers) -> ShardBuffers:
    """The stream's host buffers, kept from stage to stage while the model's shape stays."""
    tensors = own_tensors(model)
    known = kept.get(task.stream)
    planned = [(entry.name, entry.shape, entry.dtype) for entry in known.entries] if known else []
    names = [(n, list(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors.items()]
    if known is None or planned != names:
        nixl = spec.weights.transport.value != "ObjectStore"
        name = f"{job.pod.pod}-{task.stream}-{job.world.rank}"
        kept[task.stream] = ShardBuffers(tensors, name, nixl)
    return kept[task.stream]


def open_stage(job: Job, task: TrainerTask, buffers: Buffers) -> OpenStage:
    """Model and optimizer of the stage, at its newest committed checkpoint. Collective."""
    spec = task.spec
    assert spec is not None
    settings = spec.stages[task.stage_index]
    initial = fetch(job, task.initial_model)
    sizes = shape.parse((initial / "config.json").read_bytes())
    place = layout.plan(job.world.rank, job.world.size, spec.trainer.parallelism, sizes.experts)
    groups.model_parallel(job.world, place.expert)
    model = models.build(sizes, place, DTYPES[spec.model.precision], row_tokens(spec))
    hf_load.fill(model, initial)
    optimizer = Optimizer(model, learning_rate(settings))
    commits = Commits(job.store, task.run_url, task.stage, job.attempt)
    manifest = restore.newest(job, commits)
    if manifest is not None:
        restore.load(job, commits, manifest, model, optimizer)
    saver = Saver(job, task, spec.checkpoint, commits, expert=place.expert)
    shared = _buffers(job, task, model, spec, buffers)
    publisher = Publisher(job, task, spec.weights, shared)
    stage = OpenStage(job, task, spec, settings, initial, model, optimizer, saver, publisher)
    if manifest is not None:
        stage.step, stage.finished = manifest.step, manifest.finished
    return stage
