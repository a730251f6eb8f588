"""What the pod's environment says, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sea_api.contract import COORDINATOR_PORT, Env
from sea_runtime.errors import RuntimeFailure


class SettingsError(RuntimeFailure):
    """The pod was not started by the operator, or by a broken one."""


@dataclass(frozen=True)
class Settings:
    job: str
    namespace: str
    uid: str
    token: str
    host: str
    data_dir: Path
    port: int = COORDINATOR_PORT
    synthesis_retry_s: float = 15.0
    """Pause before a synthesis that failed is tried again."""


def from_environment(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError naming the variables that are missing."""
    names = (Env.JOB, Env.NAMESPACE, Env.JOB_UID, Env.TOKEN, Env.POD_IP, Env.DATA_DIR)
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise SettingsError(
            f"The coordinator needs {', '.join(missing)} in its environment; the operator sets "
            "them on the pods it creates."
        )
    return Settings(
        job=env[Env.JOB],
        namespace=env[Env.NAMESPACE],
        uid=env[Env.JOB_UID],
        token=env[Env.TOKEN],
        host=env[Env.POD_IP],
        data_dir=Path(env[Env.DATA_DIR]),
        port=int(env.get("SEA_PORT") or COORDINATOR_PORT),
        synthesis_retry_s=float(env.get("SEA_SYNTHESIS_RETRY_S") or 15.0),
    )
