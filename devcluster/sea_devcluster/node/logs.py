"""A container's output on disk: one bounded file per run, with timestamps, followed live."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from .kube_json import micro_timestamp

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 1 << 18
# Bounds the memory per `kubectl logs -f` whose client doesn't read.
MAX_QUEUED_LINES = 8192
TAIL_BYTES = 1 << 16


class ContainerLog:
    """Logs of one container. Files `N.log` (and `N.log.old` after rotation) for the run number N.

    The current and the previous run are kept, as a kubelet does for `kubectl logs --previous`.
    """

    def __init__(self, folder: Path, max_bytes: int, now: Callable[[], datetime]) -> None:
        self.run: int | None = None
        self.live = False
        self._folder = folder
        # Two files of half the limit each: the newest lines survive a rotation.
        self._half = max_bytes // 2
        self._now = now
        self._partial = b""
        self._file: BinaryIO | None = None
        self._size = 0
        self._warned = False
        self._followers: set[asyncio.Queue[bytes | None]] = set()

    def begin(self, run: int) -> None:
        """Open the log of run number `run`; runs before the previous one are deleted."""
        self.end()
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob("*.log*"):
            if int(path.name.split(".")[0]) < run - 1:
                path.unlink()
        self.run, self.live, self._size = run, True, 0
        # Unbuffered: `kubectl logs` reads the file while it grows.
        self._file = self._path(run).open("wb", buffering=0)

    def write(self, chunk: bytes) -> None:
        """Adds output of the container, in chunks of any size."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        # A progress bar without newlines must not grow in memory.
        if len(self._partial) > MAX_LINE_BYTES:
            lines.append(self._partial)
            self._partial = b""
        self._append(lines)

    def end(self) -> None:
        """Ends the run: flushes, closes, and lets followers finish."""
        if self._partial:
            self._append([self._partial])
            self._partial = b""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.live = False
        for queue in self._followers:
            # None ends a follower; sent after the last line was offered.
            _offer(queue, None)
        self._followers.clear()

    def read(self, run: int) -> list[bytes]:
        """All lines of a run, each `TIMESTAMP TEXT` without a newline."""
        content = b""
        for path in (self._path(run).with_suffix(".log.old"), self._path(run)):
            if path.exists():
                content += path.read_bytes()
        return content.split(b"\n")[:-1]

    def tail(self, run: int, lines: int) -> list[bytes]:
        """The last lines of a run, from its last 64 KiB at most."""
        if not self.exists(run):
            return []
        with self._path(run).open("rb") as file:
            file.seek(max(0, self._path(run).stat().st_size - TAIL_BYTES))
            return file.read().split(b"\n")[:-1][-lines:]

    def exists(self, run: int) -> bool:
        """True if that run has a log."""
        return self._path(run).exists()

    def latest_run(self) -> int | None:
        """The newest run with a log, even one of an earlier agent."""
        if self.run is not None:
            return self.run
        runs = [int(path.name.split(".")[0]) for path in self._folder.glob("*.log")]
        return max(runs, default=None)

    def follow(self) -> asyncio.Queue[bytes | None]:
        """Lines from now on; None at the end of the run."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED_LINES)
        self._followers.add(queue)
        return queue

    def unfollow(self, queue: asyncio.Queue[bytes | None]) -> None:
        """Removes a follower that went away."""
        self._followers.discard(queue)

    def _append(self, lines: list[bytes]) -> None:
        if not lines or self._file is None:
            return
        stamp = micro_timestamp(self._now()).encode()
        stamped = [stamp + b" " + line for line in lines]
        content = b"\n".join(stamped) + b"\n"
        try:
            if self._size + len(content) > self._half and self._size:
                self._rotate()
            self._size += self._file.write(content) or 0
        except (OSError, ValueError) as error:
            # A full disk, or a file that it kept from being opened: the container continues.
            if not self._warned:
                log.error("Lines of %s are lost: %s", self._folder, error)
            self._warned = True
        for queue in list(self._followers):
            for line in stamped:
                if not _offer(queue, line):
                    self._followers.discard(queue)
                    break

    def _rotate(self) -> None:
        assert self._file is not None and self.run is not None, "only an open log rotates"  # noqa: PT018
        self._file.close()
        path = self._path(self.run)
        if path.exists():  # it doesn't if an earlier rotation failed at the open below
            path.replace(path.with_suffix(".log.old"))
        self._file, self._size = path.open("wb", buffering=0), 0

    def _path(self, run: int) -> Path:
        return self._folder / f"{run}.log"


def _offer(queue: asyncio.Queue[bytes | None], line: bytes | None) -> bool:
    """Queues a line; a follower that is too slow is dropped rather than slowing the container."""
    try:
        queue.put_nowait(line)
    except asyncio.QueueFull:
        # Room for the end mark: without it the follower would wait forever.
        queue.get_nowait()
        queue.put_nowait(None)
        return False
    return True
