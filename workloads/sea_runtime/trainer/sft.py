"""Supervised fine-tuning of the policy or of the user model, one optimizer step after another.

Which dialogues a step trains on is a pure function of (seed, step) (`schedule.py`), so an attempt
that resumes at a checkpoint repeats exactly what an undisturbed one does.
"""

import logging
import math

import numpy as np

from sea_api.v1alpha1.stages import SFTStage, StageType
from sea_runtime.trainer import compute, dialogues, objective, schedule
from sea_runtime.trainer.control_plane import TaskWatch, wanted
from sea_runtime.trainer.dialogues import Dialogues
from sea_runtime.trainer.stage import OpenStage

log = logging.getLogger(__name__)


def run(stage: OpenStage, watch: TaskWatch | None) -> None:
    """Trains until the steps are done or the validation loss is low enough, then completes."""
    block = stage.settings.sft or stage.settings.user_sft
    assert block is not None
    data, stage.counts = dialogues.load(
        stage.job,
        block.data or stage.spec.data.sft,
        stage.initial,
        stage.spec,
        as_user=stage.settings.type is StageType.USER_SFT,
    )
    train, held = schedule.kept_back(len(data), block.validation_fraction, block.seed)
    total = schedule.sft_steps(len(train), block.batch_size, block.epochs, block.max_steps)
    finished = stage.finished or stage.step >= total
    while not finished:
        if not wanted(stage.job, stage.task, watch):
            stage.interrupt(stage.task.first_version)
            return
        finished = _step(stage, block, data, train, held, total)
    stage.complete(stage.task.first_version + 1)


def _step(
    stage: OpenStage,
    block: SFTStage,
    data: Dialogues,
    train: list[int],
    held: list[int],
    total: int,
) -> bool:
    """One optimizer step; whether it was the last."""
    number = stage.step + 1
    rate = schedule.sft_rate(number, block.learning_rate, block.warmup_steps)
    chosen = schedule.sft_batch(number, train, block.batch_size, block.seed)
    with stage.clock.part("train_s"):
        metrics = _train(stage, data, chosen, block.observation_weight, rate)
    stage.step = number
    finished = number >= total
    if held and (number % block.validation_every == 0 or finished):
        with stage.clock.part("validation_s"):
            metrics["validation_loss"] = _validate(stage, data, held)
        goal = block.stop_at_validation_loss
        finished = finished or (goal is not None and metrics["validation_loss"] <= goal)
    stage.after_step(stage.task.first_version, finished=finished)
    seconds = stage.clock.take("train_s", "checkpoint_s")
    metrics |= seconds | {"tokens_per_s": metrics["tokens"] / max(seconds["train_s"], 1e-9)}
    stage.progress(total, metrics | stage.counts)
    stage.counts = {}
    return finished


def _train(
    stage: OpenStage,
    data: Dialogues,
    chosen: list[int],
    observation_weight: float,
    rate: float,
) -> dict[str, float]:
    found = objective.sft_weights([data.masks[i] for i in chosen], observation_weight)
    weights = dict(zip(chosen, found, strict=True))
    stage.optimizer.zero()
    sums = [0.0, 0.0, 0.0]
    for cut in compute.cuts(stage.model, data.tokens, chosen):
        stage.job.report.alive()
        mask = cut.field(data.masks, np.uint8)
        weight = cut.field(weights, np.float32)
        logp = compute.logprobs(stage.model, cut)
        loss = -(weight * logp).sum()
        loss.backward()
        answers = (mask > 0) & (weight > 0)
        sums[0] += float(loss.detach())
        sums[1] += float(-logp.detach()[answers].sum())
        sums[2] += float(answers.sum())
    norm = stage.optimizer.step(rate)
    loss_sum, answer_loss, answers_count = stage.job.control.total(sums)
    return {
        "loss": loss_sum,
        "answer_loss": answer_loss / max(answers_count, 1.0),
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": float(sum(len(data.tokens[i]) for i in chosen)),
        "filling": compute.filling(stage.model, data.tokens, chosen),
    }


def _validate(stage: OpenStage, data: Dialogues, held: list[int]) -> float:
    """Mean loss in nats per answer token on the kept-back dialogues."""
    sums = [0.0, 0.0]
    for cut in compute.cuts(stage.model, data.tokens, held):
        stage.job.report.alive()
        mask = cut.field(data.masks, np.uint8)
        answers = (mask > 0) & ~cut.first_t
        logp = compute.logprobs(stage.model, cut, grad=False)
        sums[0] += float(-logp[answers].sum())
        sums[1] += float(answers.sum())
    loss, count = stage.job.control.total(sums)
    return loss / count if count else math.nan
