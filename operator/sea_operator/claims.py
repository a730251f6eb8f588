"""Notices a second operator that works on the same jobs: one of them stands aside.

`status.operator` names the Lease of the operator that wrote a job's status. An operator that finds
another's name there first only writes its own and waits: if the other one lives, it takes its job
back, and the one with the greater name gives way. Neither has touched a pod by then. After a
reinstallation elsewhere nobody takes the job back, and the pause is all that is noticed. The one
that goes on names the other in the job's condition `OperatorConflict`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from sea_operator.cache import Key

CLAIM_SECONDS = 5.0
"""How long the other operator has to take its job back: it hears of each status write."""
ASIDE_SECONDS = 300.0
"""Wait before the job is claimed again if the other operator's name is still there."""
RIVAL_SECONDS = ASIDE_SECONDS + 60.0
"""How long another operator counts as alive after it last claimed the job."""


class Claim(Enum):
    """What this operator may do to a job."""

    ACT = "Act"
    ANNOUNCE = "Announce"
    """Write our name into the status, and nothing else."""
    STAND_ASIDE = "StandAside"


@dataclass
class Claims:
    """Kept in memory only: a new leader of the same Lease has the same name."""

    me: str
    monotonic: Callable[[], float]
    _ours: set[Key] = field(default_factory=set)
    """Jobs in whose status we wrote our name."""
    _announced: dict[Key, float] = field(default_factory=dict)
    _aside: dict[Key, float] = field(default_factory=dict)
    _rivals: dict[Key, tuple[str, float]] = field(default_factory=dict)

    def judge(self, key: Key, written_by: str | None) -> Claim:
        """`written_by`: the name in the job's stored status."""
        now = self.monotonic()
        if now < self._aside.get(key, 0.0):
            return Claim.STAND_ASIDE
        if written_by not in (None, self.me):
            return self._of_another(key, str(written_by), now)
        announced = self._announced.get(key)
        if announced is not None and now - announced < CLAIM_SECONDS:
            return Claim.ANNOUNCE
        self._announced.pop(key, None)
        return Claim.ACT

    def rival(self, key: Key) -> str | None:
        """The other operator that claims this job of ours from time to time."""
        name, seen = self._rivals.get(key, ("", float("-inf")))
        return name if self.monotonic() - seen < RIVAL_SECONDS else None

    def wrote(self, key: Key) -> None:
        """Our name is in the job's status now."""
        self._ours.add(key)

    def forget(self, key: Key) -> None:
        """There is no such job any more."""
        self._ours.discard(key)
        self._announced.pop(key, None)
        self._aside.pop(key, None)
        self._rivals.pop(key, None)

    def _of_another(self, key: Key, other: str, now: float) -> Claim:
        if key not in self._ours:
            self._announced.setdefault(key, now)
            return Claim.ANNOUNCE
        # Our name was there: somebody who lives wrote over it.
        if self.me < other:
            self._rivals[key] = (other, now)
            return Claim.ACT
        self.forget(key)
        self._aside[key] = now + ASIDE_SECONDS
        return Claim.STAND_ASIDE
