"""A batch of trajectory groups as arrays: what an RL step trains on, and its metrics."""

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sea_api.v1alpha1.stages import AdvantageNormalization, RLStage
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.trainer import objective
from sea_runtime.trainer.packed_row import Choices
from sea_runtime.trainer.shared_prefixes import Rows
from sea_runtime.wire.rollouts import Batch, Group, Trajectory, UndecodableError


@dataclass(frozen=True)
class Shaping:
    """How rewards become advantages."""

    normalization: AdvantageNormalization = AdvantageNormalization.GROUP
    bias: float = 0.0
    scale: float = 1.0
    """The shaped reward is (reward + bias) * scale."""

    @classmethod
    def of(cls, block: RLStage) -> "Shaping":
        """The stage's settings."""
        return cls(block.advantage_normalization, block.reward_bias, block.reward_scale)


@dataclass(frozen=True)
class RLBatch:
    """All samples of a batch; every list has one item per sample, every array is [S].

    A sample is a trajectory, or one exchange of it where thoughts are stripped. The samples of a
    trajectory have its advantage and its group, over whose tokens the loss is normalized: so a
    token weighs the same however its trajectory is cut.
    """

    tokens: Rows
    masks: Rows
    """1 on generated tokens."""
    behavior: Rows
    """Log-probabilities of the engine that generated the tokens."""
    versions: Rows
    """Weight version that generated the token; -1 elsewhere."""
    group_of: list[int]
    advantages: list[float]
    groups: int
    mean_reward: float
    dropped_groups: int
    crc32: int
    """Of everything that is trained on: two steps with the same number saw the same batch."""
    never_asked: int = 0
    """Episodes without a verdict since the agent had no turn in them; none is in the batch."""
    expired_groups: int = 0
    """Groups that were older than `maxAge` since the last batch; none is in it."""
    trajectories: int = 0
    choices: Choices | None = None
    """Experts that the engine chose, where it said so; None if no trajectory has them."""

    def trained(self, groups: Collection[int]) -> list[int]:
        """The samples of these groups that go through the model.

        Those without a generated token are left out: their reward counts in the group's mean,
        nothing else. If no other is left, one goes all the same, with coefficients of 0: every
        rank has to take part in the step.
        """
        members = [i for i, group in enumerate(self.group_of) if group in groups]
        return [i for i in members if self.masks[i].any()] or members[:1]

    def metrics(self, version: int) -> dict[str, float]:
        """Metrics that don't depend on the model; `version` is the trainer's before the step."""
        made = np.concatenate([v[m > 0] for v, m in zip(self.versions, self.masks, strict=True)])
        return {
            "batch_crc32": float(self.crc32),
            "reward": self.mean_reward,
            "dropped_groups": float(self.dropped_groups),
            "never_asked": float(self.never_asked),
            "expired_groups": float(self.expired_groups),
            "tokens": float(sum(len(one) for one in self.tokens)),
            "generated_tokens": float(len(made)),
            "staleness": float(np.mean(version - made)) if len(made) else 0.0,
            "trajectories": float(self.trajectories),
            "samples": float(len(self.tokens)),
        }


def unpack(batch: Batch, shaping: Shaping = Shaping(), shape: ModelShape | None = None) -> RLBatch:
    """The wire form as arrays, with advantages.

    Args:
        shape: of the model, whose context bounds samples and whose experts are replayed; without it
            nothing is bounded or replayed.

    Raises:
        UndecodableError: a trajectory can't be decoded, or a sample of it is longer than the
            model's context; names batch, group and trajectory.
    """
    decoded = [one for group in batch.groups for one in _decoded(batch, group, shape)]
    trajectories = [trajectory for trajectory, _ in decoded]
    group_of = [i for i, group in enumerate(batch.groups) for _ in group.trajectories]
    earned = advantages(
        [group.rewards for group in batch.groups],
        [int(one.loss_mask().sum()) for one in trajectories],
        shaping,
    )
    samples = [(i, cut) for i, one in enumerate(trajectories) for cut in one.samples()]
    return RLBatch(
        tokens=[trajectories[i].token_ids()[cut] for i, cut in samples],
        masks=[trajectories[i].loss_mask()[cut] for i, cut in samples],
        behavior=[trajectories[i].behaviour_logprobs()[cut] for i, cut in samples],
        versions=[trajectories[i].token_versions()[cut] for i, cut in samples],
        group_of=[group_of[i] for i, _ in samples],
        advantages=[earned[i] for i, _ in samples],
        trajectories=len(trajectories),
        choices=_choices([chosen for _, chosen in decoded], samples),
        groups=len(batch.groups),
        mean_reward=batch.mean_reward,
        dropped_groups=batch.dropped_groups,
        never_asked=batch.never_asked,
        expired_groups=batch.expired_groups,
        crc32=checksum(batch),
    )


def _require_context(trajectory: Trajectory, shape: ModelShape | None) -> None:
    """No engine makes a longer sample, and the model's positions would mean nothing beyond it."""
    longest = max((cut.stop - cut.start for cut in trajectory.samples()), default=0)
    if shape is not None and longest > shape.context:
        raise UndecodableError(
            f"A sample of it has {longest} tokens, and the model's context has {shape.context}."
        )


def _chosen_experts(trajectory: Trajectory, shape: ModelShape | None) -> NDArray[Any] | None:
    """[T, layers, k]; None if there is nothing to replay."""
    if shape is None or not trajectory.experts:
        return None
    return trajectory.chosen_experts(shape.layers, shape.experts_per_token, shape.experts)


def _choices(
    chosen: Sequence[NDArray[Any] | None], samples: Sequence[tuple[int, slice]]
) -> Choices | None:
    """By sample; views of the trajectories' bytes, which may be GBs."""
    if all(one is None for one in chosen):
        return None
    found: Choices = []
    for index, cut in samples:
        one = chosen[index]
        found.append(None if one is None else one[cut])
    return found


def _decoded(
    batch: Batch, group: Group, shape: ModelShape | None
) -> Iterator[tuple[Trajectory, NDArray[Any] | None]]:
    """Each trajectory with the experts to replay."""
    for sample, body in enumerate(group.trajectories):
        try:
            one = Trajectory.decode(body)
            _require_context(one, shape)
            yield one, _chosen_experts(one, shape)
        except UndecodableError as error:
            raise UndecodableError(
                f"Trajectory {sample} of group {group.group_id} in the batch of step {batch.step} "
                f"of stage '{batch.stage}' can't be trained on. {error} The rollout and trainer "
                "images must be of one version."
            ) from error


def coefficients(batch: RLBatch, chosen: list[int]) -> Rows:
    """Loss coefficient per token [S] of every sequence, normalized over the chosen ones' groups."""
    values = objective.rl_coefficients(
        [batch.masks[i] for i in chosen], [batch.group_of[i] for i in chosen]
    )
    found = dict(zip(chosen, values, strict=True))
    # Empty for sequences that aren't chosen: no row of the minibatch reads them.
    return [found.get(i, np.zeros(0, np.float32)) for i in range(len(batch.masks))]


def minibatches(groups: int, count: int) -> list[range]:
    """Splits `groups` into `count` nearly equal runs, or fewer if there are fewer groups."""
    count = min(count, groups)
    starts = [groups * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(starts)]


def checksum(batch: Batch) -> int:
    """crc32 of group names, rewards and the encoded trajectories, in order."""
    crc = 0
    for group in batch.groups:
        crc = zlib.crc32(group.group_id.encode(), crc)
        crc = zlib.crc32(np.asarray(group.rewards, "<f8").tobytes(), crc)
        for body in group.trajectories:
            crc = zlib.crc32(body, crc)
    return crc


def advantages(
    rewards: Sequence[Sequence[float]], tokens: Sequence[int], shaping: Shaping
) -> list[float]:
    """One advantage per trajectory, in order.

    Args:
        rewards: by group; groups may differ in size.
        tokens: generated ones, per trajectory.
    """
    # FP64: the trainer's numbers must not depend on how rewards are scaled.
    shaped = [
        (torch.tensor(group, dtype=torch.float64) + shaping.bias) * shaping.scale
        for group in rewards
    ]
    if shaping.normalization is AdvantageNormalization.NONE:
        found = torch.cat(shaped)
    elif shaping.normalization is AdvantageNormalization.BATCH:
        found = objective.advantages(torch.cat(shaped), torch.tensor(tokens, dtype=torch.float64))
    else:
        found = torch.cat([objective.advantages(group) for group in shaped])
    return [float(x) for x in found]
