"""The objective against NumPy written from the formulas, token by token."""

import numpy as np
import pytest
import torch

from sea_api.v1alpha1.stages import ImportanceMode
from sea_runtime.trainer import objective
from sea_runtime.trainer.objective import PPOSettings

SETTINGS = PPOSettings(0.2, 0.28, ImportanceMode.CAP, 5.0)


@pytest.mark.parametrize(
    ("rewards", "wanted"),
    [
        ([1.0, 0.0, 0.0, 0.0], [1.7320508, -0.5773503, -0.5773503, -0.5773503]),
        ([1.0, 0.0], [1.0, -1.0]),
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        ([0.5, 0.25, 0.75], [0.0, -1.2247449, 1.2247449]),
    ],
)
def test_advantages_use_the_population_std(rewards: list[float], wanted: list[float]) -> None:
    got = objective.advantages(torch.tensor([rewards]))[0]
    np.testing.assert_allclose(got.numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        (ImportanceMode.CAP, [1.0, 2.0, 3.0]),
        (ImportanceMode.MASK, [1.0, 2.0, 0.0]),
    ],
)
def test_importance_weights_are_capped_or_masked(mode: ImportanceMode, wanted: list[float]) -> None:
    proximal = torch.log(torch.tensor([0.2, 0.4, 0.8]))
    behavior = torch.log(torch.tensor([0.2, 0.2, 0.1]))
    got = objective.importance_weights(proximal, behavior, mode, 3.0)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5)


def test_sft_weights_weigh_observations_and_no_first_token() -> None:
    got = objective.sft_weights([np.array([0, 0, 1, 1]), np.array([1, 1]), np.zeros(0)], 0.5)
    np.testing.assert_allclose(got[0] * 3.5, [0.0, 0.5, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(got[1] * 3.5, [0.0, 1.0], rtol=1e-6)
    assert len(got[2]) == 0
    assert not objective.sft_weights([np.array([1])], 0.0)[0].any()


def test_rl_coefficients_count_every_group_the_same() -> None:
    masks = [np.array([1, 1, 0]), np.array([1, 0]), np.array([1, 0, 0, 0])]
    got = objective.rl_coefficients(masks, [4, 4, 7])
    wanted = [[1 / 6, 1 / 6, 0], [1 / 6, 0], [1 / 2, 0, 0, 0]]
    for row, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(row, want, rtol=1e-6)
    assert float(sum(row.sum() for row in got)) == pytest.approx(1.0)
    assert not objective.rl_coefficients([np.zeros(3)], [0])[0].any()


def _reference(
    current: np.ndarray,
    proximal: np.ndarray,
    behavior: np.ndarray,
    advantage: np.ndarray,
    coefficient: np.ndarray,
) -> float:
    total = 0.0
    for t in range(len(current)):
        ratio = np.exp(current[t] - proximal[t])
        importance = min(np.exp(proximal[t] - behavior[t]), SETTINGS.upper)
        clipped = np.clip(ratio, 1 - SETTINGS.clip_low, 1 + SETTINGS.clip_high)
        gain = min(ratio * advantage[t], clipped * advantage[t])
        total -= coefficient[t] * importance * gain
    return total


def test_ppo_equals_the_formula() -> None:
    rng = np.random.default_rng(1)
    current, proximal, behavior = rng.normal(-2, 0.5, (3, 24))
    advantage = rng.normal(0, 1, 24)
    coefficient = rng.uniform(0.1, 1, 24) * (rng.random(24) < 0.6)
    got = objective.ppo(
        torch.tensor(current),
        torch.tensor(proximal),
        torch.tensor(behavior),
        torch.tensor(advantage),
        torch.tensor(coefficient),
        torch.full((24,), 2.5),
        SETTINGS,
    )
    wanted = _reference(current, proximal, behavior, advantage, coefficient)
    assert float(got.loss) == pytest.approx(wanted, rel=1e-9)
    assert got.tokens == float((coefficient > 0).sum())
    assert got.importance_max <= SETTINGS.upper
    assert got.entropy == 2.5 * got.tokens


def test_ppo_gradient_on_policy_is_the_policy_gradient() -> None:
    """With current = proximal = behavior the gradient is -coefficient * advantage."""
    start = torch.full((6,), -1.5)
    current = start.clone().requires_grad_()
    coefficient = torch.tensor([0.5, 0.0, 0.25, 0.1, 0.1, 0.0])
    advantage = torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0, -1.0])
    objective.ppo(current, start, start, advantage, coefficient, start, SETTINGS).loss.backward()
    np.testing.assert_allclose(current.grad, -(coefficient * advantage), rtol=1e-6)


def test_clipped_tokens_carry_no_gradient() -> None:
    current = torch.tensor([0.0], requires_grad=True)
    proximal = torch.tensor([-1.0])
    one = torch.ones(1)
    result = objective.ppo(current, proximal, proximal, torch.tensor([1.0]), one, one, SETTINGS)
    result.loss.backward()
    assert current.grad is not None
    assert current.grad.item() == 0.0
    assert result.clipped == 1.0


def test_agreement_looks_only_at_the_versions_own_tokens() -> None:
    current = torch.tensor([-1.0, -2.0, -3.0])
    behavior = torch.tensor([-1.5, -2.01, 0.0])
    versions = torch.tensor([3, 4, -1])
    assert objective.agreement(current, behavior, versions, 4) == pytest.approx(0.01)
    assert objective.agreement(current, behavior, versions, 5) == 0.0
