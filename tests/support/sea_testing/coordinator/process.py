"""The real coordinator as a process: started, killed, its volume lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from sea_testing.loopback import own_address, port_on
from sea_testing.waiting import HANG_S, wait_for

TOKEN = "token-of-the-job"


class CoordinatorProcess:
    """One coordinator on an address of its own, so that its port is still free after a kill."""

    def __init__(self, uid: str, folder: Path) -> None:
        self.uid = uid
        self.host = own_address()
        self.port = port_on(self.host)
        self.data_dir = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "coordinator.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Returns at once; calls wait until it answers."""
        environment = {
            **os.environ,
            "SEA_JOB": "job",
            "SEA_NAMESPACE": "ns",
            "SEA_JOB_UID": self.uid,
            "SEA_TOKEN": TOKEN,
            "POD_IP": self.host,
            "SEA_DATA_DIR": str(self.data_dir),
            "SEA_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sea_runtime.coordinator"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """With what it started: a synthesis ends by itself, but a moment later."""
        assert self._process is not None
        started = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(HANG_S)
        wait_for("the end of what it started", lambda: all(map(_is_over, started)))

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def wipe(self) -> None:
        """The volume is lost."""
        shutil.rmtree(self.data_dir)


def _is_over(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
