"""Why Kubernetes doesn't make a StatefulSet's pods: only the set's Events hold the server's words.

Listed, not watched: a watch would bring every failed creation of the cluster, and a namespace full
of them is what a quota leads to. Listed only for a set that has lacked pods for some seconds, since
each new job lacks its pods for a moment, and then at intervals.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sea_operator import parsing
from sea_operator.errors import KubeError
from sea_operator.kube.client import EVENT, KubeClient
from sea_operator.observed import Object

log = logging.getLogger(__name__)

AFTER_SECONDS = 3.0
"""For which a set must have lacked pods."""
INTERVAL_SECONDS = 10.0
"""Between two lists of one set's Events."""
MAX_EVENTS = "50"
"""A list's bound: the server counts repetitions of one message in one Event."""


@dataclass(frozen=True)
class ShortSet:
    """A StatefulSet with fewer pods than it should have."""

    namespace: str
    uid: str
    newest_pod: float
    """When its newest pod was made, in unix seconds; 0 if there is none."""


@dataclass
class _Seen:
    since: float
    read_at: float | None = None
    words: str | None = None


class RefusalReader:
    """The newest refusal of each set that lacks pods; `monotonic` in seconds."""

    def __init__(
        self, client: KubeClient, monotonic: Callable[[], float], after: float = AFTER_SECONDS
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._after = after
        self._sets: dict[tuple[str, str], dict[str, _Seen]] = {}

    async def words(self, job: tuple[str, str], short: Mapping[str, ShortSet]) -> dict[str, str]:
        """Why pods are refused, in the server's words, by the names that `short` has."""
        before = self._sets.pop(job, {})
        if not short:
            return {}
        now = self._monotonic()
        # Sets that have their pods again are forgotten: a later lack counts from its own beginning.
        self._sets[job] = {name: before.get(name) or _Seen(now) for name in short}
        found = {name: await self._words(self._sets[job][name], one) for name, one in short.items()}
        return {name: words for name, words in found.items() if words}

    def forget(self, namespace: str, job: str) -> None:
        """There is no such job any more."""
        self._sets.pop((namespace, job), None)

    async def _words(self, seen: _Seen, short: ShortSet) -> str | None:
        now = self._monotonic()
        rested = seen.read_at is None or now - seen.read_at >= INTERVAL_SECONDS
        if now - seen.since >= self._after and rested:
            seen.read_at = now
            seen.words = await self._read(short)
        return seen.words

    async def _read(self, short: ShortSet) -> str | None:
        selector = f"involvedObject.uid={short.uid},reason=FailedCreate"
        query = [("fieldSelector", selector), ("limit", MAX_EVENTS)]
        try:
            found = await self._client.request("GET", EVENT.path(short.namespace), query)
        # Words only explain: without the right to list Events, a pass does all else.
        except KubeError as error:
            log.info("events of a StatefulSet not read: %s", error)
            return None
        return newest(found["items"], short.newest_pod)


def newest(events: list[Object], newest_pod: float) -> str | None:
    """The message of the newest Event, if no pod was made after it."""
    dated = [(parsing.event_time(event), str(event.get("message", ""))) for event in events]
    # `>=`: times are in whole seconds, and the first of two pods may be made in the very second in
    # which the second one is refused.
    current = [(time, message) for time, message in dated if time >= int(newest_pod)]
    return max(current)[1] if current else None
