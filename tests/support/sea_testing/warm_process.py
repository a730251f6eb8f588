"""Training processes forked from a warm parent: torch and Megatron are imported once per session.

Their import takes six seconds of a core, and the component tests start some forty ranks. The parent
is multiprocessing's fork server, a process of its own without threads. A fork sets its variables
and streams, then runs what `python -m sea_runtime.trainer.process` would, workarounds included.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PROGRAM = "sea_runtime.trainer.process"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([f"{__name__}_imports"])


class WarmProcess:
    """A rank, with the part of `subprocess.Popen` that tests need; both streams go to `log`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        log.touch()
        # A daemon: whatever a test forgets ends with the session.
        self._process: ForkServerProcess = _context.Process(
            target=_run, args=(dict(environment), str(log)), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Its exit code; raises `subprocess.TimeoutExpired`."""
        self._process.join(seconds)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(PROGRAM, seconds)
        return code

    def send_signal(self, number: int) -> None:
        """As `Popen` has it: nothing is sent to a process that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(environment: dict[str, str], log: str) -> None:
    """In the fork."""
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    # The fork server ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    sys.argv = [PROGRAM]
    runpy.run_module(PROGRAM, run_name="__main__")
