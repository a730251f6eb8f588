"""Scores of an evaluation, and the memory the coordinator does without."""

import subprocess
import sys

import pytest

from sea_workloads.coordinator import evaluation


def test_results_by_domain_and_on_average() -> None:
    """pass^k over tasks; the average is over domains, as published tables have it."""
    found = evaluation.results(
        "eval",
        {
            "shop": {"a": [True] * 4, "b": [True, True, False, False]},
            "retail": {"c": [False] * 4},
        },
    )
    retail, shop, average = found
    assert [item.domain for item in found] == ["retail", "shop", "average"]
    assert (shop.tasks, shop.episodes) == (2, 8)
    assert shop.pass_hat1 == pytest.approx(75.0)
    assert shop.pass_hat2 == pytest.approx(100 * (1 + 1 / 6) / 2)
    assert shop.pass_hat4 == pytest.approx(50.0)
    assert shop.pass_at4 == pytest.approx(100.0)
    assert retail.pass_hat1 == retail.pass_at4 == 0.0
    assert (average.tasks, average.episodes) == (3, 12)
    assert average.pass_hat1 == pytest.approx(37.5)
    assert average.pass_at4 == pytest.approx(50.0)


def test_trials_without_a_verdict_are_left_out() -> None:
    """A task with fewer trials has no pass^4; one without any doesn't exist."""
    (shop, average) = evaluation.results(
        "eval", {"shop": {"a": [True, False], "b": []}, "retail": {"c": []}}
    )
    assert (shop.tasks, shop.episodes, shop.pass_hat1) == (1, 2, 50.0)
    assert shop.pass_hat4 is None
    assert average.pass_hat4 is None
    assert evaluation.results("eval", {"shop": {"a": []}}) == []


def test_no_training_stack_in_the_coordinator() -> None:
    """It runs beside the operator's limits: no torch, no transformers."""
    code = (
        "import sys, sea_workloads.coordinator.app, sea_workloads.domains.registry\n"
        "found = {'torch', 'transformers', 'vllm'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
