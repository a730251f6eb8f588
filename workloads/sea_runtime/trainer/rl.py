"""Asynchronous reinforcement learning: one batch from the coordinator, one published version.

Step i trains on batch i, which the coordinator fixed before handing it out, so a resumed attempt
trains on the very same groups, and publishes version `first_version + i`.
"""

import logging
import math

import msgspec
import numpy as np

from sea_api.v1alpha1.stages import RLStage
from sea_runtime.trainer import compute, objective, schedule
from sea_runtime.trainer.control_plane import TaskWatch
from sea_runtime.trainer.objective import PpoSettings
from sea_runtime.trainer.rl_batch import RLBatch, coefficients, unpack
from sea_runtime.trainer.stage import OpenStage
from sea_runtime.wire.rollouts import Batch

log = logging.getLogger(__name__)
_SUMS = 6


def run(stage: OpenStage, watch: TaskWatch | None) -> None:
    """Trains until the stage's steps are done, then completes it."""
    block = stage.settings.rl
    assert block is not None
    first = stage.task.first_version
    if first + stage.step > 0 and stage.step < block.steps:
        stage.publisher.publish(stage.model, first + stage.step, stage.step)
    while stage.step < block.steps:
        with stage.clock.part("batch_wait_s"):
            batch = _next(stage, watch)
        if batch is None:
            stage.interrupt(first + stage.step)
            return
        _step(stage, block, batch)
    stage.complete(first + stage.step)


def _next(stage: OpenStage, watch: TaskWatch | None) -> RLBatch | None:
    """The batch of the next step on every rank; None when the stage isn't wanted any more."""
    while True:
        stage.job.report.alive()
        data: bytes | None = None
        if watch is not None and watch.still(stage.task):
            batch = stage.job.client.batch(stage.task.stage, stage.step + 1, stage.job.attempt)
            data = msgspec.msgpack.encode(batch) if batch is not None else b""
        ready = stage.job.control.broadcast(None if data is None else len(data))
        if ready is None:
            return None
        if ready:
            raw = stage.job.control.broadcast_bytes(data)
            return unpack(msgspec.msgpack.decode(raw, type=Batch))
        with stage.clock.part("checkpoint_s"):
            stage.publisher.settle()
            stage.saver.poll()


def _step(stage: OpenStage, block: RLStage, batch: RLBatch) -> None:
    number, version = stage.step + 1, stage.task.first_version + stage.step
    rate = schedule.rl_rate(
        number,
        block.learning_rate,
        block.warmup_steps,
        block.steps,
        block.final_learning_rate_fraction,
    )
    with stage.clock.part("train_s"):
        metrics = _train(stage, block, batch, version, rate)
    stage.step = number
    with stage.clock.part("publish_s"):
        stage.publisher.publish(stage.model, version + 1, number)
    stage.after_step(version + 1, finished=number >= block.steps)
    seconds = stage.clock.take("train_s", "batch_wait_s", "publish_s", "checkpoint_s")
    metrics |= batch.metrics(version) | seconds | {"learning_rate": rate}
    metrics["tokens_per_s"] = metrics["tokens"] / max(seconds["train_s"], 1e-9)
    stage.progress(block.steps, metrics)


def _train(
    stage: OpenStage, block: RLStage, batch: RLBatch, version: int, rate: float
) -> dict[str, float]:
    settings = PpoSettings(
        block.clip_low, block.clip_high, block.importance_mode, block.importance_upper
    )
    parts = schedule.minibatches(batch.groups, block.minibatches)
    proximal = _proximal(stage, block, batch) if len(parts) > 1 else None
    sums, largest, norms = np.zeros(_SUMS), [0.0, 0.0], []
    for index, groups in enumerate(parts):
        stage.optimizer.zero()
        chosen = batch.trained(groups)
        weights = coefficients(batch, chosen)
        for cut in compute.cuts(stage.model, batch.tokens, chosen):
            stage.job.report.alive()
            behaviour = cut.field(batch.behaviour, np.float32)
            current = compute.logprobs(stage.model, cut, block.temperature)
            before = cut.field(proximal, np.float32) if proximal else current.detach()
            result = objective.ppo(
                current,
                before,
                behaviour,
                cut.number(batch.advantages, batch.tokens),
                cut.field(weights, np.float32),
                settings,
            )
            result.loss.backward()
            sums += result.additive()
            largest[0] = max(largest[0], result.importance_max)
            if index == 0:
                versions = cut.field(batch.versions, np.int32, fill=-1)
                same = objective.agreement(current, behaviour, versions, version)
                largest[1] = max(largest[1], same)
        norms.append(stage.optimizer.step(rate))
    filling = compute.filling(stage.model, batch.tokens, batch.trained(range(batch.groups)))
    return _metrics(stage, sums, largest, norms) | {"filling": filling}


def _proximal(stage: OpenStage, block: RLStage, batch: RLBatch) -> compute.Rows:
    """log p of every token under the parameters before the first minibatch, on every rank.

    A sequence may be dealt to another rank in its minibatch, so all ranks get all of them.
    """
    own: dict[int, np.ndarray] = {}
    chosen = batch.trained(range(batch.groups))
    for cut in compute.cuts(stage.model, batch.tokens, chosen):
        stage.job.report.alive()
        logp = compute.logprobs(stage.model, cut, block.temperature, grad=False).cpu().numpy()
        own |= cut.split(logp, batch.tokens)
    found: dict[int, np.ndarray] = {}
    for part in stage.job.control.all(own):
        found |= part
    return [found.get(i, np.zeros(len(one), np.float32)) for i, one in enumerate(batch.tokens)]


def _metrics(
    stage: OpenStage, sums: np.ndarray, largest: list[float], norms: list[float]
) -> dict[str, float]:
    loss, tokens, kl, entropy, clipped, importance = stage.job.control.total([*map(float, sums)])
    count = max(tokens, 1.0)
    return {
        "loss": loss,
        "approx_kl": kl / count,
        "entropy": entropy / count,
        "clip_fraction": clipped / count,
        "importance_mean": importance / count,
        "importance_max": stage.job.control.largest(largest[0]),
        "logprob_max_diff": stage.job.control.largest(largest[1]),
        "grad_norm": math.sqrt(sum(norm * norm for norm in norms) / len(norms)),
    }
