"""Ranks that wait for one of them longer than a collective may take."""

import subprocess
import sys
from pathlib import Path

import pytest

from sea_testing.loopback import own_address, port_on
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
PROBE = Path(__file__).with_name("rank_barrier_probe.py")


def test_work_may_outlast_a_collective_and_its_failure_ends_all_ranks() -> None:
    host = own_address()
    place = [host, str(port_on(host))]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PROBE), str(rank), *place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for one in ranks:  # imports take one of them much longer than the other
        assert one.stdout is not None
        assert one.stdout.readline() == "imported\n"
    for one in ranks:
        assert one.stdin is not None
        one.stdin.write("join\n")
        one.stdin.flush()
    (first, first_error), (second, second_error) = (
        one.communicate(timeout=HANG_S) for one in ranks
    )
    assert (first.strip(), second.strip()) == ("done", "None"), (first_error, second_error)
    assert "the work broke" in first_error
    assert [one.returncode != 0 for one in ranks] == [True, True]
