"""What the pod's environment says, read once (contract: every pod gets these variables)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sea_api.contract import DATA_DIR, Env


@dataclass(frozen=True)
class PodSettings:
    pod: str
    address: str
    """Pod IP: every server binds it, never 0.0.0.0."""
    coordinator: str
    token: str
    data_dir: Path
    processes: int
    """Training processes of this pod."""

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "PodSettings":
        return PodSettings(
            pod=environment[Env.POD_NAME],
            address=environment[Env.POD_IP],
            coordinator=environment[Env.COORDINATOR_URL],
            token=environment[Env.TOKEN],
            data_dir=Path(environment.get(Env.DATA_DIR, DATA_DIR)),
            processes=int(environment.get(Env.PROCESSES_PER_POD, "1")),
        )
