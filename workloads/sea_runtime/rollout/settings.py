"""The environment variables of rollout and user pods, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sea_api import limits
from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure


class MissingVariableError(RuntimeFailure):
    """The pod lacks a variable that the operator sets."""


@dataclass(frozen=True)
class Settings:
    coordinator_url: str
    token: str
    pod: str
    address: str
    """Pod IP; every server of the pod binds it."""
    role: str
    """rollout or user."""
    stream: str
    """policy or user."""
    gpus: int
    data_dir: Path
    max_episodes: int = limits.MAX_EPISODES
    """Episodes at one time, and with them the engine's sequences."""
    router_replay: bool = False
    """The engine says which experts computed each token, and trajectories carry it."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises MissingVariableError with the name of the first variable that isn't set."""

    def get(name: str) -> str:
        value = environment.get(name, "")
        if not value:
            raise MissingVariableError(
                f"The variable {name} is not set: this program runs in pods of sea-operator."
            )
        return value

    return Settings(
        coordinator_url=get(Env.COORDINATOR_URL),
        token=get(Env.TOKEN),
        pod=get(Env.POD_NAME),
        address=get(Env.POD_IP),
        role=get(Env.ROLE),
        stream=get(Env.STREAM),
        gpus=int(environment.get(Env.GPUS_PER_POD) or 0),
        data_dir=Path(get(Env.DATA_DIR)),
        max_episodes=int(environment.get(Env.MAX_EPISODES) or limits.MAX_EPISODES),
        router_replay=environment.get(Env.ROUTER_REPLAY) == "1",
    )


@dataclass(frozen=True)
class Identity:
    """Which worker runs: the pod, and this start of its process."""

    pod: str
    incarnation: str
