"""Sizes that no cluster can have: refused with a sentence before anything is started."""

from pathlib import Path

import pytest

from sea_devcluster import bounds, cli
from sea_devcluster.errors import DevclusterError
from sea_devcluster.records import Capacity

REFUSED = [
    ("--nodes", "0"),
    ("--nodes", "-1"),
    ("--nodes", "201"),
    ("--nodes", "1000000000000"),
    ("--cpu", "0"),
    ("--cpu", "-4"),
    ("--cpu", "many"),
    ("--cpu", "1e99"),
    ("--cpu", "16Gi"),
    ("--memory", "0"),
    ("--memory", "-1Gi"),
    ("--memory", "16 GB"),
    ("--memory", "16gb"),
    ("--memory", "500m"),
    ("--memory", "9999999999Ti"),
    ("--gpus", "-1"),
    ("--gpus", "100000"),
]


@pytest.mark.parametrize(("option", "value"), REFUSED)
def test_a_nonsense_size_is_refused_before_anything_is_made(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence that names the option; no folder, no process."""
    assert cli.main(["up", "--state-dir", str(tmp_path), f"{option}={value}"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"give {option} a" in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("nodes", "capacity"),
    [
        (1, None),
        (200, Capacity("4", "16Gi")),
        (2, Capacity("500m", "800M", 8)),
        (1, Capacity("0.5", "17179869184", 0)),
        (1, Capacity("128", "1.5Ti")),
    ],
)
def test_sizes_that_kubernetes_knows_are_accepted(nodes: int, capacity: Capacity | None) -> None:
    """Quantities as in a pod's resources."""
    bounds.require_size(nodes, capacity)


@pytest.mark.parametrize("lines", ["-5", "x", "1.5", ""])
def test_a_nonsense_number_of_lines_is_refused(
    lines: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tail` would take -5 for 5."""
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["logs", "etcd", f"--lines={lines}"])
    assert "is no number of lines" in capsys.readouterr().err


def test_a_name_that_would_break_paths_is_refused() -> None:
    """The same check that a cluster makes."""
    with pytest.raises(DevclusterError, match="lower-case"):
        bounds.require_name("a/b")
