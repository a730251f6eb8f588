"""What the pod's environment says, read once (contract: every pod gets these variables)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
            pod=environment["POD_NAME"],
            address=environment["POD_IP"],
            coordinator=environment["SEA_COORDINATOR_URL"],
            token=environment["SEA_TOKEN"],
            data_dir=Path(environment.get("SEA_DATA_DIR", "/sea/data")),
            processes=int(environment.get("SEA_PROCESSES_PER_POD", "1")),
        )
