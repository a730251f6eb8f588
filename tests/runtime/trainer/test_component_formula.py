"""Two real ranks with expert parallelism against the formulas in plain torch, step by step.

One process, one sequence at a time, no packing, no shards: transformers' model, the paper's sums,
and torch's AdamW. It catches what tests of the parts can't: sums scaled by ranks or microbatches,
experts' gradients counted wrongly, masks or advantages on the wrong tokens of a packed row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sea_runtime.wire.rollouts import Batch, Group, Trajectory
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks

pytestmark = pytest.mark.component
STEPS, MINIBATCHES, TEMPERATURE, RATE = 2, 2, 0.7, 2e-5
LOW, HIGH, UPPER = 0.001, 0.002, 2.0
"""Narrow, so that the second minibatch is clipped on many tokens."""
SIZES = [4, 2, 3, 4]
"""Trajectories per group: groups differ in size and length."""


class Plain:
    """The reference: model, optimizer, and one step of decoupled PPO by loops."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager")
        self.adam = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0
        )

    def logprobs(self, tokens: np.ndarray) -> Tensor:
        """log p of each token but the first, as it was sampled: [S - 1]."""
        ids = torch.from_numpy(tokens.astype(np.int64))
        scaled = self.model(ids[None]).logits[0, :-1] / TEMPERATURE
        return scaled.log_softmax(-1).gather(1, ids[1:, None])[:, 0]

    def step(self, groups: list[Group]) -> dict[str, float]:
        with torch.no_grad():
            proximal = [[self.logprobs(t.token_ids()) for t in decoded(g)] for g in groups]
        totals: dict[str, float] = dict.fromkeys(("loss", "tokens", "clipped", "weights"), 0.0)
        norms = []
        for first in range(0, len(groups), len(groups) // MINIBATCHES):
            chosen = slice(first, first + len(groups) // MINIBATCHES)
            self.adam.zero_grad()
            for group, before in zip(groups[chosen], proximal[chosen], strict=True):
                self._group(group, before, len(groups) // MINIBATCHES, totals)
            norms.append(float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)))
            self.adam.step()
        return {
            "loss": totals["loss"],
            "grad_norm": float(np.sqrt(np.mean(np.square(norms)))),
            "clip_fraction": totals["clipped"] / totals["tokens"],
            "importance_mean": totals["weights"] / totals["tokens"],
        }

    def _group(
        self, group: Group, proximal: list[Tensor], groups: int, totals: dict[str, float]
    ) -> None:
        """-1/groups * 1/(the group's generated tokens) * sum of w min(r A, clip(r) A)."""
        rewards = np.array(group.rewards)
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        generated = sum(int(t.loss_mask().sum()) for t in decoded(group))
        for trajectory, before, gain in zip(decoded(group), proximal, advantages, strict=True):
            mask = torch.from_numpy(trajectory.loss_mask()[1:] > 0)
            behavior = torch.from_numpy(trajectory.behaviour_logprobs()[1:].copy())
            ratio = (self.logprobs(trajectory.token_ids()) - before).exp()
            weight = (before - behavior).exp().clamp(max=UPPER)
            clipped = ratio.clamp(1 - LOW, 1 + HIGH)
            terms = weight * torch.minimum(ratio * gain, clipped * gain)
            loss = -terms[mask].sum() / generated / groups
            loss.backward()
            totals["loss"] += float(loss.detach())
            totals["tokens"] += int(mask.sum())
            totals["clipped"] += int((ratio != clipped)[mask].sum())
            totals["weights"] += float(weight[mask].sum())


def decoded(group: Group) -> list[Trajectory]:
    return [Trajectory.decode(body) for body in group.trajectories]


def batches(plain: Plain) -> dict[int, list[Group]]:
    """Several turns per episode; behavior is off-policy, beyond the cap on some tokens."""
    rng = np.random.default_rng(3)
    return {
        step: [_group(plain, rng, f"{step}-{i}", size) for i, size in enumerate(SIZES)]
        for step in range(1, STEPS + 1)
    }


def _group(plain: Plain, rng: Any, name: str, size: int) -> Group:
    members = []
    for _ in range(size):
        tokens = rng.integers(10, 600, rng.integers(20, 70))
        mask = (np.arange(len(tokens)) // 7) % 2
        with torch.no_grad():
            own = np.concatenate([[0.0], plain.logprobs(tokens).numpy()])
        behavior = np.where(mask, own + rng.normal(0.0, 0.5, len(tokens)), 0.0)
        versions = np.where(mask, 0, -1)
        one = Trajectory.pack(list(tokens), list(mask), list(behavior), list(map(int, versions)))
        members.append(one.encode())
    rewards = [float(x) for x in rng.permutation(np.linspace(0.0, 1.0, size))]
    return Group(name, rewards, members)


def test_two_ranks_compute_what_the_formulas_say(
    base: Path, coordinator: FakeCoordinator, ranks: Ranks, make_task: Callable[..., TrainerTask]
) -> None:
    plain = Plain(base)
    given = batches(plain)
    coordinator.batches = lambda step: Batch("stage", step, given[step], 0, 0.5)
    block = {
        "steps": STEPS,
        "minibatches": MINIBATCHES,
        "temperature": TEMPERATURE,
        "learningRate": RATE,
        "clipLow": LOW,
        "clipHigh": HIGH,
        "importanceUpper": UPPER,
        "promptsPerStep": len(SIZES),
        "trajectoriesPerPrompt": 4,
    }
    task = make_task("formula", {"type": "RL", "rl": block}, checkpoint={"everySteps": 100})
    coordinator.task = task
    ranks.start(attempt=1)
    ranks.wait("two steps", lambda: coordinator.done)
    for row in coordinator.progress:
        wanted = plain.step(given[row.step])
        got = {name: row.metrics[name] for name in wanted}
        flipped = abs(got.pop("clip_fraction") - wanted["clip_fraction"])
        assert flipped < 0.02  # a ratio at the edge may fall to either side
        assert wanted["clip_fraction"] > 0.05
        assert wanted["importance_mean"] > 1.01
        assert got == pytest.approx({name: wanted[name] for name in got}, rel=2e-3), row.step
