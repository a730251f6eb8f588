"""kopf's part: it watches and says which job something happened to; nothing else.

Only `on.event` handlers, which store no progress, add no finalizer and write no annotation.
Their errors would be swallowed, so all they do is to put a key into the queue. Children are
selected by label on the server: pods of others never cross the wire.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from sea_api.contract import JOB_LABEL
from sea_api.v1alpha1.job import GROUP, PLURAL, VERSION
from sea_operator.kube.login import configuration, for_kopf
from sea_operator.reconcile import Key

CHILDREN = (("apps", "v1", "statefulsets"), ("", "v1", "services"), ("", "v1", "pods"))

Enqueue = Callable[[Key], None]


def registry(enqueue: Enqueue, healthy: Callable[[], Any]) -> kopf.OperatorRegistry:
    """Handlers on the job and its children; `healthy` is what `/healthz` shows."""
    handlers = kopf.OperatorRegistry()
    seen = Seen(enqueue)

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return for_kopf(await configuration())

    @kopf.on.probe(registry=handlers, id="operator")
    async def probe(**_: Any) -> Any:
        return healthy()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, id="job")
    async def job(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002
        seen.job(type, body["metadata"])

    for group, version, plural in CHILDREN:

        @kopf.on.event(group, version, plural, registry=handlers, id=plural)
        async def child(namespace: str, labels: Mapping[str, str], **_: Any) -> None:
            if name := labels.get(JOB_LABEL):
                enqueue((namespace, name))

    return handlers


class Seen:
    """Lets an event of a job through unless only the status changed, which we write ourselves."""

    def __init__(self, enqueue: Enqueue) -> None:
        self._enqueue = enqueue
        self._versions: dict[Key, tuple[Any, ...]] = {}

    def job(self, type_: str | None, meta: Mapping[str, Any]) -> None:
        """An event of kopf: `type_` None is the first listing, DELETED the end."""
        key = (str(meta["namespace"]), str(meta["name"]))
        version = (meta["uid"], meta.get("generation"), meta.get("deletionTimestamp"))
        if type_ == "DELETED":
            self._versions.pop(key, None)
        elif self._versions.get(key) == version:
            return
        else:
            self._versions[key] = version
        self._enqueue(key)


def settings() -> kopf.OperatorSettings:
    """kopf without Events, without scanning, with watches that can't go silent for ever.

    `queueing.worker_limit` stays unset: a worker keeps its slot for seconds after its last event,
    which starves everybody else. The bound on work is our own pool.
    """
    ours = kopf.OperatorSettings()
    ours.posting.enabled = False
    ours.scanning.disabled = True
    ours.watching.server_timeout = 240
    ours.watching.client_timeout = 250
    ours.watching.connect_timeout = 10
    ours.watching.chunk_size = 500
    ours.networking.request_timeout = 30
    ours.networking.connect_timeout = 10
    ours.queueing.exit_timeout = 0.5
    for group, version, plural in CHILDREN:
        ours.watching.label_selectors[group, version, plural] = JOB_LABEL
    return ours
