"""The state of one container: `container` advances it, `status` reports it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .kube_json import Json, parse_timestamp, timestamp


@dataclass(frozen=True)
class Waiting:
    """Why a container isn't running yet: a CamelCase reason and a sentence."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Termination:
    """How one run of a container ended."""

    exit_code: int
    reason: str
    started_at: datetime | None
    finished_at: datetime
    message: str = ""
    container_id: str = ""


@dataclass(frozen=True)
class ContainerRecord:
    """One container of a pod: exactly one of waiting, running_since and terminated is set."""

    name: str
    image: str
    waiting: Waiting | None = None
    running_since: datetime | None = None
    terminated: Termination | None = None
    last: Termination | None = None
    restart_count: int = 0
    started: bool = False
    ready: bool = False
    container_id: str = ""

    def as_waiting(self, reason: str, message: str = "") -> "ContainerRecord":
        """The record of a waiting container; a finished run becomes its last state."""
        return replace(
            self,
            waiting=Waiting(reason, message),
            running_since=None,
            terminated=None,
            last=self.terminated or self.last,
            started=False,
            ready=False,
        )

    def as_running(self, now: datetime, container_id: str) -> "ContainerRecord":
        """The record of a new run; each run after the first counts as a restart."""
        before = self.terminated or self.last
        return replace(
            self,
            waiting=None,
            running_since=now,
            terminated=None,
            last=before,
            restart_count=self.restart_count + (1 if before else 0),
            container_id=container_id,
        )

    def as_terminated(self, termination: Termination) -> "ContainerRecord":
        """The record of a run that ended."""
        return replace(
            self,
            waiting=None,
            running_since=None,
            terminated=termination,
            started=False,
            ready=False,
        )

    def as_probed(self, *, started: bool, ready: bool) -> "ContainerRecord":
        """The record with the results of the probes."""
        return replace(self, started=started, ready=ready)

    def to_status(self) -> Json:
        """`ContainerStatus` of the core API."""
        state: Json
        if self.terminated:
            state = {"terminated": _terminated(self.terminated)}
        elif self.running_since:
            state = {"running": {"startedAt": timestamp(self.running_since)}}
        else:
            waiting = self.waiting or Waiting("ContainerCreating")
            state = {"waiting": {"reason": waiting.reason}}
            if waiting.message:
                state["waiting"]["message"] = waiting.message
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"devcluster://{self.image}",
            "containerID": self.container_id,
            "restartCount": self.restart_count,
            "started": self.started,
            "ready": self.ready,
            "state": state,
            "lastState": {"terminated": _terminated(self.last)} if self.last else {},
        }


def from_status(name: str, image: str, status: Json | None, now: datetime) -> ContainerRecord:
    """The record of a container whose status an earlier agent wrote.

    Containers end with their agent (bubblewrap's --die-with-parent), so a running one has ended.
    """
    record = ContainerRecord(name, image)
    if not status:
        return record
    state: dict[str, Any] = status.get("state") or {}
    ended = _parse_terminated(state.get("terminated"), now)
    if "running" in state:
        # 137 is 128 + SIGKILL, which is what has happened to it.
        ended = Termination(
            exit_code=137,
            reason="ContainerStatusUnknown",
            started_at=parse_timestamp(state["running"].get("startedAt")),
            finished_at=now,
            message="The node agent was restarted, and its containers ended with it.",
            container_id=str(status.get("containerID", "")),
        )
    return replace(
        record,
        terminated=ended,
        waiting=None if ended else Waiting("ContainerCreating"),
        last=_parse_terminated((status.get("lastState") or {}).get("terminated"), now),
        restart_count=int(status.get("restartCount", 0)),
        container_id=str(status.get("containerID", "")),
    )


def _terminated(one: Termination) -> Json:
    body = {
        "exitCode": one.exit_code,
        "reason": one.reason,
        "startedAt": timestamp(one.started_at),
        "finishedAt": timestamp(one.finished_at),
        "containerID": one.container_id,
    }
    return {**body, "message": one.message} if one.message else body


def _parse_terminated(body: Json | None, now: datetime) -> Termination | None:
    if not body:
        return None
    return Termination(
        exit_code=int(body["exitCode"]),
        reason=str(body.get("reason", "Error")),
        started_at=parse_timestamp(body.get("startedAt")),
        finished_at=parse_timestamp(body.get("finishedAt")) or now,
        message=str(body.get("message", "")),
        container_id=str(body.get("containerID", "")),
    )
