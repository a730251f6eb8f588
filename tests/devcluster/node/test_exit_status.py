"""Why a container ended: exit codes, out of memory, commands that don't exist."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sea_devcluster.node.exit_status import FinishedRun, classify, oom_kills

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = FinishedRun(1, NOW, NOW + timedelta(seconds=1), "id", 0, False, "", ("some output",))
BWRAP = ("bwrap: execvp x: No such file or directory",)


@pytest.mark.parametrize(
    ("changes", "code", "reason", "message"),
    [
        ({"exit_code": 0}, 0, "Completed", ""),
        ({"exit_code": 3}, 3, "Error", ""),
        ({"exit_code": 137}, 137, "Error", ""),
        ({"exit_code": 137, "oom_kills": 1}, 137, "OOMKilled", ""),
        ({"exit_code": 137, "oom_kills": 1, "killed_by_agent": True}, 137, "Error", ""),
        ({"output": BWRAP}, 128, "StartError", "execvp x: No such file or directory"),
        ({"output": ("before", *BWRAP)}, 1, "Error", ""),
        ({"termination_message": "why"}, 1, "Error", "why"),
        ({"fall_back_to_logs": True}, 1, "Error", "some output"),
        ({"fall_back_to_logs": True, "exit_code": 0}, 0, "Completed", ""),
    ],
)
def test_classification(changes: Any, code: int, reason: str, message: str) -> None:
    found = classify(replace(BASE, **changes))
    assert (found.exit_code, found.reason, found.message) == (code, reason, message)


def test_the_kernel_counts_oom_kills() -> None:
    assert oom_kills() >= 0
