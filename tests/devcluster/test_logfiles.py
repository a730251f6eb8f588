"""Logs of daemons that run for weeks: bounded on disk, and still read as one."""

import subprocess
import sys
from pathlib import Path

import pytest

from sea_devcluster import cli, logfiles
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.waiting import wait_until


def _lines(start: int, end: int) -> str:
    return "".join(f"line {number}\n" for number in range(start, end))


def test_a_log_is_cut_under_its_writer(tmp_path: Path) -> None:
    """What is written after the cut follows what was kept, without a hole."""
    path = tmp_path / "etcd.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(_lines(0, 1000).encode())
        assert logfiles.shorten(path, 4096)
        assert path.stat().st_size == 0
        writer.write(_lines(1000, 1003).encode())
    assert path.read_text() == _lines(1000, 1003)
    kept = logfiles.old_file(path).read_text()
    assert 1000 < len(kept) <= 2048
    assert kept == _lines(1000 - len(kept.splitlines()), 1000)


def test_a_log_within_its_bound_is_left_alone(tmp_path: Path) -> None:
    """And one that is not there is no error."""
    path = tmp_path / "etcd.log"
    path.write_text(_lines(0, 10))
    assert not logfiles.shorten(path, 4096)
    assert not logfiles.shorten(tmp_path / "none.log", 4096)
    assert path.read_text() == _lines(0, 10)
    assert list(tmp_path.iterdir()) == [path]


def test_many_cuts_keep_a_folder_bounded(tmp_path: Path) -> None:
    """One old half for each log, however often it is cut."""
    for round_ in range(20):
        with (tmp_path / "s3.log").open("a") as writer:
            writer.write(_lines(1000 * round_, 1000 * round_ + 1000))
        logfiles.shorten_all(tmp_path, 4096)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4096 + 2048


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (2, _lines(6, 8)), (3, _lines(5, 8)), (5, _lines(3, 8)), (99, _lines(0, 8))],
)
def test_the_last_lines_are_read_over_the_cut(count: int, expected: str, tmp_path: Path) -> None:
    """As if it had not been cut."""
    path = tmp_path / "etcd.log"
    logfiles.old_file(path).write_text(_lines(0, 5))
    path.write_text(_lines(5, 8))
    text, size = logfiles.last_lines(path, count)
    assert text == expected
    assert size == path.stat().st_size


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    """A whole line at its beginning."""
    path = tmp_path / "etcd.log"
    path.write_text(_lines(0, 5000))
    assert logfiles.last_lines(path, 3)[0] == _lines(4997, 5000)


def test_logs_shows_what_was_there_before_the_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sea_devcluster logs` right after a cut."""
    folder = tmp_path / "a" / "logs"
    folder.mkdir(parents=True)
    (folder / "etcd.log.old").write_text(_lines(0, 5))
    (folder / "etcd.log").write_text(_lines(5, 8))
    where = ("--name", "a", "--state-dir", str(tmp_path))
    assert cli.main(["logs", "etcd", "-n", "4", *where]) == 0
    assert capsys.readouterr().out == _lines(4, 8)
    assert cli.main(["logs", "etcd.log", *where]) == 1
    assert "there are etcd." in capsys.readouterr().err


def test_following_goes_on_over_a_cut(tmp_path: Path) -> None:
    """What was shown is not shown again, and what comes after the cut is."""
    folder = tmp_path / "a" / "logs"
    folder.mkdir(parents=True)
    path, seen = folder / "etcd.log", tmp_path / "seen"
    path.write_text(_lines(0, 600))
    command = [sys.executable, "-m", "sea_devcluster", "logs", "etcd", "-f", "-n", "2"]
    with (
        seen.open("wb") as output,
        subprocess.Popen(
            [*command, "--name", "a", "--state-dir", str(tmp_path)],
            stdout=output,
            start_new_session=True,
        ) as follower,
    ):
        try:
            _until(seen, _lines(598, 600))
            with path.open("a") as writer:
                writer.write("before\n")
            _until(seen, _lines(598, 600) + "before\n")
            assert logfiles.shorten(path, 4096)
            with path.open("a") as writer:
                writer.write("after\n")
            _until(seen, _lines(598, 600) + "before\nafter\n")
        finally:
            follower.terminate()


def test_a_daemons_log_is_cut_before_it_starts(tmp_path: Path) -> None:
    """Nobody cuts it where no node runs."""
    daemon = Daemon(tmp_path, "etcd")
    daemon.log_file.parent.mkdir()
    with daemon.log_file.open("wb") as file:
        file.truncate(logfiles.MAX_BYTES + 1)
    argv = [sys.executable, "-c", "print('started')"]
    daemon.start(Command("etcd", argv, tmp_path), persistent=False)
    wait_until(lambda: not daemon.alive(), what="its end", timeout=60)
    assert daemon.log_file.read_text() == "started\n"
    daemon.stop()


def _until(path: Path, expected: str) -> None:
    wait_until(lambda: path.read_text() == expected, what=f"{expected!r}", timeout=60)
