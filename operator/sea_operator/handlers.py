"""kopf's part: it watches the jobs, feeds them to the cache and serves health; nothing else.

Only `on.event` handlers, which store no progress, add no finalizer and write no annotation.
Their errors would be swallowed, so all they do is to update the cache. Children come through
reflectors of our own; `kube/reflector.py` gives the reason.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from sea_api.v1alpha1.job import GROUP, PLURAL, VERSION
from sea_operator.kube.client import JOB
from sea_operator.kube.connection import configuration, for_kopf
from sea_operator.kube.reflector import Store


def registry(store: Store, healthy: Callable[[], Any]) -> kopf.OperatorRegistry:
    """Handlers on the jobs; `healthy` is what `/healthz` shows."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return for_kopf(await configuration())

    @kopf.on.probe(registry=handlers, id="operator")
    async def probe(**_: Any) -> Any:
        return healthy()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, id="job")
    async def job(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002
        # None is the first listing, or one after an interruption.
        if type == "DELETED":
            # kopf passes a mapping view: `dict` takes the plain values out,
            # which are compared and stored.
            store.remove(JOB, dict(body))
        else:
            store.put(JOB, dict(body))

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf without Events, without scanning, with watches that can't go silent for ever.

    `queueing.worker_limit` stays unset: a worker keeps its slot for seconds after its last event,
    which starves everybody else. The bound on work is our own pool.
    """
    ours = kopf.OperatorSettings()
    # Events of a job are written by `report`; kopf would post its own log lines as Events.
    ours.posting.enabled = False
    ours.scanning.disabled = True
    # The client's limit is larger, so that normally the server ends the watch. A connection that
    # died silently (a NAT that forgot it) is noticed after 250 s at the latest.
    # Short, since kopf's sockets aren't probed: a server that vanished without a word is noticed at
    # the end of its watch, and until then no edit of a job that has nothing to report.
    ours.watching.server_timeout = 60
    ours.watching.client_timeout = 70
    ours.watching.connect_timeout = 10
    ours.watching.chunk_size = 500
    ours.networking.request_timeout = 30
    ours.networking.connect_timeout = 10
    # kopf's defaults go up to 21 s: its watch of the jobs would come back that late.
    ours.networking.error_backoffs = (1, 1, 2, 3, *[5] * 10)
    ours.queueing.exit_timeout = 0.5
    return ours
