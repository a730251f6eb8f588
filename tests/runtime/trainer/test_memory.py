"""Every way to save memory computes the same: one rank of the real Megatron."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def found(run_probe: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Losses, norms and parameters of each case; one program, since imports are slow."""
    return run_probe("memory_probe.py", tmp_path_factory.mktemp("memory"))


def test_grouped_experts_train_as_sequential_ones_do(found: dict[str, list[Any]]) -> None:
    for ours, theirs in zip(found["moe"][:3], found["moe sequential"], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6)


def test_no_expert_weight_is_copied_for_it(found: dict[str, list[Any]]) -> None:
    views, copies = found["moe"][3]
    assert views > 0
    assert copies == 0


@pytest.mark.parametrize("kind", ["moe", "dense"])
@pytest.mark.parametrize("recompute", ["Selective", "Full"])
def test_recomputed_activations_give_the_same(
    found: dict[str, list[Any]], kind: str, recompute: str
) -> None:
    assert found[f"{kind} {recompute}"] == found[kind][:3]


def test_a_shared_prompt_gives_the_same(found: dict[str, list[Any]]) -> None:
    """Losses and parameters over three steps, as if every sequence computed it."""
    shared, whole = found["moe, a shared prompt"], found["moe, a prompt in each"]
    for ours, theirs in zip(shared, whole, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6)


def test_offloaded_optimizer_states_give_the_same(found: dict[str, list[Any]]) -> None:
    assert found["moe bf16 offload"] == found["moe bf16"]
