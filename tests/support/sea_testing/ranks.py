"""Training processes as in pods, each with an address and a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return value


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])


class Ranks:
    """Two training processes as in two pods, each with an address and a folder of its own."""

    def __init__(self, folder: Path, url: str, world: int = 2) -> None:
        self.folder, self.url, self.world = folder, url, world
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, generation: int) -> None:
        port = free_port("127.0.0.1")
        self.logs = [self.folder / f"g{generation}-r{rank}.log" for rank in range(self.world)]
        self.processes = [self._one(rank, generation, port) for rank in range(self.world)]

    def _one(self, rank: int, generation: int, port: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(self.world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "SEA_GENERATION": str(generation),
            "SEA_COLLECTIVE_TIMEOUT_S": "60",
            "POD_NAME": f"job-trainer-{rank}",
            "POD_IP": f"127.0.0.{rank + 1}",
            "SEA_COORDINATOR_URL": self.url,
            "SEA_TOKEN": "token",
            "SEA_DATA_DIR": str(self.folder / f"pod-{rank}"),
            "OMP_NUM_THREADS": "1",
        }
        with self.logs[rank].open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "sea_workloads.trainer.process"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return "\n".join(path.read_text()[-6000:] for path in self.logs)

    def alive(self) -> bool:
        ended = [p.returncode for p in self.processes if p.poll() is not None]
        assert not ended, f"ended with {ended}\n{self.log()}"
        return True

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        return wait_for(lambda: self.alive() and condition(), seconds, what)

    def exit_codes(self, seconds: float = 30.0) -> list[int]:
        return [process.wait(seconds) for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
