"""Training processes as in pods, each with its own address and folder."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sea_api.contract import Env
from sea_testing.loopback import own_address, port_on
from sea_testing.waiting import HANG_S, wait_for
from sea_testing.warm_process import WarmProcess

COLLECTIVE_S = 2 * HANG_S
"""Twice as long as a test waits: a failure that takes a collective's time-out fails the test."""


class Ranks:
    """Training processes as in as many pods, each with its own address and folder."""

    def __init__(self, folder: Path, url: str, world: int = 2) -> None:
        self.folder, self.url, self.world = folder, url, world
        self.processes: list[WarmProcess] = []

    def start(self, attempt: int) -> None:
        host = own_address()
        master = {"MASTER_ADDR": host, "MASTER_PORT": str(port_on(host))}
        self.logs = [self.folder / f"a{attempt}-r{rank}.log" for rank in range(self.world)]
        self.processes = [self._one(rank, attempt, master) for rank in range(self.world)]

    def _one(self, rank: int, attempt: int, master: dict[str, str]) -> WarmProcess:
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(self.world),
            **master,
            "SEA_ATTEMPT": str(attempt),
            "SEA_COLLECTIVE_TIMEOUT_S": str(COLLECTIVE_S),
            Env.POD_NAME: f"job-trainer-{rank}",
            Env.POD_IP: f"127.0.0.{rank + 1}",
            Env.COORDINATOR_URL: self.url,
            Env.TOKEN: "token",
            Env.DATA_DIR: str(self.folder / f"pod-{rank}"),
            "OMP_NUM_THREADS": "1",
        }
        return WarmProcess(environment, self.logs[rank])

    def log(self) -> str:
        return "\n".join(path.read_text()[-6000:] for path in self.logs)

    def alive(self) -> bool:
        ended = [code for one in self.processes if (code := one.poll()) is not None]
        assert not ended, f"ended with {ended}\n{self.log()}"
        return True

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        return wait_for(what, lambda: self.alive() and condition())

    def exit_codes(self, seconds: float = HANG_S) -> list[int]:
        return [process.wait(seconds) for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(HANG_S)
