"""What the parts of a trainer pod are given: the pod's settings, and a rank's context.

Imports neither torch nor a client: the supervisor reads the settings too.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sea_api.contract import DATA_DIR, Env
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe

if TYPE_CHECKING:
    from sea_runtime.client.sync_client import CoordinatorClient
    from sea_runtime.store.s3 import ObjectStore
    from sea_runtime.trainer.process_groups import ControlGroup


@dataclass(frozen=True)
class PodSettings:
    """The pod's environment, read once."""

    pod: str
    address: str
    """Pod IP: every server binds to it, never to 0.0.0.0."""
    coordinator: str
    """URL."""
    token: str
    data_dir: Path
    processes: int
    """Training processes of this pod."""
    grace_s: float = 0.0
    """Seconds from SIGTERM to SIGKILL."""

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "PodSettings":
        return PodSettings(
            pod=environment[Env.POD_NAME],
            address=environment[Env.POD_IP],
            coordinator=environment[Env.COORDINATOR_URL],
            token=environment[Env.TOKEN],
            data_dir=Path(environment.get(Env.DATA_DIR, DATA_DIR)),
            processes=int(environment.get(Env.PROCESSES_PER_POD, "1")),
            grace_s=float(environment.get(Env.GRACE_SECONDS) or 0.0),
        )

    def environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads, for the processes of this pod."""
        return {
            Env.POD_NAME: self.pod,
            Env.POD_IP: self.address,
            Env.COORDINATOR_URL: self.coordinator,
            Env.TOKEN: self.token,
            Env.DATA_DIR: str(self.data_dir),
            Env.PROCESSES_PER_POD: str(self.processes),
        }


@dataclass(frozen=True)
class RankContext:
    """What every part of a training process needs: its rank, peers, coordinator and store."""

    pod: PodSettings
    assignment: RankAssignment
    control: "ControlGroup"
    client: "CoordinatorClient"
    """Used by rank 0 only."""
    store: "ObjectStore"
    status: StatusPipe

    @property
    def leads(self) -> bool:
        """True on rank 0, which talks to the coordinator and commits checkpoints."""
        return self.assignment.rank == 0

    @property
    def attempt(self) -> int:
        return self.assignment.attempt
