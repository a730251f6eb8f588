"""Logs on disk: timestamps, rotation, previous runs, followers, and the options of kubectl logs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.node.logs import ContainerLog
from sea_devcluster.node.server import LogQuery, parse, select

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Any:
    return ContainerLog(tmp_path / "logs", 4096, lambda: NOW)


def test_lines_in_pieces(log: Any) -> None:
    log.begin(0)
    log.write(b"one\ntw")
    log.write(b"o\nrest")
    log.end()
    stamp = b"2026-01-02T03:04:05.000000Z "
    assert log.read(0) == [stamp + b"one", stamp + b"two", stamp + b"rest"]
    assert log.tail(0, 1) == [stamp + b"rest"]


def test_the_previous_run_is_kept(log: Any) -> None:
    for run in range(3):
        log.begin(run)
        log.write(b"run %d\n" % run)
        log.end()
    assert not log.exists(0)
    assert log.read(1)[0].endswith(b"run 1")
    assert log.latest_run() == 2


def test_logs_are_bounded(log: Any, tmp_path: Path) -> None:
    log.begin(0)
    for number in range(1000):
        log.write(b"line %d\n" % number)
    log.end()
    assert sum(path.stat().st_size for path in (tmp_path / "logs").iterdir()) <= 4096
    lines = log.read(0)
    assert lines[-1].endswith(b"line 999")
    assert 20 < len(lines) < 200


def test_a_line_without_end_is_bounded(log: Any) -> None:
    log.begin(0)
    for _ in range(10):
        log.write(b"x" * 100_000)
    assert len(log.read(0)) >= 2


async def test_followers_get_what_comes_and_then_the_end(log: Any) -> None:
    log.begin(0)
    queue = log.follow()
    log.write(b"a\nb\n")
    log.end()
    found = [await queue.get() for _ in range(3)]
    assert [line and line.rsplit(b" ")[-1] for line in found] == [b"a", b"b", None]


def test_a_new_agent_finds_the_old_logs(log: Any, tmp_path: Path) -> None:
    log.begin(4)
    log.write(b"old\n")
    log.end()
    assert ContainerLog(tmp_path / "logs", 4096, lambda: NOW).latest_run() == 4


LINES = [b"2026-01-02T03:04:0%d.000000Z line %d" % (i, i) for i in range(5)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(tail_lines=2), b"line 3\nline 4\n"),
        (LogQuery(tail_lines=0), b""),
        (LogQuery(since=NOW - timedelta(seconds=1)), b"line 4\n"),
        (LogQuery(limit_bytes=3), b"lin"),
        (LogQuery(tail_lines=1, timestamps=True), LINES[4] + b"\n"),
    ],
)
def test_selecting(query: Any, expected: Any) -> None:
    assert select(LINES, query) == expected


def test_parsing() -> None:
    asked = {"follow": "true", "tailLines": "5", "sinceSeconds": "10", "previous": "false"}
    query = parse(asked, NOW)
    assert (query.follow, query.previous, query.tail_lines) == (True, False, 5)
    assert query.since == NOW - timedelta(seconds=10)
    with pytest.raises(ValueError, match="many"):
        parse({"tailLines": "many"}, NOW)
