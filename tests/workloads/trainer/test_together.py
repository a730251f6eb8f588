"""Ranks that wait for one of them, longer than a collective may take."""

import subprocess
import sys
from pathlib import Path

import pytest

from sea_testing.ranks import free_port

pytestmark = [pytest.mark.component, pytest.mark.timeout(120)]
PROBE = Path(__file__).with_name("together_probe.py")


def test_work_may_outlast_a_collective_and_its_failure_ends_everybody() -> None:
    port = str(free_port("127.0.0.1"))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PROBE), str(rank), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    (first, first_error), (second, second_error) = (one.communicate(timeout=100) for one in ranks)
    assert (first.strip(), second.strip()) == ("done", "None"), (first_error, second_error)
    assert "the work broke" in first_error
    assert [one.returncode != 0 for one in ranks] == [True, True]
