"""A batch as arrays; some of its trajectories have nothing to train."""

from typing import Any

import numpy as np
import pytest
import torch

from sea_api.v1alpha1.stages import AdvantageNormalization, ImportanceMode
from sea_runtime.trainer import objective
from sea_runtime.trainer.objective import PPOSettings
from sea_runtime.trainer.rl_batch import Shaping, advantages, coefficients, unpack
from sea_runtime.wire.rollouts import Batch, Group, Trajectory, UndecodableError
from sea_testing.models import moe_shape

SPOKE = Trajectory.pack([5, 6, 7, 8], [0, 1, 1, 0], [0.0, -1.0, -2.0, 0.0], [-1, 3, 3, -1])
EMPTY = Trajectory.pack([], [], [], [])
SILENT = Trajectory.pack([5, 6], [0, 0], [0.0, 0.0], [-1, -1])
"""The user hung up before the agent spoke."""


def batch(*groups: tuple[list[float], list[Trajectory]]) -> Any:
    named = [
        Group(f"g{i}", rewards, [one.encode() for one in members])
        for i, (rewards, members) in enumerate(groups)
    ]
    return unpack(Batch("rl", 1, named, 0, 0.5))


def test_a_silent_trajectory_counts_in_its_group_and_is_not_trained() -> None:
    got = batch(([1.0, 0.0, 0.0], [SPOKE, EMPTY, SPOKE]), ([0.0, 1.0], [SPOKE, SILENT]))
    np.testing.assert_allclose(got.advantages, [2**0.5, -(0.5**0.5), -(0.5**0.5), -1, 1], atol=1e-4)
    assert got.trained(range(2)) == [0, 2, 3]
    assert got.trained([1]) == [3]
    metrics = got.metrics(version=4)
    assert (metrics["trajectories"], metrics["generated_tokens"]) == (5.0, 6.0)
    assert metrics["staleness"] == 1.0


GROUPS = [[1.0, 0.0], [0.5, 0.5]]
TOKENS = [3, 1, 2, 2]
MEAN = (3 * 1.0 + 4 * 0.5) / 8
STD = ((3 * (1 - MEAN) ** 2 + 1 * MEAN**2 + 4 * (0.5 - MEAN) ** 2) / 8) ** 0.5


@pytest.mark.parametrize(
    ("shaping", "wanted"),
    [
        (Shaping(), [1, -1, 0, 0]),
        (Shaping(bias=-0.5, scale=10), [1, -1, 0, 0]),
        (
            Shaping(AdvantageNormalization.BATCH),
            [(1 - MEAN) / STD, -MEAN / STD, (0.5 - MEAN) / STD, (0.5 - MEAN) / STD],
        ),
        (Shaping(AdvantageNormalization.NONE, bias=-0.5, scale=10), [5, -5, 0, 0]),
    ],
    ids=["group", "group: bias and scale cancel out", "batch, by tokens", "none"],
)
def test_rewards_become_advantages_as_the_stage_says(shaping: Shaping, wanted: list[float]) -> None:
    np.testing.assert_allclose(advantages(GROUPS, TOKENS, shaping), wanted, atol=1e-5)


def test_coefficients_are_shared_by_trajectories_that_spoke() -> None:
    got = batch(([1.0, 0.0, 0.0], [SPOKE, EMPTY, SPOKE]))
    rows = coefficients(got, got.trained([0]))
    np.testing.assert_allclose(rows[0], [0, 0.25, 0.25, 0])
    np.testing.assert_allclose(rows[2], [0, 0.25, 0.25, 0])
    assert len(rows[1]) == 0


def test_a_batch_without_generated_tokens_is_a_step_of_zero() -> None:
    got = batch(([1.0, 0.0], [EMPTY, SILENT]), ([1.0, 0.0], [SILENT, EMPTY]))
    assert (got.trained(range(2)), got.trained([1])) == ([0], [2])
    for chosen in ([0], [2]):
        (index,) = chosen
        assert not coefficients(got, chosen)[index].any()
    assert got.metrics(version=4)["staleness"] == 0.0
    zero = torch.zeros(2)
    current = torch.full((2,), -1.0, requires_grad=True)
    settings = PPOSettings(0.2, 0.2, ImportanceMode.CAP, 5.0)
    sums = objective.ppo(current, current.detach(), zero, torch.ones(2), zero, zero, settings)
    sums.loss.backward()
    assert float(sums.loss.detach()) == 0.0
    assert current.grad is not None
    assert not current.grad.any()
    assert all(np.isfinite(sums.additive()))


def test_a_trajectory_that_cannot_be_decoded_ends_in_a_sentence() -> None:
    uneven = Trajectory(SPOKE.tokens, SPOKE.mask, SPOKE.logprobs, SPOKE.versions[:-4])
    sentence = r"Trajectory 1 of group g0 in the batch of step 7 of stage 'rl' can't be trained on"
    for body in (uneven.encode(), b"nonsense"):
        damaged = Batch("rl", 7, [Group("g0", [1.0, 0.0], [SPOKE.encode(), body])], 0, 0.5)
        with pytest.raises(UndecodableError, match=sentence):
            unpack(damaged)
    with pytest.raises(UndecodableError, match="not a batch"):
        Batch.decode(b"nonsense")


def test_the_exchanges_of_a_trajectory_weigh_what_the_whole_would() -> None:
    """With stripped thoughts a trajectory is several samples: same advantage, same weights."""
    tokens, mask = [5, 6, 7, 5, 8, 9, 3], [0, 1, 1, 0, 0, 1, 1]
    numbers = [0.0, -1.0, -2.0, 0.0, 0.0, -3.0, -4.0], [-1, 3, 3, -1, -1, 4, 4]
    whole = Trajectory.pack(tokens, mask, *numbers)
    cut = Trajectory.pack(tokens, mask, *numbers, starts=[3])
    for normalization in AdvantageNormalization:
        shaping = Shaping(normalization)
        one = unpack(Batch("rl", 1, [encoded(whole, SPOKE)], 0, 0.5), shaping)
        two = unpack(Batch("rl", 1, [encoded(cut, SPOKE)], 0, 0.5), shaping)
        assert [list(part) for part in two.tokens] == [[5, 6, 7], [5, 8, 9, 3], [5, 6, 7, 8]]
        assert (two.group_of, two.metrics(5)["trajectories"]) == ([0, 0, 0], 2.0)
        assert two.advantages == [one.advantages[0], one.advantages[0], one.advantages[1]]
        weights = [coefficients(found, found.trained([0])) for found in (one, two)]
        np.testing.assert_allclose(np.concatenate(weights[1]), np.concatenate(weights[0]))
        shared = "generated_tokens", "staleness", "tokens"
        assert [two.metrics(5)[key] for key in shared] == [one.metrics(5)[key] for key in shared]


MOE = moe_shape(max_position_embeddings=64)


def test_a_sample_longer_than_the_context_is_refused() -> None:
    """Of a trajectory that strips thoughts each exchange is bounded, not their sum."""
    length = MOE.context + 1
    row = ([5] * length, [1] * length, [0.0] * length, [0] * length)
    whole, cut = Trajectory.pack(*row), Trajectory.pack(*row, [length - 8])
    words = (
        r"Trajectory 0 of group g0 .* A sample of it has 65 tokens, and the model's context has 64"
    )
    with pytest.raises(UndecodableError, match=words):
        unpack(Batch("rl", 1, [encoded(whole)], 0, 0.5), shape=MOE)
    assert len(unpack(Batch("rl", 1, [encoded(cut)], 0, 0.5), shape=MOE).tokens) == 2


def encoded(*members: Trajectory) -> Group:
    return Group("g0", [1.0, 0.0], [one.encode() for one in members])


@pytest.mark.parametrize("starts", [[0], [4], [2, 2], [3, 1], [-1]])
def test_samples_that_do_not_follow_each_other_are_refused(starts: list[int]) -> None:
    wrong = Trajectory(SPOKE.tokens, SPOKE.mask, SPOKE.logprobs, SPOKE.versions, starts)
    with pytest.raises(UndecodableError, match="one after the other within its 4 tokens"):
        Trajectory.decode(wrong.encode())
