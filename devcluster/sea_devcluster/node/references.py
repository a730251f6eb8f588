"""Reads what pods refer to: Secrets, ConfigMaps, and tokens of their service account."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from sea_devcluster.errors import ApiError, DevclusterError

from .api import ApiClient
from .kube_json import Json, parse_timestamp

# Long enough for the pods of one job, short enough that an edit is seen at the next refresh.
CACHE_SECONDS = 0.5
_FORBIDDEN_RETRIES = 10
_FORBIDDEN_RETRY_SECONDS = 0.1
_PLURALS = {"Secret": "secrets", "ConfigMap": "configmaps"}
Data = Mapping[str, bytes]
RENEW_AFTER = 0.8
"""Fraction of a token's lifetime after which it is renewed, as by a kubelet."""


class MissingReferenceError(DevclusterError):
    """A pod names a Secret, ConfigMap or key that doesn't exist (yet)."""


class References:
    """Reads Secrets and ConfigMaps; cached for a moment, because many pods start at once."""

    def __init__(self, api: ApiClient, monotonic: Callable[[], float] | None = None) -> None:
        self._api = api
        self._monotonic = monotonic or asyncio.get_running_loop().time
        self._cache: dict[tuple[str, str, str], tuple[float, asyncio.Task[Data | None]]] = {}

    async def data(self, kind: str, namespace: str, name: str) -> Data | None:
        """The object's data; None if there is no such object."""
        now = self._monotonic()
        self._cache = {
            key: entry for key, entry in self._cache.items() if now - entry[0] < CACHE_SECONDS
        }
        key = (kind, namespace, name)
        if key not in self._cache:
            # The task is cached, not its result: simultaneous callers share one request.
            self._cache[key] = (now, asyncio.ensure_future(self._fetch(*key)))
        # shield: several pods may wait for the same answer, and one of them may be cancelled.
        return await asyncio.shield(self._cache[key][1])

    async def required(self, kind: str, namespace: str, name: str) -> Data:
        """The object's data; MissingReferenceError if there is no such object."""
        found = await self.data(kind, namespace, name)
        if found is None:
            raise missing_object(kind, namespace, name)
        return found

    async def _fetch(self, kind: str, namespace: str, name: str) -> Data | None:
        try:
            path = f"/api/v1/namespaces/{namespace}/{_PLURALS[kind]}/{name}"
            return _decode(kind, await retry_forbidden(lambda: self._api.get(path)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise


async def retry_forbidden(request: Callable[[], Awaitable[Json]]) -> Json:
    """Retries what the Node authorizer forbids: it sees a new pod a moment after this node does."""
    for _ in range(_FORBIDDEN_RETRIES):
        try:
            return await request()
        except ApiError as error:
            if error.status != 403:
                raise
        await asyncio.sleep(_FORBIDDEN_RETRY_SECONDS)
    return await request()


def missing_object(kind: str, namespace: str, name: str) -> MissingReferenceError:
    """The error for an object that doesn't exist."""
    return MissingReferenceError(
        f"{kind} {name!r} not found in namespace {namespace!r}: create it, the pod then starts."
    )


def missing_key(kind: str, namespace: str, name: str, key: str) -> MissingReferenceError:
    """The error for a key that doesn't exist."""
    return MissingReferenceError(
        f"{kind} {namespace}/{name} has no key {key!r}: add it, the pod then starts."
    )


def _decode(kind: str, obj: Json) -> Data:
    if kind == "Secret":
        return {key: base64.b64decode(text) for key, text in (obj.get("data") or {}).items()}
    plain = {key: text.encode() for key, text in (obj.get("data") or {}).items()}
    binary = {key: base64.b64decode(text) for key, text in (obj.get("binaryData") or {}).items()}
    return {**plain, **binary}


class PodTokens:
    """Tokens bound to one pod: they expire with it."""

    def __init__(self, api: ApiClient, pod: Json, now: Callable[[], datetime]) -> None:
        self._api = api
        self._pod = pod
        self._now = now
        self._tokens: dict[tuple[str, int], tuple[datetime, str]] = {}

    async def token(self, audience: str, seconds: int) -> bytes:
        """A token that is valid for a while; an empty `audience` means the API server."""
        key = (audience, seconds)
        renew_at, text = self._tokens.get(key, (self._now(), ""))
        if self._now() >= renew_at:
            asked = self._now()
            status = await self._request(audience, seconds)
            expires = parse_timestamp(status["expirationTimestamp"]) or asked
            # At least 10 s: a wrong clock must not cause a request per refresh.
            life = max(expires - asked, timedelta(seconds=10))
            text = str(status["token"])
            self._tokens[key] = (asked + RENEW_AFTER * life, text)
        return text.encode()

    async def _request(self, audience: str, seconds: int) -> Json:
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        account = spec.get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        body: Json = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        answer: Json = await retry_forbidden(lambda: self._api.create(path, body))
        return dict(answer["status"])
