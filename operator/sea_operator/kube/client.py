"""One thin client: objects are plain dicts, writes carry our field manager and pass a guard.

Every request has a time-out. Writes first ask `guard`, which raises `NotLeadingError` when this
process may no longer act, so that a pass that outlives its lease stops at its next write.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from sea_operator.kube.apply_body import CONTENT_TYPE, encode
from sea_operator.kube.errors import UnavailableError, of_status
from sea_operator.kube.kinds import Kind

FIELD_MANAGER = "sea-operator"
TIMEOUT_SECONDS = 10.0

Object = dict[str, Any]
Body = Object | bytes
Query = list[tuple[str, str]]


def anyone() -> None:
    """The guard of a client that needs no lease: every write may go."""


class KubeClient:
    """Reads and writes of the operator. Raises `KubeError` and its subclasses, nothing else."""

    def __init__(self, api: ApiClient, guard: Callable[[], None] = anyone) -> None:
        self._api = api
        self._guard = guard

    def guarded_by(self, guard: Callable[[], None]) -> "KubeClient":
        """The same connection whose writes pass `guard` first."""
        return KubeClient(self._api, guard)

    def check(self) -> None:
        """Raises `NotLeadingError` when this process may no longer act."""
        self._guard()

    async def close(self) -> None:
        await self._api.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return await self._call("GET", kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None, selector: str) -> list[Object]:
        """All objects with the labels of `selector`, in one page."""
        query = [("labelSelector", selector)] if selector else []
        found = await self._call("GET", kind.path(namespace), query)
        return [
            {"apiVersion": kind.api_version, "kind": kind.name, **item} for item in found["items"]
        ]

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Raises `ConflictError` if the name is taken."""
        query = [("fieldManager", FIELD_MANAGER)]
        return await self._write("POST", kind.path(namespace), query, body)

    async def apply(self, kind: Kind, body: Object, sub: str | None = None) -> Object:
        """Server-side apply with force; uid and resourceVersion in the body are preconditions."""
        meta = body["metadata"]
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        path = kind.path(meta["namespace"], meta["name"], sub)
        return await self._write("PATCH", path, query, encode(body), CONTENT_TYPE)

    async def replace(self, kind: Kind, body: Object) -> Object:
        """PUT; the body's resourceVersion is a precondition."""
        meta = body["metadata"]
        query = [("fieldManager", FIELD_MANAGER)]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._write("PUT", path, query, body)

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> None:
        """Deletes the object only if it's still the one with this uid."""
        body: Object = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        await self._write("DELETE", kind.path(namespace, name), [], body)

    async def _write(
        self, method: str, path: str, query: Query, body: Body, content: str = "application/json"
    ) -> Object:
        self._guard()
        return await self._call(method, path, query, body, content)

    async def _call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body | None = None,
        content: str | None = None,
    ) -> Object:
        headers: Mapping[str, str] = {"Accept": "application/json"} | (
            {"Content-Type": content} if content else {}
        )
        try:
            data, _status, _headers = await self._api.call_api(
                path,
                method,
                query_params=query or [],
                header_params=dict(headers),
                body=body,
                response_types_map={200: "object", 201: "object", 202: "object"},
                auth_settings=["BearerToken"],
                _request_timeout=TIMEOUT_SECONDS,
            )
        except ApiException as error:
            message = f"{method} {path}: {error.status} {error.reason}: {_said(error)}"
            raise of_status(error.status)(message) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {error or type(error).__name__}") from error
        return dict(data)


def _said(error: ApiException) -> str:
    """The server's own words, out of its Status object where it sent one."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.body)[:1000]
