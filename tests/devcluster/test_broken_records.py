"""Files that a power cut or a full disk left empty: clear errors, and a `down` that cleans up."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sea_devcluster import cli, force_cleanup, paths, records, subnets
from sea_devcluster.cluster import DevCluster
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import RecordError
from sea_devcluster.processes import ProcessId
from sea_devcluster.seaweedfs_sockets import remove_sockets, socket_files

BROKEN = ["", '{"name": "x"', "[]", '{"name": "x"}', "null"]
SLEEP = "import time; time.sleep(600)"


def _cluster(root: Path, content: str) -> Path:
    folder = root / "cut"
    folder.mkdir()
    (folder / records.FILE).write_text(content)
    return folder


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("command", ["up", "status"])
def test_a_broken_record_is_a_sentence_with_the_way_out(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a traceback nor a second cluster over the first."""
    _cluster(tmp_path, content)
    assert cli.main([command, "--name", "cut", "--state-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "cluster.json cannot be read" in said
    assert "sea_devcluster down" in said


@pytest.mark.parametrize("content", BROKEN)
def test_down_all_leaves_a_cluster_of_which_it_knows_nothing(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may belong to another checkout; a warning names it."""
    folder = _cluster(tmp_path, content)
    assert cli.main(["down", "--all", "--state-dir", str(tmp_path)]) == 0
    assert folder.exists()
    assert "Devcluster cut is left as it is." in caplog.text


@pytest.mark.parametrize("broken", ["cluster.json", "run/etcd.json", "s3.json", "ports.json"])
def test_down_ends_what_runs_whichever_record_is_broken(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the remaining records, and for the rest by the kernel's list of processes."""
    folder = tmp_path / "cut"
    folder.mkdir()
    second = subnets.claim(folder).second
    capacity = records.Capacity("1", "1Gi")
    records.save(folder, records.ClusterRecord("cut", second, 1, "/clone", capacity))
    memory = subnets.memory_root(second, 1)
    memory.mkdir()
    port = 100_000 + os.getpid()  # no real server's
    settings = {"access_key": "a", "secret_key": "b", "ports": [port]}
    (folder / "s3.json").write_text(json.dumps(settings))
    sockets = socket_files([port])
    for path in sockets:
        path.touch()
    processes = [_daemon(folder, name) for name in ("etcd", "weed", "kube-apiserver")]
    (folder / broken).write_text("")
    try:
        assert cli.main(["down", "--name", "cut", "--state-dir", str(tmp_path)]) == 0
        assert "Devcluster cut is gone." in capsys.readouterr().out
        assert [process for process in processes if process.alive()] == []
        assert not folder.exists()
        assert not memory.exists()
        assert subnets.claimed(folder) is None
        left = [path for path in sockets if path.exists()]
        assert left == (sockets if broken == "s3.json" else [])  # nobody knows its ports any more
    finally:
        remove_sockets([port])
        for process in processes:
            process.send(signal.SIGKILL)


def test_a_daemon_without_a_record_is_found(tmp_path: Path) -> None:
    """Its record was lost; a person's shell in the same folder is left alone."""
    folder = tmp_path / "cut"
    process = _daemon(folder, "kube-scheduler")
    (folder / "run" / "kube-scheduler.json").unlink()
    with subprocess.Popen([sys.executable, "-c", SLEEP, f"{folder}/x"], cwd=folder) as person:
        try:
            assert force_cleanup.strays(folder) == [process]
            force_cleanup.end_strays(folder)
            assert not process.alive()
            assert ProcessId.of(person.pid).alive()
        finally:
            person.kill()


@pytest.mark.parametrize(
    ("argv", "place", "ours"),
    [
        (["/bin/etcd", "--data-dir=/s/a/etcd"], "/s/a", True),
        (["/bin/python", "-m", "sea_devcluster.node", "--config", "/s/a/n.json"], "/s/a/n", True),
        (["/bin/etcd", "--data-dir=/s/ab/etcd"], "/s/ab", False),
        (["/bin/etcd", "--data-dir=/s/a/etcd"], "/home", False),
        (["tail", "-F", "/s/a/logs/etcd.log"], "/s/a", False),
        (["vim", "/s/a/etcd/x"], "/s/a", False),
        (["etcd"], "/s/a", False),
        ([""], "/s/a", False),
    ],
)
def test_only_a_clusters_own_daemons_are_strays(argv: list[str], place: str, ours: bool) -> None:
    """Program, arguments and working directory must all match."""
    assert force_cleanup.is_daemon(argv, Path(place), Path("/s/a")) == ours


def test_a_process_whose_record_cannot_be_written_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would find it again."""
    before, started = _children(), set[int]()

    def full(path: Path, _: str) -> Path:
        started.update(_children() - before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("sea_devcluster.daemons.write_private", full)
    daemon = Daemon(tmp_path, "etcd")
    with pytest.raises(OSError, match="No space left"):
        daemon.start(Command("etcd", [sys.executable, "-c", SLEEP], tmp_path), persistent=False)
    assert len(started) == 1
    assert not started & _children()


def test_a_full_disk_leaves_the_old_record_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are replaced in one step or not at all."""
    path = paths.write_private(tmp_path / "record.json", '{"a": 1}')

    def full(_: Path, __: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"record\.json"):
        paths.write_private(path, '{"a": 2}')
    assert records.load_json(path, dict) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_process_record_is_a_record_error(tmp_path: Path) -> None:
    """`up` must not start a second daemon beside one that it cannot see."""
    daemon = Daemon(tmp_path, "etcd")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "etcd.json").write_text("{")
    with pytest.raises(RecordError, match=r"run/etcd\.json"):
        daemon.alive()


def test_a_cluster_with_a_broken_record_exists(tmp_path: Path) -> None:
    """So that the demo, too, takes it down first."""
    _cluster(tmp_path, "")
    assert DevCluster("cut", state_root=tmp_path).exists
    assert not DevCluster("other", state_root=tmp_path).exists


def _daemon(folder: Path, program: str) -> ProcessId:
    """A sleeping process that looks like a daemon of the cluster."""
    binary = folder.parent / "bin" / program
    binary.parent.mkdir(exist_ok=True)
    if not binary.exists():
        binary.symlink_to("/bin/sh")
    name = "s3" if program == "weed" else program
    argv = [str(binary), "-c", "sleep 600 & wait", "daemon", f"{folder}/data"]
    daemon = Daemon(folder, name)
    daemon.start(Command(name, argv, folder), persistent=False)
    process = daemon.process
    assert process is not None
    return process


def _children() -> set[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in text.split()}
