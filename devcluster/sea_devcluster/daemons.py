"""Starts one component as a daemon with a log file and a record on disk.

The record (`run/NAME.json`) is how a later command finds the process again: `up` writes it,
`status` and `down` read it. Used by the control plane, the S3 server and the nodes.
"""

import ctypes
import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from sea_devcluster import logfiles, records
from sea_devcluster.errors import PortTakenError, StartError
from sea_devcluster.interrupts import postponed
from sea_devcluster.paths import write_private
from sea_devcluster.ports import ADDRESS_TAKEN
from sea_devcluster.processes import ProcessId, end_family

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec nothing may be imported or loaded.
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Command:
    """What to run, and where."""

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] | None = None
    """Added to a cleaned copy of this process's environment."""


class Daemon:
    """One recorded process of a cluster, found by the cluster's folder and its own name."""

    _children: ClassVar[dict[ProcessId | None, subprocess.Popen[bytes]]] = {}
    """Processes that this program started and must reap. Shared: several objects may stand for one
    process, and any of them may stop it."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.name = name
        self.log_file = state_dir / "logs" / f"{name}.log"
        self._record_file = state_dir / "run" / f"{name}.json"

    @property
    def process(self) -> ProcessId | None:
        """The recorded process, running or not; None if it was never started or was stopped.

        Raises:
            RecordError: The record is broken.
        """
        try:
            return records.load_json(
                self._record_file, lambda content: ProcessId(**content["process"])
            )
        except FileNotFoundError:
            return None

    def alive(self) -> bool:
        """True if the recorded process runs."""
        process = self.process
        return process is not None and process.alive()

    def exit_code(self) -> int | None:
        """Exit code, if this program is the parent and the process has ended."""
        child = self._children.get(self.process)
        return child.poll() if child is not None else None

    def start(self, command: Command, *, persistent: bool) -> None:
        """Starts it with its output appended to the log.

        Args:
            command: What to run.
            persistent: Outlives this program (`up`). Otherwise the kernel kills it when the
                *thread* that called this ends, so that a crashed test leaves nothing behind.
        """
        for folder in (self.log_file.parent, self._record_file.parent, command.cwd):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        logfiles.shorten(self.log_file)
        with postponed():  # no `down` would find a process without its record
            with self.log_file.open("ab") as output:
                child = subprocess.Popen(
                    list(command.argv),
                    cwd=command.cwd,
                    env={**clean_environment(os.environ), **(command.env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal is for the caller alone
                    preexec_fn=None if persistent else _die_with(os.getpid()),  # noqa: PLW1509
                )
            process = ProcessId.of(child.pid)
            self._children[process] = child
            record = {"process": asdict(process), "argv": list(command.argv)}
            try:
                write_private(self._record_file, json.dumps(record, indent=1))
            except OSError:  # a full disk: without a record nothing would find it again
                child.kill()
                child.wait(10.0)
                raise
        log.debug("Started %s as process %d.", self.name, process.pid)

    def stop(self, grace: float = 10.0) -> None:
        """Ends it and everything it started, then removes the record. Idempotent."""
        process = self.process
        if process is None:
            return
        if not end_family(process, grace):
            log.debug("%s did not end within %.0f s and was killed.", self.name, grace)
        # Only a parent can reap; another program's daemon is reaped by init.
        if (child := self._children.pop(process, None)) is not None:
            child.wait(10.0)  # else it stays as a zombie until this program ends
        # Last: a kill before this line leaves a record of a process that has ended, which is
        # harmless.
        self._record_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """`kill -9` of the process alone: for chaos tests."""
        process = self.process
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait(10.0)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, for error messages."""
        try:
            return logfiles.last_lines(self.log_file, lines)[0].rstrip("\n")
        except FileNotFoundError:
            return "(no log)"

    def with_tail(self, error: StartError) -> StartError:
        """`error` with the end of its log, unless it has it already.

        A PortTakenError if the log, which is all that reports it, names a taken port.
        """
        sentence, tail = str(error), self.tail()
        kind = PortTakenError if ADDRESS_TAKEN in tail else type(error)
        return kind(sentence if sentence.endswith(tail) else f"{sentence}\n{tail}")

    def require_alive(self) -> None:
        """Raises StartError, with the end of its log, if the process has ended."""
        if not self.alive():
            sentence = (
                f"{self.name} ended while starting (exit code {self.exit_code()}); "
                f"its log {self.log_file} ends with:"
            )
            raise self.with_tail(StartError(sentence))


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would reroute or reconfigure a local daemon."""
    # GO covers GOMEMLIMIT and GODEBUG.
    dropped_prefixes = ("KUBE", "WEED_", "ETCD_", "AWS_", "GO")
    return {
        key: value
        for key, value in environment.items()
        if not key.upper().endswith("_PROXY") and not key.startswith(dropped_prefixes)
    }


def _die_with(parent: int) -> Callable[[], None]:
    def request_signal() -> None:
        # Cleared by execve of a setuid program only; sent when the parent *thread* ends (prctl(2)).
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the request was made
            os._exit(1)

    return request_signal
