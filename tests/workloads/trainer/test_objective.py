"""The objective against NumPy written from the formulas, token by token."""

import numpy as np
import pytest
import torch

from sea_api.v1alpha1.stages import ImportanceMode
from sea_workloads.trainer import objective
from sea_workloads.trainer.objective import PpoSettings

SETTINGS = PpoSettings(0.2, 0.28, ImportanceMode.CAP, 5.0)


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
    proximal = torch.log(torch.tensor([[0.2, 0.4, 0.8]]))
    behaviour = torch.log(torch.tensor([[0.2, 0.2, 0.1]]))
    got = objective.importance_weights(proximal, behaviour, mode, 3.0)
    np.testing.assert_allclose(got[0].numpy(), wanted, rtol=1e-5)


def test_token_logprobs_and_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator)
    tokens = torch.randint(0, 7, (2, 5), generator=generator)
    for temperature in (1.0, 0.5):
        got = objective.token_logprobs(logits, tokens, temperature)
        scaled = logits.numpy() / temperature
        for b in range(2):
            assert got[b, 0] == 0.0
            for s in range(1, 5):
                row = scaled[b, s - 1]
                wanted = row[tokens[b, s]] - np.log(np.exp(row).sum())
                assert float(got[b, s]) == pytest.approx(float(wanted), abs=1e-5)


def test_sft_coefficients_weigh_observations_and_no_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 0]])
    real = torch.tensor([[1, 1, 1, 1, 0]])
    got = objective.sft_coefficients(mask, real, 0.5)
    assert got.tolist() == [[0.0, 0.5, 1.0, 1.0, 0.0]]


def test_rl_coefficients_count_every_group_the_same() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0]])
    got = objective.rl_coefficients(mask, torch.tensor([0, 0, 1]), 2)
    np.testing.assert_allclose(got.numpy(), [[1 / 6, 1 / 6, 0], [1 / 6, 0, 0], [1 / 2, 0, 0]])
    assert float(got.sum()) == pytest.approx(1.0)


def _reference(
    current: np.ndarray,
    proximal: np.ndarray,
    behaviour: np.ndarray,
    advantage: np.ndarray,
    coefficient: np.ndarray,
) -> float:
    total = 0.0
    for b in range(current.shape[0]):
        for s in range(current.shape[1]):
            ratio = np.exp(current[b, s] - proximal[b, s])
            importance = min(np.exp(proximal[b, s] - behaviour[b, s]), SETTINGS.upper)
            clipped = np.clip(ratio, 1 - SETTINGS.clip_low, 1 + SETTINGS.clip_high)
            gain = min(ratio * advantage[b], clipped * advantage[b])
            total -= coefficient[b, s] * importance * gain
    return total


def test_ppo_equals_the_formula() -> None:
    rng = np.random.default_rng(1)
    current, proximal, behaviour = rng.normal(-2, 0.5, (3, 4, 6))
    advantage = rng.normal(0, 1, 4)
    coefficient = rng.uniform(0.1, 1, (4, 6)) * (rng.random((4, 6)) < 0.6)
    tensors = [torch.tensor(x) for x in (current, proximal, behaviour, advantage, coefficient)]
    got = objective.ppo(*tensors, SETTINGS)
    wanted = _reference(current, proximal, behaviour, advantage, coefficient)
    assert float(got.loss) == pytest.approx(wanted, rel=1e-9)
    assert got.tokens == float((coefficient > 0).sum())
    assert got.importance_max <= SETTINGS.upper


def test_ppo_gradient_on_policy_is_the_policy_gradient() -> None:
    """With current = proximal = behaviour the gradient is -coefficient * advantage."""
    start = torch.full((2, 3), -1.5)
    current = start.clone().requires_grad_()
    coefficient = torch.tensor([[0.5, 0.0, 0.25], [0.1, 0.1, 0.0]])
    advantage = torch.tensor([2.0, -1.0])
    objective.ppo(current, start, start, advantage, coefficient, SETTINGS).loss.backward()
    np.testing.assert_allclose(current.grad, -(coefficient * advantage[:, None]), rtol=1e-6)


def test_clipped_tokens_carry_no_gradient() -> None:
    current = torch.tensor([[0.0]], requires_grad=True)
    proximal = torch.tensor([[-1.0]])
    one = torch.ones(1, 1)
    result = objective.ppo(current, proximal, proximal, torch.tensor([1.0]), one, SETTINGS)
    result.loss.backward()
    assert current.grad is not None
    assert current.grad.item() == 0.0
    assert result.clipped == 1.0


def test_agreement_looks_only_at_the_versions_own_tokens() -> None:
    current = torch.tensor([[-1.0, -2.0, -3.0]])
    behaviour = torch.tensor([[-1.5, -2.01, 0.0]])
    versions = torch.tensor([[3, 4, -1]])
    assert objective.agreement(current, behaviour, versions, 4) == pytest.approx(0.01)
    assert objective.agreement(current, behaviour, versions, 5) == 0.0
