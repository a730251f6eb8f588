"""Sizes that no cluster can have: refused with a sentence before anything is started."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea_devcluster import cli, records
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
    """Quantities as in a pod's resources; one node more than there may be is not."""
    records.require_size(nodes, capacity)
    with pytest.raises(DevclusterError, match="node"):
        records.require_size(-nodes, capacity)


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
        records.require_name("a/b")


def test_what_to_type_next_reaches_the_same_cluster(tmp_path: Path) -> None:
    """Regression: without --state-dir the commands named another cluster."""
    cluster: Any = SimpleNamespace(
        name="a",
        folder=tmp_path / "a",
        kubeconfig=tmp_path / "a" / "kubeconfig",
        s3=SimpleNamespace(endpoint="http://127.60.0.2:1"),
        plane=SimpleNamespace(kubectl=tmp_path / "bin" / "kubectl"),
    )
    down = cli._next_steps(cluster, tmp_path).splitlines()[-1]
    arguments = down.split("-m sea_devcluster ")[1].split()
    parsed = cli.parser().parse_args(arguments)
    assert (parsed.name, parsed.state_dir) == ("a", tmp_path)


def test_a_size_for_a_cluster_that_has_one_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: it was silently ignored."""

    def stop_here(*_: object) -> None:
        raise DevclusterError("so far")

    monkeypatch.setattr("sea_devcluster.preflight.require", stop_here)
    folder = tmp_path / "a"
    folder.mkdir()
    records.save(folder, records.ClusterRecord("a", 250, 1, "/clone", Capacity("2", "1Gi")))
    where = ("--name", "a", "--state-dir", str(tmp_path))
    assert cli.main(["up", *where, "--cpu", "8"]) == 1
    assert "its nodes keep the size" in capsys.readouterr().err
    assert cli.main(["up", *where]) == 1
    assert "keep the size" not in capsys.readouterr().err
