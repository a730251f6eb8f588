"""One thin client: objects are plain dicts, writes carry our field manager and pass a guard.

Plain aiohttp and orjson over one TLS context: the kubernetes library's generic call costs several
times the CPU of the request itself. Every request has a time-out. Writes first ask `guard`, which
raises `NotLeadingError` when this process may no longer act, so that a pass that outlives its
lease stops at its next write.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from sea_api.v1alpha1.job import GROUP, KIND, PLURAL, VERSION
from sea_operator.errors import (
    KubeError,
    RejectedError,
    ServerFaultError,
    UnavailableError,
    of_status,
)
from sea_operator.kube.connection import FIELD_MANAGER, Connection, Query, lines, raise_for
from sea_operator.kube.yaml_patch import apply_body

# Of a whole request. Longer than the lease's margin (`duration - deadline`): preconditions in the
# body, not this number, keep a late write from doing harm.
TIMEOUT_SECONDS = 10.0
WATCH_SECONDS = 240
"""After which the server ends a watch."""
PAGE_SIZE = 500
MAX_LOG_BYTES = 2 << 20
"""Most bytes of one answer with a container's log."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
Object = dict[str, Any]
Body = Object | bytes


@dataclass(frozen=True)
class Kind:
    """A kind and its REST path."""

    api_version: str
    name: str
    plural: str

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """REST path of a collection, an object or a subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = ["namespaces", namespace] if namespace else []
        parts = [*scope, self.plural, *(part for part in (name, sub) if part)]
        return "/".join([root, *(quote(part, safe="") for part in parts)])


JOB = Kind(f"{GROUP}/{VERSION}", KIND, PLURAL)
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
SERVICE = Kind("v1", "Service", "services")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
SECRET = Kind("v1", "Secret", "secrets")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes")
EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    items: list[Object]
    version: str
    """The resourceVersion that a watch goes on from, the same on all pages of a list."""
    token: str
    """Asks for the next page; empty on the last."""


def anyone() -> None:
    """The guard of a client that needs no lease: every write may go."""


class KubeClient:
    """Reads and writes of the operator. Raises `KubeError` and its subclasses, nothing else."""

    def __init__(self, connection: Connection, guard: Callable[[], None] = anyone) -> None:
        self._connection = connection
        self._guard = guard

    def guarded_by(self, guard: Callable[[], None]) -> "KubeClient":
        """The same connection whose writes pass `guard` first."""
        return KubeClient(self._connection, guard)

    def check(self) -> None:
        """Raises `NotLeadingError` when this process may no longer act."""
        self._guard()

    async def close(self) -> None:
        await self._connection.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return await self.request("GET", kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None, selector: str) -> list[Object]:
        """All objects with the labels of `selector`."""
        found, token = [], ""
        while True:
            page = await self.page(kind, namespace, selector, token)
            found += page.items
            if not (token := page.token):
                return found

    async def page(self, kind: Kind, namespace: str | None, selector: str, token: str = "") -> Page:
        """A page of a list; `token` of the page before. Raises `ExpiredError` for an old one."""
        query = [("limit", str(PAGE_SIZE))]
        query += [("labelSelector", selector)] if selector else []
        query += [("continue", token)] if token else []
        found = await self.request("GET", kind.path(namespace), query)
        # The API server leaves apiVersion and kind out of the items of a
        # list, but not of watch events.
        typed = {"apiVersion": kind.api_version, "kind": kind.name}
        items = [{**typed, **item} for item in found["items"]]
        meta = found["metadata"]
        return Page(items, meta["resourceVersion"], meta.get("continue", ""))

    async def watch(
        self, kind: Kind, namespace: str | None, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Type and object of what happened since `version`, until the server ends the stream.

        Raises `ExpiredError` if `version` is too old.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        query += [("labelSelector", selector)] if selector else []
        # Slightly longer than the server's limit, so that the server normally ends the stream.
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + 10, sock_connect=TIMEOUT_SECONDS)
        path = kind.path(namespace)
        try:
            async with self._connection.request("GET", path, query, {}, timeout=timeout) as answer:
                await raise_for(answer, "GET", path)
                async for line in lines(answer.content):
                    event = orjson.loads(line)
                    # A watch that is too old may start with 200 and send the 410 as an event.
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise of_status(status.get("code", 500))(f"watch {path}: {status}")
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"watch {path}: {_words(error)}") from error

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> bytes:
        """The last lines of a container's log, from the first of them up to `MAX_LOG_BYTES`.

        `previous`: of its run before the one that runs now, or that is about to start.
        """
        query = [
            ("container", container),
            ("previous", str(previous).lower()),
            ("tailLines", str(lines)),
            # Counted from the first of these lines, not back from the last.
            ("limitBytes", str(MAX_LOG_BYTES)),
        ]
        return await self._answer("GET", POD.path(namespace, pod, "log"), query)

    async def create(self, kind: Kind, namespace: str | None, body: Object) -> Object:
        """Raises `ConflictError` if the name is taken."""
        query = [("fieldManager", FIELD_MANAGER)]
        return await self._write("POST", kind.path(namespace), query, body)

    async def record(self, namespace: str, event: Object) -> None:
        """Creates an Event, unguarded: it is about what this process has written already, and
        would never be made up for if it were lost with the lease."""
        await self.request("POST", EVENT.path(namespace), [], event)

    async def apply(self, kind: Kind, body: Object) -> Object:
        """Server-side apply with force; the body's uid is a precondition."""
        meta = body["metadata"]
        # Forced: a field that somebody edited by hand goes back to what the job asks for.
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        path = kind.path(meta["namespace"], meta["name"])
        try:
            return await self._write("PATCH", path, query, apply_body(body), APPLY)
        except ServerFaultError:
            await self._require_readable(kind, body)
            raise

    async def _require_readable(self, kind: Kind, body: Object) -> None:
        """Raises `RejectedError` if the object has an unknown field or a value of a wrong type.

        A user's patch of a pod template may. The API server answers 500 to an apply of it, as to
        its own faults, but 400 to a creation, before it looks whether the object exists.
        """
        query = [("dryRun", "All"), ("fieldValidation", "Strict"), ("fieldManager", FIELD_MANAGER)]
        meta = {**body["metadata"]}
        path = kind.path(meta["namespace"])
        for precondition in ("uid", "resourceVersion"):
            meta.pop(precondition, None)
        try:
            await self._write("POST", path, query, {**body, "metadata": meta})
        except RejectedError:
            raise
        except KubeError:
            return  # it exists already, or the fault is the server's own

    async def merge(self, kind: Kind, body: Object, sub: str | None = None) -> Object:
        """Merge patch: None removes a field; resourceVersion in the body is a precondition."""
        meta = body["metadata"]
        query = [("fieldManager", FIELD_MANAGER)]
        path = kind.path(meta["namespace"], meta["name"], sub)
        return await self._write("PATCH", path, query, apply_body(body), MERGE)

    async def replace(self, kind: Kind, body: Object) -> Object:
        """PUT; the body's resourceVersion is a precondition."""
        meta = body["metadata"]
        query = [("fieldManager", FIELD_MANAGER)]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._write("PUT", path, query, body)

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> Object:
        """Deletes the object only if it's still the one with this uid.

        Returns the object while it is being deleted, a `Status` once it is gone.
        """
        # Background: the server answers at once and the garbage collector deletes the dependents.
        body: Object = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        return await self._write("DELETE", kind.path(namespace, name), [], body)

    async def _write(
        self, method: str, path: str, query: Query, body: Body, content: str = "application/json"
    ) -> Object:
        # Here and not in `request`, which also reads. The elector's own client has no guard.
        self._guard()
        return await self.request(method, path, query, body, content)

    async def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body | None = None,
        content: str = "application/json",
    ) -> Object:
        """Any request, unguarded."""
        text = await self._answer(method, path, query or [], body, content)
        try:
            return dict(orjson.loads(text))
        except ValueError as error:  # cut off, or from a proxy in between
            raise UnavailableError(f"{method} {path}: {error}") from error

    async def _answer(
        self,
        method: str,
        path: str,
        query: Query,
        body: Body | None = None,
        content: str = "application/json",
    ) -> bytes:
        data = orjson.dumps(body) if isinstance(body, dict) else body
        headers = {"Content-Type": content} if data is not None else {}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with self._connection.request(
                method, path, query, headers, data=data, timeout=timeout
            ) as answer:
                await raise_for(answer, method, path)
                return await answer.read()
        # A write that timed out may have taken effect all the same: a pass is safe to repeat.
        # ValueError: a token that no header can carry.
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"{method} {path}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """The error's message, or its type: a time-out has no message."""
    return str(error) or type(error).__name__
