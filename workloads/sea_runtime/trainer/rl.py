"""Asynchronous reinforcement learning: one batch from the coordinator, one published version.

Step i trains on batch i, which the coordinator fixed before handing it out, so a resumed attempt
trains on the very same groups, and publishes version `first_version + i`.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from sea_api.v1alpha1.stages import RLStage
from sea_runtime.trainer import batch_broadcast, packing, pipeline
from sea_runtime.trainer import objective as objectives
from sea_runtime.trainer.batch_broadcast import Outgoing
from sea_runtime.trainer.objective import PPOSettings
from sea_runtime.trainer.optimizer import AdamW, rl_rate
from sea_runtime.trainer.out_of_memory import PASSES, UPDATE
from sea_runtime.trainer.packed_row import MicrobatchTensors
from sea_runtime.trainer.rl_batch import RLBatch, Shaping, coefficients, minibatches
from sea_runtime.trainer.shared_prefixes import Rows
from sea_runtime.trainer.stage_trainer import StageTrainer
from sea_runtime.trainer.task_watch import TaskWatch

_ADDITIVE = 6
"""Sums that `PPOSums.additive` returns."""


def run(stage: StageTrainer, watch: TaskWatch | None) -> None:
    """Trains until the stage's steps are done, then completes it.

    Collective. Returns early, with a committed checkpoint, when the stage is no longer wanted.
    """
    first = stage.task.first_version
    # The host buffers of the attempt before are gone: engines get the resumed version from here.
    if first + stage.step > 0 and stage.step < _block(stage).steps:
        stage.publisher.publish(stage.model, first + stage.step, stage.step)
    # Before every step and while a batch is awaited: all ranks leave together or none.
    while stage.follow(watch):
        block = _block(stage)
        # `>`: an edit has lowered it below the step that was under way.
        if stage.step >= block.steps:
            stage.complete(first + stage.step)
            return
        # A step takes exactly the batch of its number: asked for again after a crash, it is the
        # same one.
        with stage.timer.part("batch_wait_s"):
            batch = _batch(stage, block)
        if batch is not None:
            _step(stage, block, batch)
    stage.interrupt(first + stage.step)


def _block(stage: StageTrainer) -> RLStage:
    """The stage's settings as they are in force now."""
    assert stage.settings.rl is not None
    return stage.settings.rl


def _batch(stage: StageTrainer, block: RLStage) -> RLBatch | None:
    """The batch of the next step on every rank; None if it is not ready yet."""
    outgoing, control = _fetched(stage), stage.context.control
    # On every rank: whether there is one is broadcast before its bytes.
    if control.broadcast(outgoing is not None):
        shaping = Shaping.of(block)
        return batch_broadcast.receive(control, outgoing, stage.model, shaping, block.minibatches)
    with stage.timer.part("checkpoint_s"):
        # While waiting, uploads and checkpoints go on: both are collectives, entered by all ranks
        # here.
        stage.publisher.settle(again=True)
        stage.saver.poll()
    return None


def _fetched(stage: StageTrainer) -> Outgoing | None:
    """The next step's batch on rank 0; None elsewhere, or if it is not ready yet."""
    if not stage.context.leads:
        return None
    data = stage.context.client.batch(stage.task.stage, stage.step + 1, stage.context.attempt)
    return None if data is None else Outgoing.of(data)


def _step(stage: StageTrainer, block: RLStage, batch: RLBatch) -> None:
    number, version = stage.step + 1, stage.task.first_version + stage.step
    rate = rl_rate(
        number,
        block.learning_rate,
        block.warmup_steps,
        block.steps,
        block.final_learning_rate_fraction,
    )
    with stage.timer.part("train_s"):
        metrics = _train(stage, block, batch, version, rate)
    # Before publishing: the version, its step and a checkpoint of it must agree.
    stage.step = number
    with stage.timer.part("publish_s"):
        # Publish before the checkpoint and the report: engines wait for it, nobody waits for those.
        stage.publisher.publish(stage.model, version + 1, number)
    stage.settle()
    seconds = stage.timer.take("train_s", "batch_wait_s", "publish_s", "checkpoint_s")
    metrics |= batch.metrics(version) | seconds | {"learning_rate": rate}
    metrics["tokens_per_s"] = metrics["tokens"] / max(seconds["train_s"], 1e-9)
    stage.report(block.steps, metrics)
    # After the report: the ledger's snapshot of this step has its row.
    stage.checkpoint(version + 1, finished=number >= block.steps)


def _train(
    stage: StageTrainer, block: RLStage, batch: RLBatch, version: int, rate: float
) -> dict[str, float]:
    """One step on the batch, in `minibatches` optimizer updates; its metrics."""
    settings = PPOSettings(
        block.clip_low, block.clip_high, block.importance_mode, block.importance_upper
    )
    parts = minibatches(batch.groups, block.minibatches)
    # With one minibatch the current policy is the proximal one: its forward pass gives both.
    proximal = _proximal(stage, block, batch) if len(parts) > 1 else None
    sums, norms = _Sums(), []
    for index, groups in enumerate(parts):
        # Before the forward passes of this minibatch: gradients accumulate over its microbatches.
        stage.optimizer.zero()
        chosen = batch.trained(groups)
        weights = coefficients(batch, chosen)
        # Later minibatches have other parameters than the version.
        current = version if index == 0 else None
        with stage.memory.naming(PASSES):
            pipeline.train(
                stage.model,
                stage.model.plan(batch.tokens, chosen, batch.masks),
                batch.tokens,
                batch.masks,
                _Objective(batch, weights, proximal, settings, current, sums),
                stage.context.status.alive,
                block.temperature,
                entropy=True,
                choices=batch.choices,
            )
        with stage.memory.naming(UPDATE):
            norms.append(stage.optimizer.step(rate, AdamW.of(block)))
    return _metrics(stage, sums, norms) | _row_fractions(stage, batch)


@dataclass
class _Sums:
    """Sums of a step over the microbatches of this rank."""

    additive: np.ndarray = field(default_factory=lambda: np.zeros(_ADDITIVE))
    importance_max: float = 0.0
    agreement: float = 0.0
    """Largest difference between trainer and engine on one token."""


@dataclass(frozen=True)
class _Objective:
    """The loss of a minibatch, microbatch by microbatch."""

    batch: RLBatch
    weights: Rows
    """Loss coefficients."""
    proximal: Rows | None
    """None: the current policy is the proximal one."""
    settings: PPOSettings
    version: int | None
    """Weight version that the parameters are; None after an update."""
    sums: _Sums

    def __call__(
        self, microbatch: MicrobatchTensors, current_t: Tensor, entropy_t: Tensor
    ) -> Tensor:
        behavior_t = microbatch.per_token(self.batch.behavior, np.float32)
        # All [T]. Detached: the ratio is 1 in value, and its gradient is that of the current
        # policy.
        proximal_t = (
            microbatch.per_token(self.proximal, np.float32) if self.proximal else current_t.detach()
        )
        result = objectives.ppo(
            current_t,
            proximal_t,
            behavior_t,
            microbatch.per_sequence(self.batch.advantages),
            microbatch.per_token(self.weights, np.float32),
            entropy_t,
            self.settings,
        )
        self.sums.additive += result.additive()
        self.sums.importance_max = max(self.sums.importance_max, result.importance_max)
        if self.version is not None:
            versions_t = microbatch.per_token(self.batch.versions, np.int32, fill=-1)
            same = objectives.agreement(current_t, behavior_t, versions_t, self.version)
            self.sums.agreement = max(self.sums.agreement, same)
        return result.loss


def _row_fractions(stage: StageTrainer, batch: RLBatch) -> dict[str, float]:
    chosen = batch.trained(range(batch.groups))
    tokens = sum(len(batch.tokens[i]) for i in chosen)
    return packing.row_fractions(stage.model.plan(batch.tokens, chosen, batch.masks), tokens)


def _proximal(stage: StageTrainer, block: RLStage, batch: RLBatch) -> Rows:
    """log p of generated tokens under the parameters before the first minibatch, on every rank.

    A sequence may be on another rank in its minibatch, so every rank gets all of them.
    """
    own: dict[int, np.ndarray] = {}

    def keep(microbatch: MicrobatchTensors, logp_t: Tensor) -> None:
        own.update(microbatch.split(logp_t.cpu().numpy()))

    plan = stage.model.plan(batch.tokens, batch.trained(range(batch.groups)), batch.masks)
    alive = stage.context.status.alive
    with stage.memory.naming(PASSES):
        pipeline.logprobs(
            stage.model,
            plan,
            batch.tokens,
            batch.masks,
            keep,
            alive,
            block.temperature,
            batch.choices,
        )
    # Sequences that aren't trained keep zeros: they are in no minibatch.
    found = [np.zeros(len(one), np.float32) for one in batch.tokens]
    # Each position from one rank: context-parallel ranks have parts of a sequence, the others 0.
    for part in stage.context.control.all_gather(own if stage.model.place.reports else {}):
        for index, values in part.items():
            found[index] += values
    return found


def _metrics(stage: StageTrainer, sums: _Sums, norms: list[float]) -> dict[str, float]:
    loss, tokens, kl, entropy, clipped, importance = stage.reported_sum(sums.additive)
    count = max(tokens, 1.0)
    return {
        "loss": loss,
        "approx_kl": kl / count,
        "entropy": entropy / count,
        "clip_fraction": clipped / count,
        "importance_mean": importance / count,
        "importance_max": stage.context.control.max(sums.importance_max),
        "logprob_max_diff": stage.context.control.max(sums.agreement),
        "grad_norm": math.sqrt(sum(norm * norm for norm in norms) / len(norms)),
    }
