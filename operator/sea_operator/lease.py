"""The rules of the Lease: who may take it, and when. Pure; `leader` does what they say.

As in client-go, a record's age is measured on our own clock since we first saw it, so clocks of
two machines never have to agree.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sea_operator.settings import LeaseTimes


class Move(Enum):
    """What to do about the lease now."""

    TAKE = "Take"
    RENEW = "Renew"
    WAIT = "Wait"


@dataclass(frozen=True)
class Sighting:
    """A lease as read, and since when it has been as it is."""

    record: dict[str, Any]
    """The Lease object."""
    since: float
    """Monotonic seconds."""

    @property
    def holder(self) -> str:
        """Identity of the holder, empty when released."""
        return str(self.record.get("spec", {}).get("holderIdentity") or "")


def sighting(record: dict[str, Any], before: Sighting | None, now: float) -> Sighting:
    """Keeps the old time while nothing about the lease changes."""
    if before is not None and before.record.get("spec") == record.get("spec"):
        return Sighting(record, before.since)
    return Sighting(record, now)


def move(seen: Sighting | None, me: str, now: float, times: LeaseTimes) -> Move:
    """A lease that nobody holds, or whose holder has been silent, may be taken."""
    if seen is None or not seen.holder:
        return Move.TAKE
    if seen.holder == me:
        return Move.RENEW
    duration = seen.record["spec"].get("leaseDurationSeconds", times.duration)
    return Move.TAKE if now - seen.since > float(duration) else Move.WAIT


def held_by(me: str, seen: Sighting | None, wall: float, times: LeaseTimes) -> dict[str, Any]:
    """Spec of the lease once it's ours; `wall` in unix seconds."""
    old = seen.record.get("spec", {}) if seen else {}
    mine = old.get("holderIdentity") == me
    at = micro_time(wall)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": int(times.duration),
        "acquireTime": old.get("acquireTime", at) if mine else at,
        "renewTime": at,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine else 1),
    }


def released(record: dict[str, Any], wall: float) -> dict[str, Any]:
    """Spec of a lease given back, so that the next one needn't wait."""
    at = micro_time(wall)
    return {**record.get("spec", {}), "holderIdentity": "", "renewTime": at}


def micro_time(seconds: float) -> str:
    """Kubernetes' MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
