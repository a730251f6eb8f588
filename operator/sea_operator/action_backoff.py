"""Single actions of a job that fail: what its status says of each, and when each is tried again.

A pass does everything else meanwhile. Kept in memory only: a new leader tries all of them at once.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from sea_operator.errors import OperatorError
from sea_operator.observed import Blocker

log = logging.getLogger(__name__)

T = TypeVar("T")

Action = tuple[str, ...]
"""What is done to what, for example `("delete", "Pod", "j-trainer-0", UID)`."""

STATUS: Action = ("write", "status")

FIRST_SECONDS = 1.0
MAX_SECONDS = 10.0
"""How long after the end of its cause a failed action may be noticed to succeed again."""


@dataclass(frozen=True)
class _Failed:
    blocker: Blocker
    times: int
    due: float


class ActionBackoff:
    """Failed actions of one job; `monotonic` in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failed: dict[Action, _Failed] = {}

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        """What the status reports: every failed action, whether or not it is tried just now."""
        # Not its own write: by the time that anybody reads it, it has succeeded.
        return tuple(one.blocker for action, one in self._failed.items() if action != STATUS)

    def fails(self, action: Action) -> bool:
        """Whether its last attempt failed."""
        return action in self._failed

    def objects(self, verb: str, kind: str) -> frozenset[str]:
        """The last word of each action of this kind that failed, such as the uid of a deletion."""
        found = (action for action in self._failed if action[:2] == (verb, kind))
        return frozenset(action[-1] for action in found)

    def words(self, action: Action) -> str:
        """What is said of an action that fails."""
        return self._failed[action].blocker.message

    def wait(self) -> float | None:
        """Seconds until the first failed action is tried again; None if none failed."""
        now = self._monotonic()
        return min((max(0.0, one.due - now) for one in self._failed.values()), default=None)

    def retain(self, planned: Collection[Action]) -> None:
        """Forgets actions that the plan no longer asks for."""
        self._failed = {key: one for key, one in self._failed.items() if key in planned}

    async def attempt(
        self,
        action: Action,
        work: Callable[[], Awaitable[T]],
        explain: Callable[[OperatorError], Blocker],
        expected: tuple[type[OperatorError], ...],
    ) -> T | None:
        """The result of `work`; None if it raised one of `expected` or isn't due again yet."""
        before = self._failed.get(action)
        if before is not None and self._monotonic() < before.due:
            return None
        try:
            result = await work()
        except expected as error:
            self.failed(action, explain(error))
            return None
        self._failed.pop(action, None)
        return result

    def failed(self, action: Action, blocker: Blocker) -> None:
        """Notes a failure; the delay doubles with each one in a row."""
        before = self._failed.get(action)
        times = before.times + 1 if before else 1
        if before is None:
            log.warning("%s failed: %s", " ".join(action), blocker.message)
        delay = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** min(times - 1, 10))
        self._failed[action] = _Failed(blocker, times, self._monotonic() + delay)
