"""Why Kubernetes doesn't make a StatefulSet's pods: only the set's Events hold the server's words.

Listed, not watched: a namespace full of failed creations is what a quota leads to. The API server
reads all Events of a namespace for each list, whatever that selects, so one list serves all jobs
there: lists per set brought it down as soon as a thousand new jobs lacked their pods. Nothing is
listed before some set has lacked pods for a few seconds, as each new one does.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sea_operator import pod_parsing
from sea_operator.errors import KubeError
from sea_operator.kube.client import EVENT, KubeClient
from sea_operator.kube.connection import Query
from sea_operator.observed import Object

log = logging.getLogger(__name__)

AFTER_SECONDS = 3.0
"""How long a set must have lacked pods."""
INTERVAL_SECONDS = 10.0
"""Between two lists of one namespace's Events."""
MAX_SHARE = 0.05
"""Share of the time spent on a namespace's Events: a list that takes long comes rarely."""
SELECTOR = "involvedObject.kind=StatefulSet,reason=FailedCreate"
PAGE_SIZE = "500"
MAX_PAGES = 20

Refusal = tuple[float, str]
"""When it last happened, in unix seconds, and the server's words."""


@dataclass(frozen=True)
class ShortSet:
    """A StatefulSet with fewer pods than it should have."""

    namespace: str
    uid: str
    newest_pod: float
    """When its newest pod was made, in unix seconds; 0 if there is none."""


@dataclass
class _Namespace:
    """The newest refusal of each set, by its uid."""

    due: float = float("-inf")
    newest: dict[str, Refusal] = field(default_factory=dict)


class RefusalReader:
    """The newest refusal of each set that lacks pods; `monotonic` in seconds."""

    def __init__(
        self, client: KubeClient, monotonic: Callable[[], float], after: float = AFTER_SECONDS
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._after = after
        self._short_since: dict[tuple[str, str], dict[str, float]] = {}
        self._namespaces: dict[str, _Namespace] = {}

    async def words(self, job: tuple[str, str], short: Mapping[str, ShortSet]) -> dict[str, str]:
        """Why sets have lacked pods for a while, in the API server's words.

        Keyed like `short`; sets without a known refusal are absent.
        """
        before = self._short_since.pop(job, {})
        if not short:
            if before:
                self._drop_if_unused(job[0])
            return {}
        now = self._monotonic()
        # Sets that have their pods again are forgotten: a later lack counts from its own beginning.
        since = self._short_since[job] = {name: before.get(name, now) for name in short}
        late = [name for name in short if now - since[name] >= self._after]
        if not late:
            return {}
        found = await self._of_namespace(job[0])
        return {name: current(found.get(short[name].uid), short[name]) or "" for name in late}

    def forget(self, namespace: str, job: str) -> None:
        """There is no such job any more."""
        if self._short_since.pop((namespace, job), None):
            self._drop_if_unused(namespace)

    def _drop_if_unused(self, namespace: str) -> None:
        if namespace in self._namespaces and not any(
            other == namespace for other, _ in self._short_since
        ):
            del self._namespaces[namespace]

    async def _of_namespace(self, namespace: str) -> Mapping[str, Refusal]:
        known = self._namespaces.setdefault(namespace, _Namespace())
        began = self._monotonic()
        if began >= known.due:
            # Before the request: other passes go on with what is known meanwhile.
            known.due = began + INTERVAL_SECONDS
            try:
                known.newest = newest(await self._list(namespace))
            # Words only explain: without the right to list Events, a pass does all else.
            except KubeError as error:
                log.info("events of StatefulSets not read: %s", error)
            now = self._monotonic()
            known.due = max(known.due, now + (now - began) / MAX_SHARE)
        return known.newest

    async def _list(self, namespace: str) -> list[Object]:
        query: Query = [("fieldSelector", SELECTOR), ("limit", PAGE_SIZE)]
        found: list[Object] = []
        token = ""
        for _ in range(MAX_PAGES):
            more = [("continue", token)] if token else []
            page = await self._client.request("GET", EVENT.path(namespace), [*query, *more])
            found += page["items"]
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                break
        return found


def newest(events: list[Object]) -> dict[str, Refusal]:
    """The newest Event about each object, by its uid."""
    found: dict[str, Refusal] = {}
    for event in events:
        uid = str(event["involvedObject"].get("uid", ""))
        refusal = (pod_parsing.event_time(event), str(event.get("message", "")))
        found[uid] = max(refusal, found.get(uid, refusal))
    return found


def current(refusal: Refusal | None, short: ShortSet) -> str | None:
    """The words of a refusal, if no pod was made after it."""
    # `>=`: times are in whole seconds, and the first of two pods may be made in the very second in
    # which the second one is refused.
    if refusal is None or refusal[0] < int(short.newest_pod):
        return None
    return refusal[1]
