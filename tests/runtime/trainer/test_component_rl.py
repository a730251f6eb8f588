"""RL steps on synthetic trajectories: rewarded tokens become more likely, and only those."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sea_runtime.store.folders import download_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.rollouts import Batch, Group, Trajectory
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks

pytestmark = pytest.mark.component
GROUPS, SIZE, SILENT = 4, 4, 3


def _logprobs(folder: Path, rows: list[list[int]]) -> list[np.ndarray]:
    """log p of each token of each row by transformers, fp32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager").eval()
    assert model.dtype is torch.float32
    found = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row])
            logp = model(ids).logits[0, :-1].log_softmax(-1)
            own = logp.gather(1, ids[0, 1:, None])[:, 0]
            found.append(np.concatenate([[0.0], own.numpy()]))
    return found


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [list(map(int, rng.integers(10, 600, rng.integers(20, 60)))) for _ in range(16)]


@pytest.mark.parametrize(("mode", "minibatches"), [("Cap", 1), ("Mask", 2)])
def test_rewarded_tokens_become_more_likely(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
    rows: list[list[int]],
    mode: str,
    minibatches: int,
) -> None:
    before = _logprobs(base, rows)
    rewards = [1.0 if i % SIZE == 0 else 0.0 for i in range(GROUPS * SIZE)]

    def batch(step: int) -> Batch:
        return Batch(
            "stage", step, [_group(g, rows, before, rewards) for g in range(GROUPS)], 0, 0.25
        )

    coordinator.batches = batch
    block = {
        "steps": 2,
        "promptsPerStep": GROUPS,
        "trajectoriesPerPrompt": SIZE,
        "learningRate": 3e-4,
        "importanceMode": mode,
        "minibatches": minibatches,
    }
    run = f"rl-{mode}"
    coordinator.task = make_task(run, {"type": "RL", "rl": block})
    ranks.start(attempt=1)
    ranks.wait("two steps", lambda: coordinator.done)

    rank_0_logs_each_step_once(ranks)
    first = coordinator.progress[0].metrics
    assert first["logprob_max_diff"] < 1e-4  # trainer and transformers agree on version 0
    assert first["importance_mean"] == pytest.approx(1.0, abs=1e-3)
    assert first["reward"] == 0.25
    assert first["staleness"] == 0.0
    assert first["trajectories"] == GROUPS * SIZE
    assert coordinator.progress[1].metrics["staleness"] == 1.0
    assert [v.version for v in coordinator.versions][:2] == [1, 2]
    download_folder(store, f"s3://runs/{run}/stages/stage/export", tmp_path / "export")
    after = _logprobs(tmp_path / "export", rows)
    moved = [float((a - b)[len(b) // 2 :].mean()) for a, b in zip(after, before, strict=True)]
    good = np.mean([m for m, r in zip(moved, rewards, strict=True) if r == 1.0])
    bad = np.mean([m for m, r in zip(moved, rewards, strict=True) if r == 0.0])
    assert good > 0.05 > bad


def rank_0_logs_each_step_once(ranks: Ranks) -> None:
    log = ranks.logs[0].read_text()
    assert log.count("stage step 1/2: reward 0.250, loss ") == 1
    assert log.count("stage step 2/2: reward 0.250, loss ") == 1
    line = next(one for one in log.splitlines() if "stage step 2/2" in one)
    for word in ("KL ", "entropy ", "gradient norm ", "staleness 1.00", "tokens/s"):
        assert word in line
    assert "stage step" not in ranks.logs[1].read_text()


def _group(number: int, rows: Any, before: Any, rewards: Any) -> Group:
    """The second half of every row is generated, except in row 3: the user hung up first."""
    members = range(number * SIZE, (number + 1) * SIZE)
    trajectories = []
    for i in members:
        row = rows[i]
        mask = [0] * (len(row) // 2) + [1] * (len(row) - len(row) // 2)
        logprobs = [float(p) if m else 0.0 for p, m in zip(before[i], mask, strict=True)]
        versions = [0 if m else -1 for m in mask]
        silent = i == SILENT
        parts = ([], [], [], []) if silent else (row, mask, logprobs, versions)
        trajectories.append(Trajectory.pack(*parts).encode())
    return Group(f"g{number}", [rewards[i] for i in members], trajectories)
