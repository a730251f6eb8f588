"""Ctrl-C in the middle of a demo: the cluster with all its pods is stopped, only logs are left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sea_devcluster.shutdown import mounts_below
from sea_testing.waiting import HANG_S, wait_for

# Who runs the tests in the background of a shell hands down an ignored SIGINT.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sea_devcluster import preflight
from sea_devcluster.demo import main, options
main.NEEDS = preflight.Needs()  # nothing is trained here
sys.exit(main.demo(options.parse(sys.argv[1:])) is None)
"""


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line names the folder: all of a cluster's programs and sandboxes."""
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if str(folder) in " ".join(one.info["cmdline"] or ())]


@pytest.mark.cluster
def test_ctrl_c_stops_the_cluster(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-c", PROGRAM, "--plain", "--name", "cut", "--out", str(tmp_path)]
    demo = subprocess.Popen(
        command,
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as from a terminal, but not from that of the tests
    )
    assert demo.stdout is not None
    said = [demo.stdout.readline()]
    while "Applying tiny.yaml (" not in said[-1]:
        assert said[-1], f"it ended by itself: {said}"
        said.append(demo.stdout.readline())
    wait_for("the job's sandboxes", lambda: _sandboxes(state))
    os.kill(demo.pid, signal.SIGINT)
    rest, _ = demo.communicate(timeout=HANG_S)
    assert demo.returncode == 1
    assert "Stopping the devcluster (" in rest
    assert rest.endswith("Stopped.\n")
    assert "Traceback" not in rest
    wait_for("the end of all processes", lambda: not processes_of(state))
    assert mounts_below(Path("/proc/self/mountinfo").read_text(), tmp_path) == []
    left = [path for path in state.rglob("*") if path.is_file() and path.parent.name != "logs"]
    assert [path for path in left if path.suffix != ".lock"] == []


def _sandboxes(state: Path) -> bool:
    """The operator's pod, and at least one of the job's."""
    return len([one for one in processes_of(state) if "bwrap" in one.info["cmdline"][0]]) > 1
