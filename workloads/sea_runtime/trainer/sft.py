"""Supervised fine-tuning of the policy or of the user model, one optimizer step after another.

Which dialogues a step trains on is a pure function of seed and step (`sft_data.sft_batch`), so an
attempt that resumes from a checkpoint repeats exactly what an undisturbed one does.
"""

import math

import numpy as np
from torch import Tensor

from sea_api.v1alpha1.sft_stage import SFTStage
from sea_api.v1alpha1.stages import StageType
from sea_runtime.trainer import objective as objectives
from sea_runtime.trainer import packing, pipeline, sft_data
from sea_runtime.trainer.optimizer import AdamW, sft_rate
from sea_runtime.trainer.out_of_memory import PASSES, UPDATE
from sea_runtime.trainer.packed_row import MicrobatchTensors
from sea_runtime.trainer.sft_data import Dialogues
from sea_runtime.trainer.stage_trainer import StageTrainer
from sea_runtime.trainer.task_watch import TaskWatch


def run(stage: StageTrainer, watch: TaskWatch | None) -> None:
    """Trains until the steps are done or the validation loss is low enough, then completes.

    Collective. Returns early, with a committed checkpoint, when the stage is no longer wanted.
    """
    first, files = stage.task.first_version, _files(stage)
    data, counts = _load(stage, files)
    # A resumed stage has ended by its validation loss, or it has all its steps, as counted below.
    reached = stage.finished and _block(stage).stop_at_validation_loss is not None
    # Every step, before its first collective: all ranks leave together or none.
    while stage.follow(watch):
        block = _block(stage)
        if files != _files(stage):
            files = _files(stage)
            data, counts = _load(stage, files)
        train, held_out = sft_data.split_validation(
            data.origins, block.validation_fraction, block.seed
        )
        total = sft_data.sft_steps(len(train), block.batch_size, block.epochs, block.max_steps)
        # `>`: an edit has lowered it below the step that was under way.
        if reached or stage.step >= total:
            stage.complete(first + 1)
            return
        metrics, reached = _step(stage, data, train, held_out, total)
        # What the data holds is reported with the first step on it.
        stage.report(total, metrics | counts)
        counts = {}
        # After the report, as in `rl`. And after the validation: `finished` goes into the
        # checkpoint, so a resumed attempt doesn't train on.
        stage.checkpoint(first, finished=reached or stage.step >= total)
    stage.interrupt(first)


def _block(stage: StageTrainer) -> SFTStage:
    """The stage's settings as they are in force now."""
    block = stage.settings.sft or stage.settings.user_sft
    assert block is not None
    return block


def _files(stage: StageTrainer) -> list[str]:
    return _block(stage).data or stage.spec.data.sft


def _load(stage: StageTrainer, files: list[str]) -> tuple[Dialogues, dict[str, float]]:
    """The dialogues of the files, and metrics of what they hold. Collective."""
    as_user = stage.settings.type is StageType.USER_SFT
    return sft_data.load(stage.context, files, stage.initial, stage.spec, as_user=as_user)


def _step(
    stage: StageTrainer,
    data: Dialogues,
    train: list[int],
    held_out: list[int],
    total: int,
) -> tuple[dict[str, float], bool]:
    """One optimizer step; its metrics, and true if the validation loss is low enough."""
    number, block = stage.step + 1, _block(stage)
    rate = sft_rate(number, block.learning_rate, block.warmup_steps)
    chosen = sft_data.sft_batch(number, train, block.batch_size, block.seed)
    with stage.timer.part("train_s"):
        metrics = _train(stage, data, chosen, block.observation_weight, rate, AdamW.of(block))
    stage.step = number
    last, reached = number >= total, False
    if held_out and (number % block.validation_every == 0 or last):
        with stage.timer.part("validation_s"):
            metrics["validation_loss"] = _validate(stage, data, held_out)
        goal = block.stop_at_validation_loss
        reached = goal is not None and metrics["validation_loss"] <= goal
    stage.settle()
    seconds = stage.timer.take("train_s", "checkpoint_s")
    speed = {"tokens_per_s": metrics["tokens"] / max(seconds["train_s"], 1e-9)}
    return metrics | seconds | speed, reached


def _train(
    stage: StageTrainer,
    data: Dialogues,
    chosen: list[int],
    observation_weight: float,
    rate: float,
    adamw: AdamW,
) -> dict[str, float]:
    found = objectives.sft_weights([data.masks[i] for i in chosen], observation_weight)
    weights = dict(zip(chosen, found, strict=True))
    plan = stage.model.plan(data.tokens, chosen, weights)
    stage.optimizer.zero()
    sums = np.zeros(3)

    def objective(microbatch: MicrobatchTensors, logp_t: Tensor, _: Tensor) -> Tensor:
        mask_t = microbatch.per_token(data.masks, np.uint8)
        weight_t = microbatch.per_token(weights, np.float32)
        # A sum, not a mean: the weights of the whole batch add up to 1 over all ranks.
        loss = -(weight_t * logp_t).sum()
        # Where no token is predicted both are 0.
        answers_t = (mask_t > 0) & (weight_t > 0)
        answer_loss = -logp_t.detach()[answers_t].sum()
        sums[:] += float(loss.detach()), float(answer_loss), float(answers_t.sum())
        return loss

    with stage.memory.naming(PASSES):
        pipeline.train(
            stage.model, plan, data.tokens, weights, objective, stage.context.status.alive
        )
    with stage.memory.naming(UPDATE):
        norm = stage.optimizer.step(rate, adamw)
    loss_sum, answer_loss, answer_tokens = stage.reported_sum(sums)
    tokens = sum(len(data.tokens[i]) for i in chosen)
    return {
        "loss": loss_sum,
        "answer_loss": answer_loss / max(answer_tokens, 1.0),
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": float(tokens),
    } | packing.row_fractions(plan, tokens)


def _validate(stage: StageTrainer, data: Dialogues, held_out: list[int]) -> float:
    """Mean loss in nats per answer token of the held-out dialogues; NaN if they have none."""
    sums = np.zeros(2)

    def add(microbatch: MicrobatchTensors, logp_t: Tensor) -> None:
        answers_t = (microbatch.per_token(data.masks, np.uint8) > 0) & (microbatch.labels_t >= 0)
        sums[:] += float(-logp_t[answers_t].sum()), float(answers_t.sum())

    plan = stage.model.plan(data.tokens, held_out, data.masks)
    alive = stage.context.status.alive
    with stage.memory.naming(PASSES):
        pipeline.logprobs(stage.model, plan, data.tokens, data.masks, add, alive)
    loss, count = stage.reported_sum(sums)
    return loss / count if count else math.nan
